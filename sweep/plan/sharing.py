"""The training that trials have in common, so that it is done once."""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from operator import attrgetter

from sweep import rules
from sweep.config import Config
from sweep.plan.jobs import Chain, Job, own_steps, training_steps
from sweep.study.identity import Trial
from sweep.trial.prefixes import Point, branch, level_point, rewind_point, teacher_point


def share(trials: Iterable[Trial]) -> list[Chain]:
    """Find the training that trials have in common.

    Of the trials with the same dense training, the one that trains longest without masks saves the states
    from which the others go on. A dense run that teaches retrainings is trained once too: by its own trial,
    or else by one that learns from it. A trial of iterative magnitude pruning goes on from the trial with the
    next lower number of levels.

    Returns:
        A chain for each trial, or for the trials that go on from each other's levels.
    """
    chains = [list(chain) for chain in _levels(trials)]
    # Trunk → the places (chain, index in the chain) of the jobs that begin with this dense training.
    by_trunk: dict[Hashable, list[tuple[int, int]]] = {}
    for number, chain in enumerate(chains):
        for index, job in enumerate(chain):
            if job.start is None:
                by_trunk.setdefault(job.trial.config.trunk, []).append((number, index))
    saved: dict[Hashable, tuple[Point, ...]] = {}
    for trunk, places in by_trunk.items():
        configs = {place: chains[place[0]][place[1]].trial.config for place in places}
        branches = {place: branch(config) for place, config in configs.items()}
        teachers = {place: teacher_point(config) for place, config in configs.items()}
        ends = {place: point.position if point else 0 for place, point in branches.items()}
        # A trial that learns trains the network that it learns from to the end, if it has to.
        longest = {place: math.inf if teachers[place] else ends[place] for place in places}
        saver = max(places, key=lambda place: (longest[place], not _rule(configs[place]).prunes))
        others = [place for place in places if place != saver and (branches[place] or teachers[place])]
        needed = {
            point
            for place in others
            for point in (branches[place], rewind_point(configs[place]), teachers[place])
        }
        if teachers[saver]:
            # Its teacher goes on from there.
            needed |= {branches[saver], teachers[saver]}
        points = saved[trunk] = tuple(sorted(filter(None, needed), key=attrgetter("position")))
        for place in places if points else ():
            job = chains[place[0]][place[1]]
            chains[place[0]][place[1]] = replace(
                job,
                start=None if place == saver else branches[place],
                path=tuple(point for point in points if point.position <= ends[place]),
                saves=(points if place == saver else ()) + job.saves,
                teacher=None if place == saver else teachers[place],
            )
    # If the state of a level is lost, the next level trains that level again, but not the dense training.
    return [
        tuple(
            replace(job, path=saved[job.trial.config.trunk] + job.path)
            if job.start and job.start.level
            else job
            for job in chain
        )
        for chain in chains
    ]


def _levels(trials: Iterable[Trial]) -> list[Chain]:
    """A chain for each trial; one chain for trials with the same levels, the fewest levels first."""
    groups: dict[Hashable, list[Trial]] = {}
    for trial in trials:
        levels = _rule(trial.config).levels(trial.config)
        key = trial if levels is None else (trial.config.criterion, levels)
        groups.setdefault(key, []).append(trial)
    chains: list[Chain] = []
    for group in groups.values():
        # Trials from which no other trial goes on come last.
        ordered = sorted(group, key=lambda t: (not _rule(t.config).leads(t.config), t.config.iterations))
        jobs: list[Job] = []
        for place, trial in enumerate(ordered):
            levels = trial.config.iterations
            path = tuple(job.saves[0] for job in jobs if job.saves and job.saves[0].level < levels)
            further = any(later.config.iterations > levels for later in ordered[place + 1 :])
            leads = _rule(trial.config).leads(trial.config) and further
            saves = (level_point(trial.config, levels),) if leads else ()
            jobs.append(Job(trial, path[-1] if path else None, path, saves))
        chains.append(tuple(jobs))
    return chains


def _rule(config: Config) -> rules.Rule:
    return rules.find(config.criterion)


@dataclass(frozen=True)
class Work:
    """Steps of training of some trials.

    Attributes:
        alone: if each trial trains all its steps itself.
        shared: if the training that trials have in common is done once.
    """

    alone: int
    shared: int

    @property
    def saved(self) -> float:
        """The share of the training that sharing saves."""
        return 1 - self.shared / self.alone if self.alone else 0.0


def work(chains: Iterable[Chain], epoch: Callable[[Config], int]) -> Work:
    """Count the steps of training of chains.

    Args:
        epoch: a config → steps of an epoch.
    """
    jobs = [(job, epoch(job.trial.config)) for chain in chains for job in chain]
    return Work(
        alone=sum(training_steps(job.trial.config, steps) for job, steps in jobs),
        shared=sum(own_steps(job, steps) for job, steps in jobs),
    )
