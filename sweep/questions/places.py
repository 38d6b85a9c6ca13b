"""Places of a bisection: sparsities, evenly spaced on the logarithm of the density."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

# Densities of places have so many significant digits, so that sparsities are short and studies share them.
_DIGITS = 4


@dataclass(frozen=True)
class Width:
    """How narrow a bracket is to be.

    Attributes:
        amount: decades of density, or a width in sparsity.
        decades: which of the two.
    """

    amount: float
    decades: bool = True

    def holds(self, low: float, high: float) -> bool:
        """Whether two sparsities are no further apart, up to the rounding of places."""
        if self.decades:
            return decades(low, high) <= 1.01 * self.amount
        return high - low <= self.amount * (1 + 1e-9)

    def in_decades(self, at: float) -> float:
        """The width in decades of a bracket around a sparsity."""
        if self.decades:
            return self.amount
        return math.log10((1 - at + self.amount / 2) / max(1 - at - self.amount / 2, (1 - at) / 1e3))


def decades(low: float, high: float) -> float:
    """The distance of two sparsities, in decades of density."""
    return math.log10((1 - low) / (1 - high))


def between(low: float, high: float, share: float = 0.5) -> float:
    """The sparsity at this share of the way from one to the other, on log density; never one of the two."""
    density = (1 - low) * ((1 - high) / (1 - low)) ** share
    for digits in range(_DIGITS, 17):
        place = round(1 - float(f"{density:.{digits - 1}e}"), 15)
        if low < place < high:
            return place
    return high


def grid(low: float, high: float, width: Width) -> Iterator[float]:
    """The fewest evenly spaced places of which neighbours are no further apart than a width."""
    widest = decades(low, high)
    count = max(1, math.ceil(widest / width.in_decades(high if not width.decades else low) - 0.01))
    yield low
    for step in range(1, count):
        yield between(low, high, step / count)
    yield high
