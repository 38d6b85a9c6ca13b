"""`python -m sweep.search STUDY`: Optuna looks for the best schedule, with trials of the same engine."""

import math
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweep.engine.driver import Ending, Options, drive
from sweep.engine.preflight import check_here
from sweep.engine.progress import Progress
from sweep.errors import BadInput, command
from sweep.options import Address, DataRoot, GpusPerTrial, MaxHours, ResultsAt, Workers, leave
from sweep.search.answer import answer
from sweep.search.journal import Journal, opened
from sweep.search.tuner import Asker
from sweep.store import results
from sweep.store.places import place
from sweep.store.writer import send
from sweep.study import load as load_study
from sweep.trial import Result

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


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
        remembered = opened(asked, asked.search, journal)
        stopped, curves = results.stopped(folder), {}
        ran = len(results.finished(folder)) + len(stopped)
        known = results.measured(results_root)
        if asked.search.stop:
            known = stopped | known
            curves = results.retraining(results_root, known)
        asker = Asker(asked.search, remembered, known, ran, curves)
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
        answer(console, asked, asker, len(results.stopped(folder)), folder)
    if ending is Ending.INTERRUPTED:
        console.out("interrupted; the same command goes on", highlight=False)
        return 130
    return 0 if asker.best() else 1


def main() -> None:
    """The command line."""
    leave(lambda: command(app, "sweep.search"))


if __name__ == "__main__":
    main()
