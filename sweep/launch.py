"""`python -m sweep.launch [STUDY]`: run what a study asks for and has no result yet."""

import gc
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn

import torch
import typer
from rich.console import Console

from sweep import data, models, plan
from sweep.data import catalog
from sweep.driver import AUTO, TUNE, Ending, Gpus, Options, drive
from sweep.errors import BadInput, command
from sweep.loggers import Logger
from sweep.plan.cost import Costs
from sweep.progress import Progress, duration
from sweep.store import provenance, results
from sweep.store.places import Place, Remote, place
from sweep.store.writer import send
from sweep.study import Study
from sweep.study import load as load_study
from sweep.study.config import ALONG, Config
from sweep.study.identity import Trial
from sweep.trial import mask_updates, masking

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


# Options that all commands have that run trials.
ResultsAt = Annotated[str, typer.Option("--results", help="folder for results, or a URI: s3://BUCKET/PREFIX")]
DataRoot = Annotated[str, typer.Option(help="folder of the data sets, or a URI: s3://BUCKET/PREFIX")]


def cluster_here(address: str | None) -> str | None:
    """The address that was given; on the head of a cluster that `ray up` made, this cluster."""
    # Which is there as long as it has not been stopped; its head alone has the other file.
    running = Path("/tmp/ray/ray_current_cluster"), Path.home() / "ray_bootstrap_config.yaml"
    return address or ("auto" if all(file.exists() for file in running) else None)


Address = Annotated[
    str | None,
    typer.Option(
        envvar="RAY_ADDRESS",
        callback=cluster_here,
        help="Ray cluster to run on; default: on a head or in a job its own, elsewhere one started here",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="trials at once, on a cluster that grows up to so many; default: all there is room for"
    ),
]


def gpus(text: str) -> Gpus:
    """A share of a GPU, or that it is to be measured."""
    try:
        share = float(text)
    except ValueError:
        share = -1
    if text == AUTO:
        return AUTO
    if not 0 <= share < math.inf:
        raise typer.BadParameter(f"{text!r} is no share of a GPU: a number such as 0.25, or {AUTO}")
    return share


GpusPerTrial = Annotated[
    Any,
    typer.Option(parser=gpus, metavar="SHARE", help="share of a GPU each trial gets; auto: by its memory"),
]
MaxHours = Annotated[float, typer.Option(min=0, help="stop after so many hours")]


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
        _say_plan(console, asked, trials, done, missing)
        _say_estimate(console, asked, missing, costs, options)
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
        _say_plan(console, asked, trials, done, missing)
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
    return _summary(console, trials, done, folder, ending, limited=max_trials is not None)


def check_here(trials: Sequence[Trial], data_root: str, gpus_per_trial: Gpus, download: bool) -> None:
    """Raise `BadInput` for what this machine lacks; on a cluster its nodes find out."""
    here = torch.cuda.device_count()
    if (1 if gpus_per_trial == AUTO else gpus_per_trial) > here:
        share = gpus_per_trial if gpus_per_trial == AUTO else f"{gpus_per_trial:g}"
        raise BadInput(f"--gpus-per-trial {share}: this machine has {here} GPUs; leave it out to use CPUs")
    for dataset in {trial.config.dataset for trial in trials}:
        if download:
            catalog.download(dataset, catalog.local(dataset, data_root))
        shape = data.check(dataset, data_root)
        for model in {trial.config.model for trial in trials if trial.config.dataset == dataset}:
            models.check(model, shape)
        checked = set()
        configs = [trial.config for trial in trials if trial.config.dataset == dataset]
        _check_steps(configs, data_root)
        for config in sorted(configs, key=lambda config: -config.combination):
            said = (config.layers, config.structure, config.retrain, config.min_per_layer)
            several = (config.model, config.criterion == "oracle", config.sparsity, config.scope, *said)
            plain = said == ("*", "weight", "all", 0) and config.scope != "uniform-plus"
            if not plain and several not in checked:
                checked.add(several)
                masking.check(config, models.build(config.model, shape, classes=10, seed=0))


def _check_steps(configs: Sequence[Config], data_root: str) -> None:
    """See that what happens at an epoch comes within the steps of training: the size of the data says."""
    costs = Costs(data_root, torch.device("cpu"))
    for config in configs:
        when = max(config.prune_epoch, config.rewind_epoch or 0)
        if config.steps and when and round(when * costs.epoch(config)) > config.steps:
            steps = f"{config.steps} steps of training, {costs.epoch(config)} an epoch"
            raise BadInput(f"epoch {when:g} is beyond the {steps}: prune and rewind earlier, or train longer")
        if config.criterion in ALONG and config.sparsity:
            epoch = costs.epoch(config)
            first = round(config.prune_epoch * epoch) if mask_updates.prunes(config) else 0
            mask_updates.last_update(config, first, config.steps or round((config.epochs or 0) * epoch))


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


