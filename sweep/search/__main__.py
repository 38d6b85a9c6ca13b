"""`python -m sweep.search STUDY`: Optuna searches for the best schedule with trials of the engine."""

import math
import warnings

import optuna
import typer
from rich.console import Console

from sweep.engine import starts
from sweep.engine.estimate import say_changes
from sweep.engine.options import Ending, Options
from sweep.engine.preflight import check_launch
from sweep.engine.progress import Progress
from sweep.errors import BadInput, command
from sweep.options import (
    Address,
    CheckpointMinutes,
    DataRoot,
    FurtherSettings,
    GpusPerTrial,
    MaxHours,
    ResultsAt,
    Settings,
    StudyFile,
    TrialSeconds,
    Workers,
    leave,
    settings,
)
from sweep.reporter import Form, FormOption, Quiet, conclude, note, reported
from sweep.search.answer import answer
from sweep.search.history import History
from sweep.search.journal import Journal, opened
from sweep.search.tuner import Tuner
from sweep.store import results, running
from sweep.store.compaction import compact
from sweep.store.places import Place, place
from sweep.store.writer import send
from sweep.study import Study
from sweep.study import load as load_study
from sweep.study.space import Search

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def search(
    path: StudyFile,
    further: FurtherSettings = None,
    *,
    set_: Settings = None,
    results_at: ResultsAt = "results",
    data_root: DataRoot = "data",
    address: Address = None,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = 0,
    max_hours: MaxHours = math.inf,
    trial_seconds: TrialSeconds = math.inf,
    checkpoint_minutes: CheckpointMinutes = 10,
    form: FormOption = Form.TEXT,
    quiet: Quiet = False,
) -> int:
    """Search the space of STUDY for the best schedule. Ctrl-C keeps what is done; the same command goes on.

    Exit code 0: done; 1: nothing was an answer; 2: bad input; 130: interrupted.
    """
    options = Options(
        data_root=data_root,
        address=address,
        workers=workers,
        gpus=gpus_per_trial,
        max_hours=max_hours,
        trial_seconds=trial_seconds,
        checkpoint_minutes=checkpoint_minutes,
    )

    def work(console: Console) -> int:
        study = load_study(path, settings=settings(set_, further))
        if not study.search:
            raise BadInput(f"{path}: it has no search: block; python -m sweep.launch runs all its trials")
        return _search(study, study.search, place(results_at), options, console)

    return reported(form, quiet, work)


def _search(study: Study, search: Search, results_root: Place, options: Options, console: Console) -> int:
    """Search, and say what was found; returns the exit code."""
    folder, ending = results_root / study.name, Ending.FINISHED
    with results.lock(folder):
        send(folder)
        compact(folder)
        _clean(folder)
        journal = Journal(folder)
        tuner = _tuner(search, opened(study, search, journal), results_root, folder)
        check_launch(study, tuner.examples(), options, download=False, run_code=True)
        device = "cuda" if options.gpus else "cpu"
        for line in starts.check(study, tuner.examples(), results_root, options.data_root, device):
            console.out(line, highlight=False)
        say_changes(console, study, folder)
        console.out(
            f"{study.name}: {tuner.history.warm} schedules known from earlier results, "
            f"{tuner.ran} of {search.trials} trials run",
            highlight=False,
        )
        if not tuner.over:
            ending = _run(study, tuner, search.trials - tuner.ran, folder, options, console)
            compact(folder)
        journal.close()
    with warnings.catch_warnings(action="ignore"):  # Optuna's, about dimensions with a single value
        answer(console, study, tuner, len(results.stopped(folder)), folder)
    note(console, results=str(folder), ending=ending.name.lower())
    if ending is Ending.INTERRUPTED:
        conclude(console, "interrupted; the same command goes on")
        return 130
    return 0 if tuner.best() else 1


def _clean(folder: Place) -> None:
    """Remove what trials have left while they ran, but the checkpoints of those that are not over."""
    left = folder / running.FOLDER
    running.clean(left, lambda: running.trials(left) - {*results.finished(folder), *results.stopped(folder)})


def _tuner(search: Search, optuna_study: optuna.Study, results_root: Place, folder: Place) -> Tuner:
    """The tuner of a search, which goes on from its own results and those of all other studies."""
    stopped, curves = results.stopped(folder), {}
    ran = len(results.finished(folder)) + len(stopped)
    rows = results.measured(results_root)
    if search.stop:
        rows = stopped | rows
        curves = results.retraining(results_root, rows)
    return Tuner(search, History(search, optuna_study, rows, curves), ran)


def _run(
    study: Study, tuner: Tuner, trials: int, folder: Place, options: Options, console: Console
) -> Ending:
    """Run the trials that the tuner proposes.

    Args:
        trials: how many it proposes at most, for the progress.
    """
    # Ray takes a second to import, which bad input need not wait for.
    from sweep.engine.session import Session

    with Progress(study.name, trials, [], console) as progress:
        return Session(study, folder, options, lambda job: 1.0, progress, proposer=tuner).run([])


def main(program: str = "sweep.search") -> None:
    """The command line."""
    leave(lambda: command(app, program))


if __name__ == "__main__":
    main()
