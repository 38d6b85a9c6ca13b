"""The plan: what trials have in common, what a worker does in one go, and in what order."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from operator import itemgetter

from sweep.config import ALONG, DENSE, Config, Trial
from sweep.prefixes import Point, branch, level_point, rewound

# At most so many trials go to a worker in one go: more would make the message that brings them large.
_MOST = 200


@dataclass(frozen=True)
class Job:
    """A trial, and its place among those that it shares training with.

    Attributes:
        start: where it goes on from what others have trained; None: from the very beginning.
        path: all points on its way whose state somebody leaves behind, in their order.
        saves: those whose state it leaves behind itself.
    """

    trial: Trial
    start: Point | None = None
    path: tuple[Point, ...] = ()
    saves: tuple[Point, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Keys of the states that must be there for it to begin where it is planned to."""
        if self.start is None:
            return frozenset()
        back = None if self.start.level else rewound(self.trial.config)
        return frozenset({self.start.key, back.key} if back else {self.start.key})


# Jobs that only make sense one after another: the levels of iterative magnitude pruning.
Chain = tuple[Job, ...]


@dataclass(frozen=True)
class Pack:
    """Jobs that one worker does in one go."""

    number: int
    jobs: tuple[Job, ...]

    @cached_property
    def needs(self) -> frozenset[str]:
        """Keys of the states that others must have left behind before it can begin."""
        own = {point.key for job in self.jobs for point in job.saves}
        return frozenset().union(*(job.needs for job in self.jobs)) - own

    @property
    def saves(self) -> frozenset[str]:
        """Keys of the states that it leaves behind."""
        return frozenset(point.key for job in self.jobs for point in job.saves)


def share(trials: Iterable[Trial]) -> list[Chain]:
    """Find what trainings have in common, so that it is done once.

    Of dense training, the trial that goes furthest leaves behind what the others go on from. A trial of
    iterative magnitude pruning goes on from the one with the next fewer levels.
    """
    chains = _levels(trials)
    by_trunk: dict[str, list[int]] = {}
    for place, chain in enumerate(chains):
        by_trunk.setdefault(chain[0].trial.config.trunk, []).append(place)
    for places in by_trunk.values():
        configs = {place: chains[place][0].trial.config for place in places}
        maker = max(places, key=lambda place: (_extent(configs[place]), configs[place].criterion == DENSE))
        wanted = {
            point
            for place in places
            if place != maker
            for point in (branch(configs[place]), rewound(configs[place]) if branch(configs[place]) else None)
            if point
        }
        points = sorted(wanted, key=_position)
        for place in places:
            first, *others = chains[place]
            path = tuple(point for point in points if _position(point) <= _extent(configs[place]))
            start = None if place == maker else branch(configs[place])
            saves = tuple(points) if place == maker else ()
            first = replace(first, start=start, path=path, saves=saves + first.saves)
            chains[place] = (first, *others)
    return chains


def _levels(trials: Iterable[Trial]) -> list[Chain]:
    """Trials alone, but those of iterative magnitude pruning that are levels of each other in chains."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.config.chain if trial.config.criterion == "imp" else trial.id, []).append(
            trial
        )
    chains: list[Chain] = []
    for group in groups.values():
        # New weights at the last level lead nowhere: those trials come after the others.
        ordered = sorted(group, key=lambda t: (t.config.ablation == "reinit", t.config.iterations))
        jobs: list[Job] = []
        for trial in ordered:
            levels = trial.config.iterations
            before = [job for job in jobs if job.saves and job.saves[0].level < levels]
            path = tuple(job.saves[0] for job in before)
            leads = (
                trial.config.criterion == "imp" and trial.config.ablation != "reinit" and trial != ordered[-1]
            )
            saves = (level_point(trial.config, levels),) if leads else ()
            jobs.append(Job(trial, path[-1] if path else None, path, saves))
        chains.append(tuple(jobs))
    return chains


def _position(point: Point) -> float:
    return math.inf if point.epoch is None else point.epoch


def _extent(config: Config) -> float:
    """The epoch up to which the config's training is dense."""
    point = branch(config)
    return _position(point) if point else 0


def order(chains: Iterable[Chain], cost: Callable[[Job], float]) -> list[list[Chain]]:
    """Put chains in the order in which they are done, in stretches that no pack goes beyond.

    One seed of everything comes before the next, so that a study broken off is already a picture. But what
    others wait for comes first, and that of the next seed already with this one; the longest first.
    """
    by_seed: dict[int, list[Chain]] = {}
    for chain in chains:
        by_seed.setdefault(chain[0].trial.config.seed, []).append(chain)
    seeds = list(by_seed.values())
    leading = [
        sorted(filter(_leads, seed), key=lambda chain: sum(map(cost, chain)), reverse=True) for seed in seeds
    ]
    stretches = [("leads", leading[0])] if seeds else []
    for place, seed in enumerate(seeds):
        rest = [chain for chain in seed if not _leads(chain)]
        stretches += [("leads", following) for following in leading[place + 1 : place + 2]]
        stretches.append(("free", _together([chain for chain in rest if chain[0].start is None])))
        stretches.append(("waits", _together([chain for chain in rest if chain[0].start])))
    kinds = groupby((stretch for stretch in stretches if stretch[1]), key=itemgetter(0))
    return [[chain for _, part in same for chain in part] for _, same in kinds]


