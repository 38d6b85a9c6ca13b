"""What is known at one sparsity about the sign of the difference of two arms."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from sweep.questions.evidence import FEWEST, enough, quantile, statistic
from sweep.questions.pairs import Pairs, Runs, paired, runs
from sweep.questions.planner import Measure, Measured

# A place is slow if, from this many pairs on, its sign would not be certain within this many.
_SLOW_FROM, _SOON = 6, 40
# With so few standard errors more than it has, a place may still be the next to be certain.
_HOPE = 1.0


class Judged(NamedTuple):
    """The verdict on two runs of the same seeds.

    Attributes:
        sign: 1 or −1 from the first number of seeds at which it was certain, for good; else 0.
        slow: at some number of seeds it would not have become certain soon.
        mean: the mean difference when it became certain, or else slow; of few pairs that are neither, 0.
    """

    sign: int
    slow: bool
    mean: float


@dataclass(frozen=True)
class Place:
    """The difference of two arms at one sparsity.

    Attributes:
        level: the probability with which the sign may be wrong.
        t: Student's statistic of all pairs; 0 for fewer than two.
        capped: no more seeds may be measured.
    """

    sparsity: float
    level: float
    pairs: Pairs
    judged: Judged
    t: float
    capped: bool

    @property
    def sign(self) -> int:
        """1 or −1 if the sign is certain, else 0."""
        return self.judged.sign

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.pairs.differences)

    @property
    def open(self) -> bool:
        """The sign is not certain."""
        return not self.sign

    @property
    def waiting(self) -> bool:
        """More seeds may make the sign certain."""
        return self.open and not self.capped

    @property
    def was_slow(self) -> bool:
        """The sign is open, and at some number of seeds it would not have become certain soon."""
        return self.open and (self.capped or self.judged.slow)

    @property
    def slow(self) -> bool:
        """The sign is open, and with the present pairs it will not become certain soon."""
        return self.open and (self.capped or _is_slow(self.count, self.t, self.level))

    @property
    def missing(self) -> int:
        """Pairs until the sign is certain, if mean and spread stay as they are."""
        return enough(self.count, self.t, self.level) - self.count if self.count else FEWEST

    @property
    def hopeful(self) -> int:
        """The same with a little luck: so a place that began badly is not given up."""
        return enough(self.count, abs(self.t) + _HOPE, self.level) - self.count if self.count else FEWEST


def look(
    measured: Measured, arms: tuple[str, str], sparsity: float, measure: Measure, level: float, cap: int
) -> Place:
    """What the results say at a sparsity.

    Args:
        arms: the difference is that of the first minus the second.
        cap: the most seeds.
    """
    first, second = (run[:cap] for run in runs(measured, arms, sparsity))
    found = paired(first, second, measure)
    t = statistic(found.differences, measure.grain) if len(found.differences) > 1 else 0.0
    verdict = judged(first, second, measure, level)
    return Place(sparsity, level, found, verdict, t, found.seeds >= cap)


@lru_cache(maxsize=50_000)
def judged(first: Runs, second: Runs, measure: Measure, level: float) -> Judged:
    """The verdict on two unbroken runs of the same seeds, looked at after each seed."""
    if not first:
        return Judged(0, False, 0.0)
    before = judged(first[:-1], second[:-1], measure, level)
    if before.sign:
        return before
    differences = paired(first, second, measure).differences
    count = len(differences)
    if count < FEWEST:
        return before
    t, mean = statistic(differences, measure.grain), math.fsum(differences) / count
    if abs(t) >= quantile(count, level):
        return Judged(1 if t > 0 else -1, before.slow, mean)
    return before if before.slow else Judged(0, _is_slow(count, t, level), mean)


def _is_slow(count: int, t: float, level: float) -> bool:
    return count >= _SLOW_FROM and abs(t) < quantile(_SOON, level) * math.sqrt(count / _SOON)
