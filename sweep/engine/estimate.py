"""What a launch says: how much it has to do, how long that takes, and what came of it."""

from collections.abc import Mapping, Sequence

import torch
from rich.console import Console

from sweep import plan
from sweep.engine import provenance
from sweep.engine.driver import AUTO, Ending, Options
from sweep.engine.progress import duration
from sweep.errors import BadInput
from sweep.plan.cost import Costs
from sweep.store import results
from sweep.store.places import Place
from sweep.study import Study
from sweep.study.identity import Trial


def say_plan(
    console: Console,
    study: Study,
    trials: Sequence[Trial],
    done: Mapping[str, results.Row],
    missing: Sequence[Trial],
) -> None:
    """Say how many trials the study has, and how many of them have a result."""
    # A failed one that is tried again counts as one to run.
    have = (
        sum(trial.id in done for trial in trials) - sum(trial.id in done for trial in missing) if done else 0
    )
    asked = study.count
    same = f" ({asked} asked for, those that are the same once)" if asked > len(trials) else ""
    console.out(
        f"{study.name}: {len(trials)} trials{same}, {have} with a result, {len(missing)} to run",
        highlight=False,
    )


def say_estimate(
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


def summary(
    console: Console,
    trials: Sequence[Trial],
    done: dict[str, results.Row],
    folder: Place,
    ending: Ending,
    limited: bool,
) -> int:
    """Say what came of a launch; the exit code."""
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
