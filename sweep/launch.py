"""`python -m sweep.launch [STUDY]`: run the trials of a study that have no result yet."""

import gc
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import torch
import typer
from rich.console import Console

from sweep import plan
from sweep.engine import provenance, reuse, starts
from sweep.engine.estimate import say_changes, say_estimate, say_parts, say_plan, summary
from sweep.engine.loggers import Logger
from sweep.engine.options import Ending, Options
from sweep.engine.preflight import check_launch
from sweep.engine.progress import Progress
from sweep.errors import BadInput, command
from sweep.options import (
    Address,
    DataRoot,
    FurtherSettings,
    GpusPerTrial,
    Known,
    MaxHours,
    ResultsAt,
    Settings,
    StudyFile,
    TrialSeconds,
    Workers,
    leave,
    settings,
)
from sweep.plan.cost import Costs
from sweep.store import launches, marks, results
from sweep.store.matching import matching
from sweep.store.places import Place, Remote, place
from sweep.store.writer import send
from sweep.study import Study
from sweep.study import load as load_study
from sweep.study.identity import Trial

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Rerun = Annotated[
    str | None, typer.Option(metavar="CONDITION", help="run trials again for whose results this SQL holds")
]


@app.command()
def launch(
    path: StudyFile = Path("studies/quickstart.yaml"),
    further: FurtherSettings = None,
    *,
    set_: Settings = None,
    results_root: ResultsAt = "results",
    known: Known = None,
    data_root: DataRoot = "data",
    address: Address = None,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = 0,
    max_trials: Annotated[int | None, typer.Option(min=1, help="trials to run now, at most")] = None,
    max_hours: MaxHours = math.inf,
    trial_seconds: TrialSeconds = math.inf,
    max_failures: Annotated[int | None, typer.Option(min=1, help="failed trials after which to stop")] = None,
    max_retries: Annotated[int, typer.Option(min=0, help="further tries of a trial whose worker died")] = 3,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="run failed trials again")] = False,
    rerun: Rerun = None,
    download: Annotated[bool, typer.Option("--download", help="get data sets that are missing")] = False,
    log: Annotated[Logger | None, typer.Option(help="also log to this service")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run, and stop")] = False,
) -> int:
    """Run the trials of STUDY that have no result yet. Ctrl-C keeps what is done; the same command goes on.

    Exit code 0: every trial has a result, or as many as --max-trials and --max-hours allow; 1: some failed;
    2: bad input; 130: interrupted.
    """
    # Imported objects stay: the garbage collector need not visit them for every few thousand trials.
    gc.freeze()
    console = Console()
    study = _load(path, place(results_root) if dry_run else None, settings(set_, further))
    trials = study.trials()
    folder, libraries = place(results_root) / study.name, reuse.libraries(known or ())
    options = Options(
        data_root=data_root,
        address=address,
        workers=workers,
        gpus=gpus_per_trial,
        max_hours=max_hours,
        max_failures=max_failures or math.inf,
        retries=max_retries,
        trial_seconds=trial_seconds,
        log=log,
    )
    for line in _check(study, trials, options, folder.parent, download=download, dry_run=dry_run):
        console.out(line, highlight=False)
    with nullcontext() if dry_run else results.lock(folder):
        if not dry_run:
            send(folder)
            results.compact(folder)
        again = _Again(rerun, retry_failed)
        todo = _todo(study, folder, libraries, again, most=max_trials, dry_run=dry_run)
        costs = _costs(folder, options)
        _say_todo(console, study, todo, folder)
        if dry_run:
            say_estimate(console, study, todo.to_run, costs, options)
            return 0
        ending = _run(study, todo, folder, options, costs, console)
        done = results.finished(folder)
    return summary(console, trials, done, folder, ending, limited=max_trials is not None)


def _load(path: Path, results_root: Place | None, settings: Sequence[str]) -> Study:
    """The study of a file.

    Args:
        results_root: where parts that the study names may be recorded, if their code need not be here.

    Raises:
        BadInput: it is no study, or one that searches.
    """
    recorded = None if results_root is None else (lambda name: launches.parts_of(results_root / name))
    study = load_study(path, recorded, settings)
    if study.search:
        raise BadInput(f"{path}: this study searches: python -m sweep.search {path}")
    return study


def _costs(folder: Place, options: Options) -> Costs:
    """What trials cost, from the results in a folder where there are any."""
    costs = Costs(
        options.data_root, torch.device("cuda" if options.gpus and torch.cuda.is_available() else "cpu")
    )
    costs.learn(results.costs(folder), bool(options.gpus))
    return costs


def _check(
    study: Study,
    trials: Sequence[Trial],
    options: Options,
    results_root: Place,
    *,
    download: bool,
    dry_run: bool,
) -> list[str]:
    """Check what is known to make trials of the study fail. A dry run runs no code of its parts.

    Returns:
        Lines to print about trained weights.

    Raises:
        BadInput: trials of the study are known to fail.
    """
    if options.log:
        _check_log(options.log, results_root)
    check_launch(study, trials, options, download=download, run_code=not dry_run)
    device = "cuda" if options.gpus else "cpu"
    if dry_run:
        starts.earlier(study, trials, results_root, device)
        return []
    return starts.check(study, trials, results_root, options.data_root, device)


