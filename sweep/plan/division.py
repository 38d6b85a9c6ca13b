"""Trials divided among the parts of a launch, which run at once and do not talk to each other."""

import hashlib
from bisect import bisect
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sweep.errors import BadInput
from sweep.plan.cost import Costs
from sweep.plan.jobs import Chain, Job, own_steps
from sweep.plan.sharing import share
from sweep.study.identity import Trial

# Steps of an epoch where the data do not say.
_EPOCH = 1_000
# Hex digits of the name of a division.
_DIGITS = 8


@dataclass(frozen=True)
class Division:
    """The trials of each part, and the share of the work that each part has.

    Attributes:
        trials: of each part, in the order of the study.
        shares: of the expected cost of all parts; they add up to 1.
    """

    trials: Sequence[Sequence[Trial]]
    shares: Sequence[float]

    @property
    def name(self) -> str:
        """Hex digits that another division, as of a changed study, does not have."""
        digest = hashlib.sha256()
        for part in self.trials:
            digest.update("\n".join([*(trial.canonical for trial in part), ""]).encode() + b"\n")
        return digest.hexdigest()[:_DIGITS]


def divide(trials: Sequence[Trial], parts: int, data_root: str | Path) -> Division:
    """Divide trials into parts of about the same cost, always in the same way.

    Trials that share training are in one part, unless it costs less to train for two parts what they share
    than to have parts of different cost. Neither earlier results nor the speed of a machine change anything.
    """
    cost = _cost(trials, data_root)
    groups: dict[Hashable, list[Chain]] = {}
    for number, chain in enumerate(share(trials)):
        # A chain whose training nobody shares is a group of its own.
        shares = any(job.loads for job in chain)
        groups.setdefault(chain[0].trial.config.trunk if shares else number, []).append(chain)
    measured = [(group, [sum(map(cost, chain)) for chain in group]) for group in groups.values()]
    total = sum(sum(own) for _, own in measured)
    ends = [total * number / parts for number in range(1, parts)]
    before = 0.0
    for group, own in measured:
        first, before = before, before + sum(own)
        again = _trained_again(group, cost)
        for number in range(bisect(ends, first), bisect(ends, before)):
            nearest = first if ends[number] - first < before - ends[number] else before
            if abs(nearest - ends[number]) <= again:
                ends[number] = nearest
    return _cut([pair for group, own in measured for pair in zip(group, own, strict=True)], ends, trials)


def _cut(chains: Sequence[tuple[Chain, float]], ends: Sequence[float], trials: Sequence[Trial]) -> Division:
    """Divide chains in their order: each goes to the part in which the middle of its cost is.

    Args:
        chains: each with its cost.
        ends: the cost of all chains before the end of each part but the last.
        trials: of the chains, in the order of the study.
    """
    part_of: dict[Trial, int] = {}
    loads, before = [0.0] * (len(ends) + 1), 0.0
    for chain, cost in chains:
        part = bisect(ends, before + cost / 2)
        part_of.update((job.trial, part) for job in chain)
        loads[part] += cost
        before += cost
    divided: list[list[Trial]] = [[] for _ in loads]
    for trial in trials:
        divided[part_of[trial]].append(trial)
    return Division(divided, [load / before if before else 1 / len(loads) for load in loads])


def _cost(trials: Sequence[Trial], data_root: str | Path) -> Callable[[Job], float]:
    """What a job costs, the same on every machine: multiply-adds of its steps, or only the steps.

    Only the steps count where a data set is not on this machine, as then their multiply-adds are not known.
    """
    costs = Costs(data_root, torch.device("cpu"), dict.fromkeys((t.config.model for t in trials), 1.0))
    try:
        for trial in trials:
            costs.epoch(trial.config)
    except BadInput:
        return lambda job: float(own_steps(job, _EPOCH))
    return costs.job


def _trained_again(group: Sequence[Chain], cost: Callable[[Job], float]) -> float:
    """What it costs to train once more what the trials of a group share."""
    waiting = (job for chain in group for job in chain[:1] if job.start or job.teacher)
    return max((cost(Job(job.trial)) - cost(job) for job in waiting), default=0.0)
