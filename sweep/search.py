"""`python -m sweep.search STUDY`: Optuna looks for the best schedule, with trials of the same engine."""

import hashlib
import json
import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
import typer
import yaml
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from sweep.arms import listed
from sweep.asker import Asker
from sweep.candidate import Candidate
from sweep.engine.driver import Ending, Options, drive
from sweep.engine.preflight import check_here
from sweep.engine.progress import Progress
from sweep.errors import BadInput, command
from sweep.journal import Journal
from sweep.options import Address, DataRoot, GpusPerTrial, MaxHours, ResultsAt, Workers, leave
from sweep.samplers import SAMPLERS
from sweep.store import results
from sweep.store.places import Place, place, put
from sweep.store.writer import send
from sweep.study import Study
from sweep.study import load as load_study
from sweep.study.config import FIELDS
from sweep.study.identity import Trial
from sweep.study.space import OBJECTIVES, Search
from sweep.study.study import BEST
from sweep.trial import Result

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_ANSWER = "search.json"
# Schedules of which the best tenth is one.
_TENTH = 10


@app.command()
def search(
    study: Annotated[Path, typer.Argument(help="the study file, with a search: block")],
    results_at: ResultsAt = "results",
    data_root: DataRoot = "data",
    address: Address = None,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = 0,
    max_hours: MaxHours = math.inf,
) -> int:
    """Search for the best schedule. Ctrl-C keeps what is done; the same command goes on.

    Exit code 0: done; 1: nothing was an answer; 2: bad input; 130: interrupted.
    """
    console = Console()
    asked = load_study(study)
    if not asked.search:
        raise BadInput(f"{study}: it has no search: block; python -m sweep.launch runs all its trials")
    results_root = place(results_at)
    folder = results_root / asked.name
    options = Options(data_root, address, workers, gpus_per_trial, max_hours)
    with results.lock(folder):
        send(folder)
        results.compact(folder)
        journal = Journal(folder)
        history = _history(asked, asked.search, journal)
        stopped, curves = results.stopped(folder), {}
        ran = len(results.finished(folder)) + len(stopped)
        known = results.measured(results_root)
        if asked.search.stop:
            known = stopped | known
            curves = results.retraining(results_root, known)
        asker = Asker(asked.search, history, known, ran, curves)
        examples = asker.examples()
        if not address:
            check_here(examples, data_root, gpus_per_trial, False)
        say = f"{asked.name}: {asker.warm} schedules known, {asker.ran} of {asked.search.trials} trials run"
        console.out(say, highlight=False)
        ending = Ending.FINISHED
        if not asker.over:
            left = asked.search.trials - asker.ran

            def heard(result: Result) -> None:
                asker.found(result)
                journal.send()

            with Progress(asked.name, left, [], console) as progress:
                ending = drive(
                    *(asked, [], folder, options, lambda job: 1.0, progress),
                    judge=asker.judge(),
                    more=asker.next,
                    heard=heard,
                    examples=examples,
                )
            results.compact(folder)
        journal.close()
    with warnings.catch_warnings(action="ignore"):  # of values that were tried once
        _answer(console, asked, asker, len(results.stopped(folder)), folder)
    if ending is Ending.INTERRUPTED:
        console.out("interrupted; the same command goes on", highlight=False)
        return 130
    return 0 if asker.best() else 1