@dataclass(frozen=True)
class _Again:
    """Which trials run again though they have a result.

    Attributes:
        rerun: those for whose results this condition in SQL holds; None: none.
        failed: those that failed.
    """

    rerun: str | None
    failed: bool


@dataclass(frozen=True)
class _Todo:
    """What a launch has to do.

    Attributes:
        trials: all trials of the study.
        done: trial_id → result, of every trial that has one.
        taken: where results are taken over from → how many.
        missing: trials without a result, and those that are run again.
        to_run: the missing trials that this launch runs.
    """

    trials: Sequence[Trial]
    done: Mapping[str, results.Row]
    taken: Mapping[str, int]
    missing: Sequence[Trial]
    to_run: Sequence[Trial]


def _todo(
    study: Study,
    folder: Place,
    libraries: Sequence[Place],
    again: _Again,
    *,
    most: int | None,
    dry_run: bool,
) -> _Todo:
    """What a launch has to do, once the results that others have are taken over.

    Args:
        folder: of the study's results.
        libraries: more folders of results, of others.
        again: results in the folder that do not count.
        dry_run: take nothing over.
    """
    trials, done = study.trials(), results.finished(folder)
    matched = set() if again.rerun is None else matching(folder, again.rerun)
    missing = _missing(trials, done, matched, again.failed)
    # What a person wants to have run again is not taken over.
    own = matched | marks.invalid(folder).until.keys()
    found = reuse.find(study, [t for t in missing if t.id not in own] if own else missing, folder, libraries)
    for each in found:
        if not dry_run:
            reuse.take_over(each, folder)
        done |= each.done()
    if found:
        missing = _missing(missing, done, matched, again.failed)
    taken = {each.source: len(each.trials) for each in found}
    return _Todo(trials, done, taken, missing, _first(missing, most))


def _missing(
    trials: Sequence[Trial], done: Mapping[str, results.Row], matched: Collection[str], retry_failed: bool
) -> Sequence[Trial]:
    """The trials without a result, those that run again, and if they are to run again the failed ones."""
    if not done:  # without results no trial needs its id yet
        return trials
    failed = {name for name, row in done.items() if row["status"] == "failed"} if retry_failed else set()
    return [t for t in trials if t.id not in done or t.id in matched or t.id in failed]


def _say_todo(console: Console, study: Study, todo: _Todo, folder: Place) -> None:
    """Say what has changed and what runs, and how much of it because a person marked results as invalid."""
    say_changes(console, study, folder)
    say_plan(console, study, todo.done, todo.to_run, todo.taken)
    marked = marks.invalid(folder).until
    again = sum(trial.id in marked and trial.id not in todo.done for trial in todo.missing) if marked else 0
    if again:
        marked_results = "1 result is" if again == 1 else f"{again:,} results are"
        console.out(f"{marked_results} marked as invalid and run again", highlight=False)
    say_parts(console, study, folder, todo.to_run)


def _first(missing: Sequence[Trial], most: int | None) -> Sequence[Trial]:
    """The first `most` of the missing trials in the order of the plan; None: all of them."""
    if most is None or len(missing) <= most:
        return missing
    planned = [job.trial for pack in plan.packs(missing, 1) for job in pack.jobs]
    seeds = {seed: place for place, seed in enumerate(dict.fromkeys(t.config.seed for t in missing))}
    return sorted(planned, key=lambda trial: seeds[trial.config.seed])[:most]


def _run(
    study: Study, todo: _Todo, folder: Place, options: Options, costs: Costs, console: Console
) -> Ending:
    """Run the trials of a launch. A launch without trials to run is noted in study.json all the same."""
    counts = {"trials": len(todo.trials), "to_run": len(todo.missing)}
    if not todo.to_run:
        # The entry says that the study, as it is now, is finished: an earlier launch may have asked for more.
        entry = provenance.here(study.parts.values()) | counts
        launches.note_launch(folder, study.name, study.text, entry, study.about)
        return Ending.FINISHED
    # Ray takes a second to import, which --dry-run and bad input need not wait for.
    from sweep.engine.session import Session

    to_run = {trial.id for trial in todo.to_run}
    have = [trial for trial in todo.trials if trial.id in todo.done and trial.id not in to_run]
    total = len(have) + len(to_run)
    # One row at a time: the text of an arm is long, and many trials share it.
    rows = ({**todo.done[t.id], "arm": t.arm, "seed": t.config.seed} for t in have)
    with Progress(study.name, total, rows, console) as progress:
        last = total == len(todo.trials)
        session = Session(study, folder, options, costs.roughly, progress, last=last, counts=counts)
        ending = session.run(todo.to_run)
    results.compact(folder)
    return ending


def _check_log(log: Logger, results_root: Place) -> None:
    """Raise `BadInput` if finished trials cannot be logged to a service."""
    if log is Logger.TENSORBOARD and isinstance(results_root, Remote):
        raise BadInput(f"--log {log}: its files go to a folder, not to {results_root}")
    if not find_spec(log.package):
        raise BadInput(f"--log {log}: it is not installed: pip install {log.package}")


def main() -> NoReturn:
    """The command line."""
    leave(lambda: command(app, "sweep.launch"))


if __name__ == "__main__":
    main()
