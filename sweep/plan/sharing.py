"""What trials have in common, so that it is trained once."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from operator import attrgetter

from sweep import rules
from sweep.config import Config
from sweep.plan.jobs import Chain, Job, own_steps, training_steps
from sweep.study.identity import Trial
from sweep.trial.prefixes import Point, branch, level_point, rewound


def share(trials: Iterable[Trial]) -> list[Chain]:
    """Find what trainings have in common, so that it is done once.

    Of dense training, the trial that goes furthest leaves behind what the others go on from. A trial of
    iterative magnitude pruning goes on from the one with the next fewer levels.
    """
    chains = [list(chain) for chain in _levels(trials)]
    # Jobs that begin with dense training, not with another's levels.
    by_trunk: dict[Hashable, list[tuple[int, int]]] = {}
    for number, chain in enumerate(chains):
        for index, job in enumerate(chain):
            if job.start is None:
                by_trunk.setdefault(job.trial.config.trunk, []).append((number, index))
    left: dict[Hashable, tuple[Point, ...]] = {}
    for trunk, places in by_trunk.items():
        configs = {place: chains[place[0]][place[1]].trial.config for place in places}
        leaves = {place: branch(config) for place, config in configs.items()}
        extents = {place: point.position if point else 0 for place, point in leaves.items()}
        maker = max(places, key=lambda place: (extents[place], not _rule(configs[place]).prunes))
        others = [place for place in places if place != maker and leaves[place]]
        wanted = {*(leaves[place] for place in others), *(rewound(configs[place]) for place in others)}
        points = left[trunk] = tuple(sorted(filter(None, wanted), key=attrgetter("position")))
        for place in places if points else ():
            job = chains[place[0]][place[1]]
            path = tuple(point for point in points if point.position <= extents[place])
            chains[place[0]][place[1]] = replace(
                job,
                start=None if place == maker else leaves[place],
                path=path,
                saves=(points if place == maker else ()) + job.saves,
            )
    # A level that was lost costs its own training, not the dense one before it too.
    return [
        tuple(
            replace(job, path=left[job.trial.config.trunk] + job.path)
            if job.start and job.start.level
            else job
            for job in chain
        )
        for chain in chains
    ]


def _levels(trials: Iterable[Trial]) -> list[Chain]:
    """A chain for each trial; one chain for all trials whose levels are those of each other."""
    groups: dict[Hashable, list[Trial]] = {}
    for trial in trials:
        levels = _rule(trial.config).levels(trial.config)
        key = trial if levels is None else (trial.config.criterion, levels)
        groups.setdefault(key, []).append(trial)
    chains: list[Chain] = []
    for group in groups.values():
        # Trials from which no other goes on come last.
        ordered = sorted(group, key=lambda t: (not _rule(t.config).leads(t.config), t.config.iterations))
        jobs: list[Job] = []
        for place, trial in enumerate(ordered):
            levels = trial.config.iterations
            before = [job for job in jobs if job.saves and job.saves[0].level < levels]
            path = tuple(job.saves[0] for job in before)
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
    """Steps of training: of trials each on its own, and when what they have in common is done once."""

    alone: int
    shared: int

    @property
    def saved(self) -> float:
        """Share of the training that need not be done again."""
        return 1 - self.shared / self.alone if self.alone else 0.0


def work(chains: Iterable[Chain], epoch: Callable[[Config], int]) -> Work:
    """Count the training that chains of jobs stand for.

    Args:
        epoch: a config's steps an epoch.
    """
    jobs = [(job, epoch(job.trial.config)) for chain in chains for job in chain]
    return Work(
        alone=sum(training_steps(job.trial.config, steps) for job, steps in jobs),
        shared=sum(own_steps(job, steps) for job, steps in jobs),
    )