def _history(asked: Study, search: Search, journal: Journal) -> optuna.Study:
    """What Optuna remembers, in a journal beside the results, which `optuna-dashboard` opens too."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(journal.backend())
    directions: list[Literal["maximize", "minimize"]] = [
        "maximize" if OBJECTIVES[name][1] else "minimize" for name in search.objectives
    ]
    ranges = [(d.name, d.values, d.low, d.high, d.step, d.log) for d in search.dimensions]
    space = hashlib.sha256(repr((search.objectives, ranges)).encode()).hexdigest()[:8]

    def named(name: str) -> optuna.Study:
        return optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )

    history = named(asked.name)
    known = history.user_attrs.get("space")
    if known is None:
        history.set_user_attr("space", space)
    elif known != space:
        # The file was edited: Optuna takes no other values into a history, and would keep its directions.
        # What was measured it is told anew.
        history = named(f"{asked.name} {space}")
    # With a seed of its own each time, or what is drawn at first would be drawn again.
    history.sampler = SAMPLERS[search.sampler](search, len(history.trials))
    return history


def _answer(console: Console, asked: Study, asker: Asker, stopped: int, folder: Place) -> None:
    """Say what is best and what mattered; leave it for the report, and the best schedule as a study file."""
    best, shares = asker.best(), _importances(asker)
    answer = {
        "study": asked.name,
        "sampler": asker.search.sampler,
        "objectives": asker.search.objectives,
        "seeds": asker.search.seeds,
        "trials": asker.ran,
        "stopped": stopped,
        "known": asker.warm,
        "best": [_described(candidate) for candidate in best],
        "importances": shares,
    }
    put(folder / _ANSWER, lambda file: file.write(f"{json.dumps(answer, indent=2)}\n".encode()))
    if not best:
        seeds = asker.search.seeds
        console.out(f"no schedule was measured with {seeds} seeds yet, or none is an answer", highlight=False)
        return
    console.out(
        "best on validation data, with 95 % Student-t intervals over seeds (selected: both accuracies are of "
        "the runs that chose):",
        highlight=False,
    )
    for candidate in best:
        validation, test = (candidate.interval(column) for column in ("val_accuracy", "test_accuracy"))
        density = candidate.mean("density")
        console.out(
            f"  {listed(candidate.chosen)}: validation {validation}, test {test}, density {density:.4g}",
            highlight=False,
        )
    for objective, ranked in shares.items():
        matters = ", ".join(f"{name} {share:.0%}" for name, share in ranked.items())
        console.out(f"what mattered for {objective}: {matters}", highlight=False)
    path = folder / "best.yaml"
    put(path, lambda file: file.write(_as_study(asked, best).encode()))
    how = "python -m sweep.launch " if isinstance(path, Path) else ""
    console.out(
        f"the best as a study: {how}{path}; with other seeds its accuracy can be quoted", highlight=False
    )


def _importances(asker: Asker) -> dict[str, dict[str, float]]:
    """Objective → dimension → its share in what brings a schedule among the best tenth (PED-ANOVA)."""
    found: dict[str, dict[str, float]] = {}
    told = asker.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(told) < _TENTH or len(asker.search.dimensions) < 2:
        return found
    for index, objective in enumerate(asker.search.objectives):
        sign = -1.0 if OBJECTIVES[objective][1] else 1.0

        def loss(trial: FrozenTrial, index: int = index, sign: float = sign) -> float:
            value: float = trial.values[index]
            return sign * value

        with suppress(ValueError, RuntimeError):  # of trials that are all alike
            found[objective] = optuna.importance.get_param_importances(asker.study, target=loss)
    return found


def _described(candidate: Candidate) -> dict[str, Any]:
    """A schedule of the answer, as the report reads it."""
    accuracies = {column: candidate.values(column) for column in ("val_accuracy", "test_accuracy")}
    network = {"density": candidate.mean("density"), "cost": candidate.mean("macs_masked")}
    return {"schedule": candidate.chosen, **accuracies, **network}


def _as_study(asked: Study, best: Sequence[Candidate]) -> str:
    """A study file of these schedules, each with all its seeds."""
    blocks = []
    for candidate in best:
        seeds = sorted(Trial.parse(row["config"]).config.seed for row in candidate.rows.values())
        config = candidate.trial(0).config
        values = {name: getattr(config, name) for name in FIELDS}
        said = {name: value for name, value in values.items() if value != FIELDS[name].default}
        # Left out, it would be the criterion's own number.
        blocks.append({**said, "iterations": config.iterations, "seed": seeds})
    text = yaml.safe_dump({"name": f"{asked.name}{BEST}", "blocks": blocks}, sort_keys=False)
    return f"# The best that the search {asked.name} found.\n{text}"


def main() -> None:
    """The command line."""
    leave(lambda: command(app, "sweep.search"))


if __name__ == "__main__":
    main()