def _say_plan(
    console: Console,
    study: Study,
    trials: Sequence[Trial],
    done: Mapping[str, results.Row],
    missing: Sequence[Trial],
) -> None:
    # A failed one that is tried again counts as one to run.
    have = (
        sum(trial.id in done for trial in trials) - sum(trial.id in done for trial in missing) if done else 0
    )
    asked = study.asked
    same = f" ({asked} asked for, those that are the same once)" if asked > len(trials) else ""
    console.out(
        f"{study.name}: {len(trials)} trials{same}, {have} with a result, {len(missing)} to run",
        highlight=False,
    )


def _say_estimate(
    console: Console, study: Study, missing: Sequence[Trial], costs: Costs, options: Options
) -> None:
    """How much of the training is shared, how long it takes, and what it costs."""
    try:
        chains = plan.share(missing)
        jobs = [job for chain in chains for job in chain]
        seconds = sum(map(costs.job, jobs))
        # No chain ends sooner than its own stages one after another.
        longest = max(
            (costs.alone(first.trial.config) + sum(map(costs.job, rest)) for first, *rest in chains),
            default=0.0,
        )
        work = plan.work(chains, costs.epoch)
    except BadInput:
        if not options.address:
            raise
        console.out("no estimate: it takes the data on this machine too", highlight=False)
        return
    # Before it is measured, one on each GPU.
    share = 1.0 if options.gpus == AUTO else options.gpus
    here = int(torch.cuda.device_count() / share) if share else provenance.cores()
    at_once = max(1, (options.workers or here) if options.address else min(options.workers or here, here))
    steps = f"{work.shared:,} of {work.alone:,} steps to run"
    states = len({point.key for job in jobs for point in job.saves})
    console.out(
        f"{work.saved:.0%} of the training shared: {steps}; {states} states are left for others",
        highlight=False,
    )
    place = "on a machine like this one" if options.address else "here"
    source = "from earlier results" if costs.speeds else f"{costs.device.type} steps timed {place}"
    wall = max(longest, seconds / at_once)
    price = ""
    if study.price_per_gpu_hour and share and (costs.speeds or costs.device.type == "cuda"):
        price = f", {study.price_per_gpu_hour * share * seconds / 3600:,.2f} at the study's price"
    console.out(
        f"about {duration(wall)} with {at_once} workers, {duration(longest)} with any number; "
        f"{duration(seconds)} of one worker ({source}){price}",
        highlight=False,
    )


def _summary(
    console: Console,
    trials: Sequence[Trial],
    done: dict[str, results.Row],
    folder: Place,
    ending: Ending,
    limited: bool,
) -> int:
    found = [done[trial.id]["status"] for trial in trials if trial.id in done]
    failed, lost = found.count("failed"), len(trials) - len(found)
    console.out(f"results: {folder}", highlight=False)
    if failed:
        console.out(
            f'{failed} trials failed: python -m analysis sql "SELECT trial_id, error FROM trials WHERE '
            f"status = 'failed'\" --results {folder}; --retry-failed runs them again",
            highlight=False,
        )
    if ending is not Ending.FINISHED:
        console.out(
            f"{ending.value} with {len(found)} of {len(trials)} trials done; the same command goes on",
            highlight=False,
        )
    elif lost:
        console.out(f"{lost} trials have no result: launch again to run them", highlight=False)
    if ending is Ending.INTERRUPTED:
        return 130
    enough = ending is Ending.TIME or limited
    return 1 if failed or (lost and not enough) else 0


def leave(program: Callable[[], NoReturn]) -> NoReturn:
    """Run a program that drives trials, to its exit."""
    try:
        program()
    except SystemExit as end:
        # After an interrupt Tune's thread goes on using Ray, and to shut Ray down under it can crash. All is
        # on disk by now: leaving in one step ends the thread, and Ray's processes end with this one.
        if any(thread.name == TUNE and thread.is_alive() for thread in threading.enumerate()):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else 1)
        raise


def main() -> NoReturn:
    """The command line."""
    leave(lambda: command(app, "sweep.launch"))


if __name__ == "__main__":
    main()
