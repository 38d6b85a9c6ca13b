"""What a launch prints: how many trials it runs, how long they take, and how they ended."""

from collections.abc import Mapping, Sequence

import torch
from rich.console import Console

from sweep import plan
from sweep.engine import provenance
from sweep.engine.options import AUTO, Ending, Options
from sweep.engine.progress import duration
from sweep.errors import BadInput
from sweep.plan.cost import Costs
from sweep.plan.division import Division
from sweep.reporter import conclude, note
from sweep.store import launches, results
from sweep.store.lease import LaunchPart
from sweep.store.places import Place
from sweep.study import Study
from sweep.study.changes import changes
from sweep.study.identity import Trial

# Studies whose results are taken over that a launch names, at most.
_MOST_SOURCES = 3


def say_division(console: Console, study: Study, part: LaunchPart, division: Division) -> None:
    """Say which share of a study a part of a launch has."""
    own, shares = part.number - 1, division.shares
    console.out(
        f"{part}: {len(division.trials[own]):,} of the {len(study):,} trials of {study.name}, "
        f"{shares[own]:.0%} of the work (each part has {min(shares):.0%} to {max(shares):.0%})",
        highlight=False,
    )
    note(console, part=f"{part.number}/{part.of}", share=shares[own])


def say_plan(
    console: Console,
    study: Study,
    done: Mapping[str, results.Row],
    to_run: Sequence[Trial],
    taken: Mapping[str, int],
) -> None:
    """Say how many trials the study has, how many have a result and how many will run.

    Args:
        done: trial_id → result.
        to_run: trials that this launch runs. A failed trial among them counts as one without a result.
        taken: where results are taken over from → how many; `done` has them too.
    """
    trials = study.distinct
    with_result = (
        sum(trial.id in done for trial in trials) - sum(trial.id in done for trial in to_run) if done else 0
    )
    known = with_result - sum(taken.values())
    same = f" ({study.count} combinations, equal ones once)" if study.count > len(trials) else ""
    counts = [
        f"{study.name}: {len(trials)} trials{same}",
        f"{known} with a result",
    ]
    shown = dict([*taken.items()][:_MOST_SOURCES])
    for source, count in shown.items():
        counts.append(f"{count} taken over from {source.rpartition('/')[2]} ({source})")
    if others := len(taken) - len(shown):
        counts.append(f"{sum(taken.values()) - sum(shown.values())} from {others} more")
    now = " now" if len(to_run) < len(trials) - with_result else ""
    console.out(", ".join([*counts, f"{len(to_run)} to run{now}"]), highlight=False)
    note(
        console,
        study=study.name,
        trials=len(trials),
        with_result=known,
        taken_over=dict(taken),
        to_run=len(to_run),
    )


def say_changes(console: Console, study: Study, folder: Place) -> None:
    """Say what has changed in the study since its last launch, if anything has."""
    last = launches.last(folder)
    if last and (changed := changes(study.text, last[1])):
        when = f"{last[0].astimezone():%Y-%m-%d %H:%M}"
        console.out(f"since the launch of {when}: {changed}", highlight=False)


def say_parts(console: Console, study: Study, folder: Place, to_run: Sequence[Trial]) -> None:
    """Say how many results are of other code of the parts that trials to run name."""
    for part in study.parts.values():
        named = any(f'"{part.name}"' in trial.canonical for trial in to_run)
        if named and (earlier := launches.of_other_code(folder, part)):
            told = "1 result is" if earlier == 1 else f"{earlier} results are"
            console.out(
                f"{part.label} has changed: {told} of other code than {part.code}, and stay results of "
                "that other code",
                highlight=False,
            )


