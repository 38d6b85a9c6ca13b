"""`python -m sweep.search STUDY`: Optuna looks for the best schedule, with trials of the same engine."""

import json
import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import optuna
import typer
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from sweep import results
from sweep.asker import Asker
from sweep.candidate import Candidate
from sweep.config import FIELDS
from sweep.driver import Ending, Options, drive
from sweep.errors import BadInput, command
from sweep.launch import Address, DataRoot, GpusPerTrial, MaxHours, Workers, check_here, leave
from sweep.progress import Progress
from sweep.samplers import SAMPLERS
from sweep.space import OBJECTIVES, Search
from sweep.storage import Remote, place
from sweep.study import Study
from sweep.study import load as load_study

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_JOURNAL = "optuna.journal"
_ANSWER = "search.json"
# Schedules of which the best tenth is one.
_TENTH = 10


@app.command()
def search(
    study: Annotated[Path, typer.Argument(help="the study file, with a search: block")],
    results_at: Annotated[str, typer.Option("--results", help="folder for results")] = "results",
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
    if isinstance(results_root, Remote):
        raise BadInput(f"--results {results_at}: a search keeps its journal in a folder; sweeps take stores")
    folder = results_root / asked.name
    options = Options(data_root, address, workers, gpus_per_trial, max_hours)
    with results.lock(folder):
        results.compact(folder)
        history = _history(asked, asked.search, folder)
        stopped, curves = results.stopped(folder), {}
        ran = len(results.finished(folder)) + len(stopped)
        known = results.measured(results_root)
        if asked.search.stop:
            known = stopped | known
            curves = results.retraining(results_root, known)
        asker = Asker(asked.search, history, known, ran, curves)
        if not address:
            check_here(asker.examples(), data_root, gpus_per_trial, False)
        say = f"{asked.name}: {asker.warm} schedules known, {asker.ran} of {asked.search.trials} trials run"
        console.out(say, highlight=False)
        ending = Ending.FINISHED
        if not asker.over:
            left = asked.search.trials - asker.ran
            with Progress(asked.name, left, [], console) as progress:
                ending = drive(
                    *(asked, [], folder, options, lambda job: 1.0, progress),
                    stop=asker.rule(),
                    more=asker.next,
                    heard=asker.found,
                )
            results.compact(folder)
    with warnings.catch_warnings(action="ignore"):  # of values that were tried once
        _answer(console, asked, asker, len(results.stopped(folder)), folder)
    if ending is Ending.INTERRUPTED:
        console.out("interrupted; the same command goes on", highlight=False)
        return 130
    return 0 if asker.best() else 1


def _history(asked: Study, search: Search, folder: Path) -> optuna.Study:
    """What Optuna remembers, in a journal beside the results, which `optuna-dashboard` opens too."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = JournalFileBackend(str(folder / _JOURNAL))
    history = optuna.create_study(
        storage=JournalStorage(backend),
        study_name=asked.name,
        directions=["maximize" if OBJECTIVES[name][1] else "minimize" for name in search.objectives],
        load_if_exists=True,
    )
    # With a seed of its own each time, or what is drawn at first would be drawn again.
    history.sampler = SAMPLERS[search.sampler](search, len(history.trials))
    return history


def _answer(console: Console, asked: Study, asker: Asker, stopped: int, folder: Path) -> None:
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
    (folder / _ANSWER).write_text(json.dumps(answer, indent=2) + "\n")
    if not best:
        seeds = asker.search.seeds
        console.out(f"no schedule was measured with {seeds} seeds yet, or none is an answer", highlight=False)
        return
    console.out("best on validation data; test accuracy is only reported:", highlight=False)
    for candidate in best:
        chosen = " ".join(f"{name}={value}" for name, value in candidate.chosen.items())
        validation, test = (candidate.interval(column) for column in ("val_accuracy", "test_accuracy"))
        console.out(
            f"  {chosen}: validation {validation}, test {test}, density {candidate.mean('density'):.4g}",
            highlight=False,
        )
    for objective, ranked in shares.items():
        listed = ", ".join(f"{name} {share:.0%}" for name, share in ranked.items())
        console.out(f"what mattered for {objective}: {listed}", highlight=False)
    path = folder / "best.yaml"
    path.write_text(_as_study(asked, best))
    console.out(f"the best as a study: python -m sweep.launch {path}", highlight=False)


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
        seeds = sorted(trial.config.seed for trial in map(candidate.trial, range(len(candidate.rows))))
        config = candidate.trial(0).config
        values = {name: getattr(config, name) for name in FIELDS}
        said = {name: value for name, value in values.items() if value != FIELDS[name].default}
        blocks.append({**said, "seed": seeds})
    text = yaml.safe_dump({"name": f"{asked.name}-best", "blocks": blocks}, sort_keys=False)
    return f"# The best that `python -m sweep.search {asked.path}` found.\n{text}"


def main() -> None:
    """The command line."""
    leave(lambda: command(app, "sweep.search"))


if __name__ == "__main__":
    main()
