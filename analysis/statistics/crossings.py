"""Certain differences between two criteria, and the sparsities between which their sign changes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from analysis.statistics.differences import Paired, certain, holm
from sweep.means import Mean


@dataclass(frozen=True)
class Difference:
    """The accuracy of one criterion minus that of another at one sparsity.

    Attributes:
        paired: the paired difference over the seeds that both ran, with a pointwise 95 % interval.
        p: of a mean of 0, with Holm's correction for all tests of the answer. NaN: not tested, because of a
            single seed, no seed that finished in both, or an unfinished study.
    """

    sparsity: float
    paired: Paired
    p: float

    @property
    def mean(self) -> Mean:
        """The mean difference over the seeds that finished in both."""
        return self.paired.mean

    @property
    def sign(self) -> int:
        """1 or −1 if the difference is certain after the correction, else 0."""
        return (1 if self.mean.value > 0 else -1) if certain(self.p) else 0


@dataclass(frozen=True)
class Crossing:
    """A change of the sign of the difference between two tested sparsities.

    Attributes:
        low, high: tested sparsities with certain, opposite signs. The difference passes 0 between them at
            least once: an interval that assumes nothing about the shape of the curves.
        at: where a straight line between the means passes 0, on log density; a hint only.
        next: the sparsity to run next: halfway on log density between the means that change their order.
        falls: the sign changes from above to below.
    """

    low: float
    high: float
    at: float
    next: float
    falls: bool

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


def decide(
    pairs: Sequence[tuple[Sequence[float], Sequence[Paired], bool]],
) -> list[list[Difference]]:
    """The differences of an answer, with Holm's correction over all its tests.

    Args:
        pairs: for each pair of arms its sparsities, rising; the paired difference at each; and whether they
            are tested, which those of an unfinished study are not.
    """
    plain = [one.p if tested else math.nan for _, differences, tested in pairs for one in differences]
    corrected = iter(holm(plain))
    return [
        [Difference(s, one, next(corrected)) for s, one in zip(sparsities, differences, strict=True)]
        for sparsities, differences, _ in pairs
    ]


def crossings(differences: Sequence[Difference]) -> list[Crossing]:
    """A crossing between each two consecutive certain signs that differ.

    Args:
        differences: by rising sparsity.
    """
    certain = [index for index, difference in enumerate(differences) if difference.sign]
    return [
        _crossing(differences[one : other + 1])
        for one, other in pairwise(certain)
        if differences[one].sign != differences[other].sign
    ]


def _crossing(differences: Sequence[Difference]) -> Crossing:
    """The crossing between the first and the last difference, whose signs are certain and opposite."""
    one, other = next(
        (one, other)
        for one, other in reversed(list(pairwise([d for d in differences if not math.isnan(d.mean.value)])))
        if (one.mean.value > 0) != (other.mean.value > 0)
    )
    share = one.mean.value / (one.mean.value - other.mean.value)

    def between(share: float) -> float:
        logs = math.log(1 - one.sparsity), math.log(1 - other.sparsity)
        return 1 - math.exp(logs[0] + share * (logs[1] - logs[0]))

    return Crossing(
        low=differences[0].sparsity,
        high=differences[-1].sparsity,
        at=between(share),
        next=between(0.5),
        falls=differences[0].sign > 0,
    )
