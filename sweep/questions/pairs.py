"""What counts at a place: the unbroken run of finished seeds, without lost and collapsed runs."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import TypeVar

from sweep.questions.evidence import FEWEST
from sweep.questions.planner import Measure, Measured, Results, Wanted

# How many robust standard deviations below the median of its arm a run has collapsed.
FALL = 10
# Median absolute deviation → standard deviation of normal numbers.
_ROBUST = 1.4826

V = TypeVar("V")
Runs = tuple[float | None, ...]


@dataclass(frozen=True)
class Pairs:
    """Two arms at one place.

    Attributes:
        differences: first − second of each seed of the unbroken run of which neither run was lost or
            collapsed.
        seeds: length of the unbroken run, from seed 0 to before the first that is missing in either arm.
        lost, collapsed: numbers of such runs of the first and of the second arm.
    """

    differences: tuple[float, ...]
    seeds: int
    lost: tuple[int, int]
    collapsed: tuple[int, int]


def runs(measured: Results[V], arms: Sequence[str], place: float) -> list[tuple[V | None, ...]]:
    """The numbers of each arm, of the seeds 0, 1, … up to the first that has not finished in all arms.

    A seed that is late holds up this place alone, and is waited for: to pass over it would select by
    duration.
    """
    columns = [measured.get((arm, place), {}) for arm in arms]
    count = 0
    while all(count in column for column in columns):
        count += 1
    return [tuple(column[seed] for seed in range(count)) for column in columns]


def pairs(measured: Measured, arms: tuple[str, str], place: float, measure: Measure) -> Pairs:
    """The pairs of two arms at a place."""
    first, second = runs(measured, arms, place)
    return paired(first, second, measure)


@lru_cache(maxsize=50_000)
def paired(first: Runs, second: Runs, measure: Measure) -> Pairs:
    """The pairs of two unbroken runs of the same seeds."""
    fallen = collapses((first, second), measure)
    kept = tuple(
        one - other
        for seed, (one, other) in enumerate(zip(first, second, strict=True))
        if one is not None and other is not None and not (fallen[0][seed] or fallen[1][seed])
    )
    lost = first.count(None), second.count(None)
    return Pairs(kept, len(first), lost, (sum(fallen[0]), sum(fallen[1])))


def collapses(arms: Sequence[Runs], measure: Measure) -> list[list[bool]]:
    """Whether each run of each arm at one place has collapsed, where most runs of the arm did not.

    A run has collapsed that is `FALL` robust standard deviations worse than the median of its arm. The
    standard deviation is the larger one of those of the arm and of all arms about their medians, as that of
    few runs may be small by chance.
    """
    upward = 1 if measure.higher else -1
    worse: list[list[float | None]] = []
    for values in arms:
        found = [value for value in values if value is not None]
        middle = median(found) if found else 0.0
        worse.append([None if value is None else upward * (middle - value) for value in values])
    everyone = _spread([fall for falls in worse for fall in falls])
    flags = []
    for falls in worse:
        limit = FALL * max(_spread(falls), everyone, measure.grain)
        enough = len(falls) - falls.count(None) >= FEWEST and limit > 0
        flags.append([enough and fall is not None and fall > limit for fall in falls])
    return flags


def _spread(falls: Sequence[float | None]) -> float:
    sizes = [abs(fall) for fall in falls if fall is not None]
    return _ROBUST * median(sizes) if sizes else 0.0


def missing(measured: Results[V], arms: Sequence[str], place: float, seeds: range) -> Iterator[Wanted]:
    """The trials of these seeds that have not finished, the arms of a seed side by side."""
    for seed in seeds:
        for arm in arms:
            if seed not in measured.get((arm, place), {}):
                yield Wanted(arm, place, seed)


def chosen(
    trials: Iterator[Wanted], running: AbstractSet[Wanted], workers: int, budget: int | None
) -> tuple[Wanted, ...]:
    """The first of the trials that are not running, as many as workers are free and the budget has."""
    free = workers - len(running) if budget is None else min(budget, workers - len(running))
    found: dict[Wanted, None] = {}
    rank = 0
    for trial in trials:
        # What is running further down the list has its worker already.
        if len(found) >= free or rank >= workers:
            break
        if trial not in found:
            rank += 1
            if trial not in running:
                found[trial] = None
    return tuple(found)
