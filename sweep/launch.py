"""`python -m sweep.launch [STUDY]`: run what a study asks for and has no result yet."""

import gc
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import torch
import typer
from rich.console import Console

from sweep import plan
from sweep.engine import provenance
from sweep.engine.driver import Ending, Options, drive
from sweep.engine.estimate import say_estimate, say_plan, summary
from sweep.engine.loggers import Logger
from sweep.engine.preflight import check_here
from sweep.engine.progress import Progress
from sweep.errors import BadInput, command
from sweep.options import Address, DataRoot, GpusPerTrial, MaxHours, ResultsAt, Workers, leave
from sweep.plan.cost import Costs
from sweep.store import results
from sweep.store.places import Remote, place
from sweep.store.writer import send
from sweep.study import load as load_study
from sweep.study.identity import Trial

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def launch(
    study: Annotated[Path, typer.Argument(help="the study file")] = Path("studies/quickstart.yaml"),
    results_root: ResultsAt = "results",
    data_root: DataRoot = "data",
    address: Address = None,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = 0,
    max_trials: Annotated[int | None, typer.Option(min=1, help="run so many now")] = None,
    max_hours: MaxHours = math.inf,
    max_failures: Annotated[int | None, typer.Option(min=1, help="stop after so many failed trials")] = None,
    max_retries: Annotated[int, typer.Option(min=0, help="tries more of a trial whose worker died")] = 3,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="run failed trials again")] = False,
    download: Annotated[bool, typer.Option("--download", help="get data sets that are missing")] = False,
    log: Annotated[Logger | None, typer.Option(help="also log to this service")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run, and stop")] = False,
) -> int:
    """Run the trials of STUDY that have no result yet. Ctrl-C keeps what is done; the same command goes on.

    Exit code 0: every trial has a result, or as many as --max-trials and --max-hours allow; 1: some failed;
    2: bad input; 130: interrupted.
    """
    # What was imported stays: the collector need not go through all of it for every few thousand trials.
    gc.freeze()
    console = Console()
    asked = load_study(study)
    if asked.search:
        raise BadInput(f"{study}: this study searches: python -m sweep.search {study}")
    trials = asked.trials()
    folder = place(results_root) / asked.name
    if log is Logger.TENSORBOARD and isinstance(folder, Remote):
        raise BadInput(f"--log {log}: its files go to a folder, not to {results_root}")
    if log and not find_spec(log.package):
        raise BadInput(f"--log {log}: it is not installed: pip install {log.package}")
    options = Options(
        data_root, address, workers, gpus_per_trial, max_hours, max_failures or math.inf, max_retries, log
    )
    if not address:
        check_here(trials, data_root, gpus_per_trial, download)
    costs = Costs(data_root, torch.device("cuda" if gpus_per_trial and torch.cuda.is_available() else "cpu"))
    if dry_run:
        done = results.finished(folder)
        missing = _first(_missing(trials, done, retry_failed), max_trials)
        costs.learn(results.costs(folder), bool(gpus_per_trial))
        say_plan(console, asked, trials, done, missing)
        say_estimate(console, asked, missing, costs, options)
        return 0
    ending = Ending.FINISHED
    with results.lock(folder):
        send(folder)
        results.compact(folder)
        done = results.finished(folder)
        to_run = _missing(trials, done, retry_failed)
        missing = _first(to_run, max_trials)
        counts = {"trials": len(trials), "to_run": len(to_run)}
        costs.learn(results.costs(folder), bool(gpus_per_trial))
        say_plan(console, asked, trials, done, missing)
        if missing:
            left = {trial.id for trial in missing}
            known = [trial for trial in trials if trial.id in done and trial.id not in left]
            # One by one: what of it is the same for many is text of a page's length.
            earlier = ({**done[t.id], "arm": t.arm, "seed": t.config.seed} for t in known)
            with Progress(asked.name, len(known) + len(left), earlier, console) as progress:
                ending = drive(
                    *(asked, missing, folder, options, costs.roughly, progress),
                    last=len(known) + len(left) == len(trials),
                    counts=counts,
                )
            results.compact(folder)
        else:
            # What an earlier launch left to do, this study no longer asks for.
            results.note_launch(folder, asked.name, asked.text, provenance.here() | counts)
        done = results.finished(folder)
    return summary(console, trials, done, folder, ending, limited=max_trials is not None)


def _missing(trials: Sequence[Trial], done: dict[str, results.Row], retry_failed: bool) -> list[Trial]:
    """The trials that have no result, or one that does not count."""
    again = {"failed"} if retry_failed else set()
    if not done:
        return list(trials)
    return [trial for trial in trials if trial.id not in done or done[trial.id]["status"] in again]


def _first(missing: list[Trial], most: int | None) -> list[Trial]:
    """Of more than `most` trials to run those that come first in the plan."""
    if most is None or len(missing) <= most:
        return missing
    planned = [job.trial for pack in plan.packs(missing, 1) for job in pack.jobs]
    seeds = {seed: place for place, seed in enumerate(dict.fromkeys(t.config.seed for t in missing))}
    return sorted(planned, key=lambda trial: seeds[trial.config.seed])[:most]


def main() -> NoReturn:
    """The command line."""
    leave(lambda: command(app, "sweep.launch"))


if __name__ == "__main__":
    main()
