"""A race of several arms at one sparsity: what is certainly worse than another drops out.

Differences of each two arms are tested by always-valid upper bounds. The best arm is lost, or the one in the
lead is
further behind it than allowed, only if one of the bounds of the best arm against the others fails: so each
holds with probability 1 − level/(arms − 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

from sweep.questions.evidence import FEWEST, WIDTHS, half_width
from sweep.questions.pairs import Pairs, Runs, paired
from sweep.questions.planner import Measure


@dataclass(frozen=True)
class Race:
    """Where a race stands.

    Attributes:
        remaining: numbers of the arms that are not certainly worse than another, the leader first.
        seeds: how many of each remaining arm count.
        behind: of each remaining arm but the leader, the interval of leader − arm; better is positive.
        over: one remains, or all that remain are within the width of the leader.
    """

    remaining: tuple[int, ...]
    seeds: int
    behind: dict[int, tuple[float, float]]
    over: bool


def ran(columns: Sequence[Runs], measure: Measure, level: float, within: float) -> Race:
    """The race of unbroken runs, looked at after each seed."""
    race, seeds = Race(tuple(range(len(columns))), 0, {}, False), 0
    while not race.over and all(len(columns[arm]) > seeds for arm in race.remaining):
        seeds += 1
        cut = tuple(column[:seeds] if arm in race.remaining else () for arm, column in enumerate(columns))
        race = _next(cut, measure, level / (len(columns) - 1), within)
    return race


@lru_cache(maxsize=20_000)
def _next(columns: tuple[Runs, ...], measure: Measure, level: float, within: float) -> Race:
    """The race of the arms with runs, all of the same seeds.

    Args:
        level: of one upper bound.
    """
    arms = [arm for arm, column in enumerate(columns) if column]
    seeds = len(columns[arms[0]])
    found = {
        (one, other): paired(columns[one], columns[other], measure)
        for index, one in enumerate(arms)
        for other in arms[index + 1 :]
    }
    if seeds < FEWEST:
        return Race(tuple(arms), seeds, {}, False)
    intervals = {}
    for (one, other), pairs in found.items():
        low, high = _interval(pairs, measure, level)
        intervals[one, other], intervals[other, one] = (low, high), (-high, -low)
    worse = {arm for arm in arms if any(intervals[arm, rival][1] < 0 for rival in arms if rival != arm)}
    # Where other runs were lost in each pair, all might be worse than some other: then nothing is certain.
    rest = [arm for arm in arms if arm not in worse] or arms
    leader = max(rest, key=lambda arm: (_mean(columns[arm], measure), -arm))
    rest.sort(key=lambda arm: (arm != leader, -_mean(columns[arm], measure), arm))
    behind = {arm: intervals[leader, arm] for arm in rest if arm != leader}
    close = all(-low <= within for low, _ in behind.values())
    return Race(tuple(rest), seeds, behind, len(rest) == 1 or close)


def _interval(pairs: Pairs, measure: Measure, level: float) -> tuple[float, float]:
    """How much better the first arm is: an interval of which each end holds with probability 1 − level."""
    if len(pairs.differences) < FEWEST:
        return -math.inf, math.inf
    mean = fmean(pairs.differences) * (1 if measure.higher else -1)
    half = half_width(pairs.differences, 2 * level, WIDTHS, measure.grain)
    return mean - half, mean + half


def _mean(column: Runs, measure: Measure) -> float:
    values = [value for value in column if value is not None]
    return fmean(values) * (1 if measure.higher else -1) if values else -math.inf
