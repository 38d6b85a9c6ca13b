"""The plan: what trials have in common, what a worker does in one go, and in what order."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from operator import attrgetter, itemgetter

from sweep.study.config import ALONG, DENSE, Config
from sweep.study.identity import Trial
from sweep.trial.prefixes import Point, branch, level_point, rewound

# At most so many trials go to a worker in one go: more would make the message that brings them large.
_MOST = 200
# Seconds below which a trial is over in no time: to report it by itself would take about as long.
_BRIEF = 0.005


@dataclass(frozen=True, slots=True)
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
    """Jobs that one worker does in one go.

    Attributes:
        brief: whether each is over in no time, so that several are reported together.
    """

    number: int
    jobs: tuple[Job, ...]
    brief: bool = False

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
        maker = max(places, key=lambda place: (extents[place], configs[place].criterion == DENSE))
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
    """Trials alone, but those of iterative magnitude pruning that are levels of each other in chains."""
    groups: dict[Hashable, list[Trial]] = {}
    for trial in trials:
        key = trial.config.chain if trial.config.criterion == "imp" else trial
        groups.setdefault(key, []).append(trial)
    chains: list[Chain] = []
    for group in groups.values():
        # New weights at the last level lead nowhere: those trials come after the others.
        ordered = sorted(group, key=lambda t: (t.config.ablation == "reinit", t.config.iterations))
        jobs: list[Job] = []
        for place, trial in enumerate(ordered):
            levels = trial.config.iterations
            before = [job for job in jobs if job.saves and job.saves[0].level < levels]
            path = tuple(job.saves[0] for job in before)
            further = any(later.config.iterations > levels for later in ordered[place + 1 :])
            leads = trial.config.ablation != "reinit" and further
            saves = (level_point(trial.config, levels),) if leads else ()
            jobs.append(Job(trial, path[-1] if path else None, path, saves))
        chains.append(tuple(jobs))
    return chains


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
    trunks: dict[Hashable, int] = {}
    scorings: dict[Hashable, int] = {}
    firsts = [
        (trunks.setdefault(config.trunk, place), scorings.setdefault(config.scoring, place))
        for place, config in enumerate(chain[0].trial.config for chain in chains)
    ]
    return [chains[place] for place in sorted(range(len(chains)), key=firsts.__getitem__)]


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
        cost: seconds that a job takes.
        least: cost below which no pack is cut: receiving it would take too much of the time.
    """
    stretches = order(share(trials), cost)
    left = sum(cost(job) for stretch in stretches for chain in stretch for job in chain)
    cut: list[Pack] = []

    def close(jobs: Sequence[Job]) -> None:
        cut.append(Pack(len(cut), tuple(jobs), max(map(cost, jobs)) < _BRIEF))

    for stretch in stretches:
        # What all wait for is spread over the workers.
        most = sum(cost(job) for chain in stretch for job in chain) / workers
        jobs: list[Job] = []
        filled = 0.0
        for chain in stretch:
            size = sum(map(cost, chain))
            enough = max(least, min(left / (4 * workers), most))
            if jobs and (filled + size > enough or len(jobs) + len(chain) > _MOST):
                close(jobs)
                left -= filled
                jobs, filled = [], 0.0
            jobs += chain
            filled += size
        close(jobs)
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
        return asked - training_steps(replace(config, iterations=start.level), epoch)
    whole = _whole(config, epoch)
    return asked - (whole if start.epoch is None else min(whole, round(start.epoch * epoch)))


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