def _leads(chain: Chain) -> bool:
    """Whether others wait for what it leaves behind."""
    return any(not point.level for point in chain[0].saves)


def _together(chains: Sequence[Chain]) -> list[Chain]:
    """In the order of the file, but those of one dense training, and those of one scoring, together."""
    firsts: dict[str, int] = {}
    for place, chain in enumerate(chains):
        for text in (chain[0].trial.config.trunk, chain[0].trial.config.scoring):
            firsts.setdefault(text, place)
    return sorted(
        chains,
        key=lambda chain: (firsts[chain[0].trial.config.trunk], firsts[chain[0].trial.config.scoring]),
    )


def packs(
    trials: Iterable[Trial],
    workers: int,
    cost: Callable[[Job], float] = lambda job: 1.0,
    least: float = 0.0,
) -> list[Pack]:
    """Cut the trials into packs for `workers`.

    A pack is a quarter of a worker's share of what is left: few packs in all, as each costs its worker time
    to receive, yet small ones at the end, so that all workers finish together.

    Args:
        least: cost below which no pack is cut: receiving it would take too much of the time.
    """
    stretches = order(share(trials), cost)
    left = sum(cost(job) for stretch in stretches for chain in stretch for job in chain)
    cut: list[Pack] = []
    for stretch in stretches:
        # What all wait for is spread over the workers.
        most = sum(cost(job) for chain in stretch for job in chain) / workers
        jobs: list[Job] = []
        filled = 0.0
        for chain in stretch:
            size = sum(map(cost, chain))
            enough = max(least, min(left / (4 * workers), most))
            if jobs and (filled + size > enough or len(jobs) + len(chain) > _MOST):
                cut.append(Pack(len(cut), tuple(jobs)))
                left -= filled
                jobs, filled = [], 0.0
            jobs += chain
            filled += size
        cut.append(Pack(len(cut), tuple(jobs)))
        left -= filled
    return cut


def training_steps(config: Config, epoch: int) -> int:
    """Steps of all training on a trial's way, what it does again after a rewind included.

    Args:
        epoch: steps of an epoch.
    """
    whole, pruned = _whole(config, epoch), round(config.prune_epoch * epoch)
    back = None if config.rewind_epoch is None else round(config.rewind_epoch * epoch)
    if config.criterion == "imp":
        return whole + config.iterations * (whole - (back or 0))
    if config.criterion in ALONG or config.criterion == DENSE:
        return whole
    if config.retrain_epochs is not None:
        return pruned + round(config.retrain_epochs * epoch)
    return whole + (0 if back is None else pruned - back)


def _whole(config: Config, epoch: int) -> int:
    return config.steps or (config.epochs or 0) * epoch


def own_steps(job: Job, epoch: int) -> int:
    """Steps that a job trains itself."""
    config, start = job.trial.config, job.start
    asked = training_steps(config, epoch)
    if start is None:
        return asked
    if start.level:
        return asked - training_steps(config.model_copy(update={"iterations": start.level}), epoch)
    return asked - (_whole(config, epoch) if start.epoch is None else round(start.epoch * epoch))


@dataclass(frozen=True)
class Work:
    """What a study asks for and what is run for it.

    Attributes:
        asked: trials as they are written, before those that are the same are one.
        steps_asked, steps_distinct, steps_run: steps of training of those, of the distinct ones each on its
            own, and of those when what they have in common is trained once.
    """

    asked: int
    distinct: int
    steps_asked: int
    steps_distinct: int
    steps_run: int

    @property
    def shared(self) -> float:
        """Share of the distinct trials' training that need not be done again."""
        return 1 - self.steps_run / self.steps_distinct if self.steps_distinct else 0.0


def work(configs: Sequence[Config], epoch: Callable[[Config], int]) -> Work:
    """Count the work of a study.

    Args:
        configs: as they are written.
        epoch: a config's steps an epoch.
    """
    trials = list({trial.id: trial for trial in map(Trial.of, configs)}.values())
    jobs = [job for chain in share(trials) for job in chain]
    return Work(
        asked=len(configs),
        distinct=len(trials),
        steps_asked=sum(training_steps(config, epoch(config)) for config in configs),
        steps_distinct=sum(training_steps(trial.config, epoch(trial.config)) for trial in trials),
        steps_run=sum(own_steps(job, epoch(job.trial.config)) for job in jobs),
    )
