"""`python -m sweep.launch [STUDY]`: run what a study asks for and has no result yet."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import torch
import typer
from rich.console import Console

from sweep import data, datasets, masking, models, plan, provenance, results
from sweep.config import Trial
from sweep.errors import BadInput, command
from sweep.progress import Progress, duration
from sweep.study import Study
from sweep.study import load as load_study
from sweep.trial import Result

_TUNE = "tune"  # the name of the thread that Tune runs in
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def launch(
    study: Annotated[Path, typer.Argument(help="the study file")] = Path("studies/quickstart.yaml"),
    results_root: Annotated[str, typer.Option("--results", help="folder for results")] = "results",
    data_root: Annotated[Path, typer.Option(help="folder of the data sets")] = Path("data"),
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to run on; default: start one here")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="trials at once; default: one a CPU")] = None,
    gpus_per_trial: Annotated[float, typer.Option(min=0, help="share of a GPU each trial gets")] = 0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="run failed trials again")] = False,
    download: Annotated[bool, typer.Option("--download", help="get data sets that are missing")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run, and stop")] = False,
) -> int:
    """Run the trials of STUDY that have no result yet. Ctrl-C keeps what is done; the same command goes on.

    Exit code 0: every trial has a result; 1: some failed; 2: bad input; 130: interrupted.
    """
    console = Console()
    asked = load_study(study)
    trials = asked.trials()
    if "://" in results_root:
        raise BadInput(f"--results {results_root}: only folders so far, no object stores")
    folder = Path(results_root) / asked.name
    if not address:
        _check_here(trials, data_root, gpus_per_trial, download)
    if dry_run:
        missing = _missing(trials, results.finished(folder), retry_failed)
        _say_plan(console, asked, trials, missing)
        _say_estimate(console, missing, data_root, workers, gpus_per_trial, bool(address))
        return 0
    with results.lock(folder):
        results.compact(folder)
        done = results.finished(folder)
        missing = _missing(trials, done, retry_failed)
        _say_plan(console, asked, trials, missing)
        interrupted = False
        if missing:
            left = {trial.id for trial in missing}
            earlier = [done[trial.id] for trial in trials if trial.id not in left]
            with Progress(asked.name, len(trials), earlier, console) as progress:
                interrupted = not _run(
                    missing, folder, asked, progress, address, workers, gpus_per_trial, data_root
                )
            results.compact(folder)
        done = results.finished(folder)
    return _summary(console, trials, done, folder, interrupted)


def _check_here(trials: Sequence[Trial], data_root: Path, gpus_per_trial: float, download: bool) -> None:
    """Raise `BadInput` for what this machine lacks; on a cluster its nodes find out."""
    gpus = torch.cuda.device_count()
    if gpus_per_trial > gpus:
        raise BadInput(
            f"--gpus-per-trial {gpus_per_trial:g}: this machine has {gpus} GPUs; leave it out to use CPUs"
        )
    for dataset in {trial.config.dataset for trial in trials}:
        if download:
            datasets.download(dataset, data_root)
        shape = data.check(dataset, data_root)
        for model in {trial.config.model for trial in trials if trial.config.dataset == dataset}:
            models.check(model, shape)
        checked = set()
        for config in (trial.config for trial in trials if trial.config.dataset == dataset):
            said = (config.layers, config.structure, config.retrain, config.min_per_layer)
            several = (config.model, config.criterion == "oracle", config.sparsity, *said)
            if said != ("*", "weight", "all", 0) and several not in checked:
                checked.add(several)
                masking.check(config, models.build(config.model, shape, classes=10, seed=0))


def _missing(trials: Sequence[Trial], done: dict[str, results.Row], retry_failed: bool) -> list[Trial]:
    again = {"failed"} if retry_failed else set()
    return [trial for trial in trials if trial.id not in done or done[trial.id]["status"] in again]


def _run(
    missing: Sequence[Trial],
    folder: Path,
    study: Study,
    progress: Progress,
    address: str | None,
    workers: int | None,
    gpus_per_trial: float,
    data_root: Path,
) -> bool:
    """Run the trials on Ray; False if interrupted. What is finished is on disk either way."""
    # Ray takes a second to import, which --dry-run and bad input need not wait for.
    from sweep import schedule

    writer = results.Writer(folder, study.name)
    failures: list[BaseException] = []

    def found(result: Result) -> None:
        writer.add(result.trial, result.curves, result.layers)
        progress.add(result.trial)

    def work() -> None:
        try:
            schedule.execute(
                plan.packs(missing, at_once),
                workers=at_once,
                data_root=str(data_root.resolve()),
                gpus_per_trial=gpus_per_trial,
                on_result=found,
            )
        except BaseException as error:
            failures.append(error)

    # Tune runs in a thread: there it leaves the signals alone, which would wait for running trials to end.
    thread = threading.Thread(target=work, name=_TUNE, daemon=True)
    try:
        # Not in the thread: Ray's processes end with the thread that started them.
        at_once = schedule.start(address, workers, gpus_per_trial)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has one of its own
        results.note_launch(folder, study.name, study.text, provenance.here())
        thread.start()
        while thread.is_alive() and not writer.error:
            thread.join(0.1)
        finished = True
    except KeyboardInterrupt:
        finished = False
    # A second signal must not lose what the first one is saving.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        writer.close()
    finally:
        if not thread.is_alive():
            schedule.stop()
    if finished and failures:
        raise failures[0]
    return finished


def _say_plan(console: Console, study: Study, trials: Sequence[Trial], missing: Sequence[Trial]) -> None:
    have = len(trials) - len(missing)
    console.out(
        f"{study.name}: {len(trials)} trials, {have} with a result, {len(missing)} to run", highlight=False
    )


def _say_estimate(
    console: Console,
    missing: Sequence[Trial],
    data_root: Path,
    workers: int | None,
    gpus_per_trial: float,
    cluster: bool,
) -> None:
    device = torch.device("cuda" if gpus_per_trial and torch.cuda.is_available() else "cpu")
    seconds = 0.0
    groups: dict[data.Data, list[Trial]] = {}
    for trial in missing:
        config = trial.config
        try:
            whole = data.load(config.dataset, data_root, config.validation_fraction, config.split_seed)
        except BadInput:
            if not cluster:
                raise
            console.out("no estimate: it takes the data on this machine too", highlight=False)
            return
        groups.setdefault(whole, []).append(trial)
    for whole, members in groups.items():
        seconds += plan.estimate(members, data.to(whole, device), device)
    here = int(torch.cuda.device_count() / gpus_per_trial) if gpus_per_trial else plan.cores()
    at_once = max(1, (workers or here) if cluster else min(workers or here, here))
    place = "on a machine like this one" if cluster else "here"
    console.out(
        f"about {duration(seconds / at_once)} with {at_once} workers, {duration(seconds)} of one worker "
        f"({device.type} steps timed {place})",
        highlight=False,
    )


def _summary(
    console: Console, trials: Sequence[Trial], done: dict[str, results.Row], folder: Path, interrupted: bool
) -> int:
    found = [done[trial.id]["status"] for trial in trials if trial.id in done]
    failed, lost = found.count("failed"), len(trials) - len(found)
    console.out(f"results: {folder}", highlight=False)
    if interrupted:
        console.out(
            f"interrupted with {len(found)} of {len(trials)} trials done; the same command goes on",
            highlight=False,
        )
        return 130
    if lost:
        console.out(f"{lost} trials have no result: launch again to run them", highlight=False)
    if failed:
        console.out(
            f'{failed} trials failed: python -m analysis sql "SELECT trial_id, error FROM trials WHERE '
            f"status = 'failed'\" --results {folder}; --retry-failed runs them again",
            highlight=False,
        )
    return 1 if failed or lost else 0


def main() -> NoReturn:
    """The command line."""
    try:
        command(app, "sweep.launch")
    except SystemExit as end:
        # After an interrupt Tune's thread goes on using Ray, and to shut Ray down under it can crash. All is
        # on disk by now: leaving in one step ends the thread, and Ray's processes end with this one.
        if any(thread.name == _TUNE and thread.is_alive() for thread in threading.enumerate()):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else 1)
        raise


if __name__ == "__main__":
    main()