def say_estimate(
    console: Console, study: Study, to_run: Sequence[Trial], costs: Costs, options: Options
) -> None:
    """Say how much of the training is shared, how long the trials take, and what they cost.

    Raises:
        BadInput: the data set is not on this machine, and there is no cluster that could have it.
    """
    try:
        chains = plan.share(to_run)
        jobs = [job for chain in chains for job in chain]
        seconds = sum(map(costs.job, jobs))
        # The stages of one chain run one after another.
        longest = max(
            (costs.alone(first.trial.config) + sum(map(costs.job, rest)) for first, *rest in chains),
            default=0.0,
        )
        work = plan.work(chains, costs.epoch)
    except BadInput:
        if not options.address:
            raise
        console.out("no estimate of time: the data set is not on this machine", highlight=False)
        return
    # A share that is yet to be measured counts as a whole GPU.
    share = 1.0 if options.gpus == AUTO else options.gpus
    local = int(torch.cuda.device_count() / share) if share else provenance.cores()
    at_once = max(1, (options.workers or local) if options.address else min(options.workers or local, local))
    states = len({point.key for job in jobs for point in job.saves})
    if to_run:
        console.out(_steps(work, states), highlight=False)
    kind = {"cpu": "CPU", "cuda": "GPU"}.get(costs.device.type, costs.device.type)
    timed = f"estimated from steps timed on this machine's {kind}"
    source = "estimated from earlier results" if costs.speeds else timed
    wall = max(longest, seconds / at_once)
    price, said = None, ""
    if study.price_per_gpu_hour and share and (costs.speeds or costs.device.type == "cuda"):
        price = study.price_per_gpu_hour * share * seconds / 3600
        said = f", {price:,.2f} at the study's price"
    alone, least = duration(seconds), duration(longest)
    times = f"about {duration(wall)} with {at_once} workers, {alone} with 1, {least} with one for each trial"
    conclude(console, f"{times} ({source}){said}" if to_run else "nothing is left to run")
    estimate = {
        "steps": work.shared,
        "steps_alone": work.alone,
        "states": states,
        "workers": at_once,
        "seconds": wall,
        "seconds_at_least": longest,
        "worker_seconds": seconds,
        "price": price,
    }
    note(console, estimate=estimate)


def _steps(work: plan.Work, states: int) -> str:
    """How many steps are trained, and how many are spared because trials have training in common."""
    if work.shared == work.alone:
        return f"{work.alone:,} steps of training are to run; no trials share any"
    through = "1 saved state" if states == 1 else f"{states:,} saved states"
    ran = f"{work.shared:,} of {work.alone:,} steps of training are to run"
    return f"{ran}; the other {work.saved:.0%} is shared between trials ({through})"


def summary(
    console: Console,
    trials: Sequence[Trial],
    done: dict[str, results.Row],
    folder: Place,
    ending: Ending,
    *,
    limited: bool,
) -> int:
    """Say how a launch ended.

    Args:
        done: trial_id → result, after the launch.
        limited: the launch was to run only some of the trials (--max-trials).

    Returns:
        The exit code: 0 if every trial has a result or the launch was limited; 1 if a trial failed or has no
        result; 130 after an interrupt.
    """
    statuses = [done[trial.id]["status"] for trial in trials if trial.id in done]
    failed, without_result = statuses.count("failed"), len(trials) - len(statuses)
    note(
        console,
        results=str(folder),
        ok=statuses.count("ok"),
        failed=failed,
        without_result=without_result,
        ending=ending.name.lower(),
    )
    conclude(console, f"results: {folder}")
    if failed:
        conclude(
            console,
            f'{_trials(failed)} failed: python -m analysis sql "SELECT trial_id, error FROM trials WHERE '
            f"status = 'failed'\" --results {folder}; --retry-failed runs them again",
        )
    if ending is not Ending.FINISHED:
        conclude(
            console,
            f"{ending.value} with {len(statuses)} of {len(trials)} trials done; the same command goes on",
        )
    elif without_result:
        has, them = ("has", "it") if without_result == 1 else ("have", "them")
        conclude(console, f"{_trials(without_result)} {has} no result: launch again to run {them}")
    if ending is Ending.INTERRUPTED:
        return 130
    limited = limited or ending is Ending.TIME
    return 1 if failed or (without_result and not limited) else 0


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
