"""Cuts trials into the packs that workers get, and orders the packs."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter

from sweep.plan.jobs import Chain, Job, Pack
from sweep.plan.sharing import share
from sweep.study.identity import Trial

# The most trials of a pack. The message that brings a larger pack to a worker would be large.
_MOST_TRIALS = 200
# A pack is brief if each job takes less than these seconds: to report a result takes about as long.
_BRIEF_SECONDS = 0.005


def order(chains: Iterable[Chain], cost: Callable[[Job], float]) -> list[list[Chain]]:
    """Order chains and divide them into stretches. No pack reaches from one stretch into the next.

    All trials of one seed come before those of the next seed, so that an interrupted study has results of
    every arm. Of each seed the chains whose states others need come first, the longest first; those of the
    next seed come already before the rest of this one.

    Args:
        cost: seconds that a job takes.
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
        stretches.append(("free", _grouped([chain for chain in rest if chain[0].start is None])))
        stretches.append(("waits", _grouped([chain for chain in rest if chain[0].start])))
    kinds = groupby((stretch for stretch in stretches if stretch[1]), key=itemgetter(0))
    return [[chain for _, part in same for chain in part] for _, same in kinds]


def _leads(chain: Chain) -> bool:
    """Whether other chains need states that a chain saves."""
    return any(not point.level for point in chain[0].saves)


def _grouped(chains: Sequence[Chain]) -> list[Chain]:
    """Chains in the order of the file, but with those of one dense training and of one scoring together."""
    trunks: dict[Hashable, int] = {}
    scorings: dict[Hashable, int] = {}
    # For each chain the place of the first chain with the same dense training, and with the same scoring.
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
    """Cut the trials into packs, in the order in which workers get them.

    A pack is a quarter of a worker's share of the work that remains. The first packs are large, as a worker
    takes time to receive a pack. The last packs are small, so that all workers finish together.

    Args:
        cost: seconds that a job takes.
        least: seconds that a pack takes at least, or receiving it would take too much of the time.
    """
    stretches = order(share(trials), cost)
    remaining = sum(cost(job) for stretch in stretches for chain in stretch for job in chain)
    cut: list[Pack] = []

    def close(jobs: Sequence[Job]) -> None:
        cut.append(Pack(len(cut), tuple(jobs), max(map(cost, jobs)) < _BRIEF_SECONDS))

    for stretch in stretches:
        # A stretch is spread over all workers: other packs may wait for all of it.
        most = sum(cost(job) for chain in stretch for job in chain) / workers
        jobs: list[Job] = []
        filled = 0.0
        for chain in stretch:
            size = sum(map(cost, chain))
            enough = max(least, min(remaining / (4 * workers), most))
            if jobs and (filled + size > enough or len(jobs) + len(chain) > _MOST_TRIALS):
                close(jobs)
                remaining -= filled
                jobs, filled = [], 0.0
            jobs += chain
            filled += size
        close(jobs)
        remaining -= filled
    return cut


def first(missing: Sequence[Trial], most: int | None) -> Sequence[Trial]:
    """The first `most` of the missing trials in the order of the plan; None: all of them."""
    if most is None or len(missing) <= most:
        return missing
    planned = [job.trial for pack in packs(missing, 1) for job in pack.jobs]
    seeds = {seed: place for place, seed in enumerate(dict.fromkeys(t.config.seed for t in missing))}
    return sorted(planned, key=lambda trial: seeds[trial.config.seed])[:most]
