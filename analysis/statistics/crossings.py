"""Certain differences between two criteria, and the sparsities between which their sign changes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from analysis.statistics.differences import Paired, certain, holm
from sweep.means import Mean


@dataclass(frozen=True)
class Difference:
    """One criterion's accuracy less another's at one sparsity.

    Attributes:
        found: over the seeds that both ran, with a pointwise 95 % interval.
        p: of the mean being 0, corrected by Holm for all tests of the answer; NaN where nothing was tested: a
            single seed, no run that finished in both, or a study that still runs.
    """

    sparsity: float
    found: Paired
    p: float

    @property
    def mean(self) -> Mean:
        """Over the seeds that finished in both."""
        return self.found.mean

    @property
    def sign(self) -> int:
        """1 or −1 where the difference is certain after the correction, else 0."""
        return (1 if self.mean.value > 0 else -1) if certain(self.p) else 0


@dataclass(frozen=True)
class Crossing:
    """The sign of the difference changes between two tested sparsities.

    Attributes:
        low, high: tested sparsities at which the sign is certain, one way and the other. Whatever the
            difference does in between, it passes 0 there at least once: the interval that needs no shape.
        at: where the straight line between the means passes 0, on log density: no more than a hint.
        next: the sparsity to run next, halfway on log density where the means change their order.
        falls: from above to below.
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
    """Which differences of an answer are certain: Holm's correction goes over all that it tests.

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
    """Between the first and the last of these, whose signs are certain."""
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
