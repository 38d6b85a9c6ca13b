"""What a worker does in one go, and in what order."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter

from sweep.plan.jobs import Chain, Job, Pack
from sweep.plan.sharing import share
from sweep.study.identity import Trial

# At most so many trials go to a worker in one go: more would make the message that brings them large.
_MOST = 200
# Seconds below which a trial is over in no time: to report it by itself would take about as long.
_BRIEF = 0.005


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
