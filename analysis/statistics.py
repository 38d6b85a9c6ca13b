"""Intervals, and where one curve falls below another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
        half_width: of its 95 % interval; None for a single seed.
        lost: trials that failed or diverged, and so have no value to count.
    """

    value: float
    half_width: float | None
    lost: int = 0

    def __str__(self) -> str:
        text = f"{self.value:.3f}" + (f" ± {self.half_width:.3f}" if self.half_width is not None else "")
        return text + self._lost

    @property
    def signed(self) -> str:
        """As text, with its sign: for differences."""
        return f"+{self}" if self.value > 0 else str(self).replace("-", "−", 1)

    @property
    def percent(self) -> str:
        """As text in percent, narrow enough for a table of many."""
        half_width = f"±{100 * self.half_width:.1f}" if self.half_width is not None else ""
        return f"{100 * self.value:.1f}{half_width}{self._lost}"

    @property
    def negative(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.half_width is not None and self.value + self.half_width < 0

    @property
    def _lost(self) -> str:
        return f" ({self.lost} lost)" if self.lost else ""


def mean_interval(mean: float | None, deviation: float | None, count: int, lost: int = 0) -> Mean:
    """The mean of `count` values with its 95 % Student-t interval; NaN if there are none."""
    if mean is None or deviation is None or count < 2:
        return Mean(math.nan if mean is None else mean, None, lost)
    # scipy.special, not scipy.stats, which takes a second to import.
    from scipy.special import stdtrit

    return Mean(mean, float(stdtrit(count - 1, 0.975)) * deviation / math.sqrt(count), lost)


@dataclass(frozen=True)
class Below:
    """A stretch of sparsities over which one curve is below another.

    Attributes:
        start, end: its ends, interpolated; None where the stretch reaches the end of the tested range.
        first, last: indices of the first and the last tested sparsity in it.
    """

    start: float | None
    end: float | None
    first: int
    last: int


def stretches_below(sparsities: Sequence[float], differences: Sequence[float], margin: float) -> list[Below]:
    """Where a difference is below −margin.

    Args:
        sparsities: rising, tested.
        differences: mean accuracy of one criterion less another's, at these sparsities.
        margin: differences up to this size count as equal.

    Returns:
        The stretches in order. Their ends are where the difference passes −margin, interpolated linearly on
        log density between two tested sparsities.
    """
    found: list[Below] = []
    for index, difference in enumerate(differences):
        if difference >= -margin:
            continue
        if found and found[-1].last == index - 1:
            found[-1] = replace(found[-1], last=index)
        else:
            found.append(Below(None, None, index, index))

    def passing(index: int) -> float | None:
        """Where the difference passes −margin between `index` and the next tested sparsity."""
        if not 0 <= index < len(differences) - 1:
            return None
        here, there = differences[index] + margin, differences[index + 1] + margin
        logs = [math.log(1 - sparsity) for sparsity in sparsities[index : index + 2]]
        return 1 - math.exp(logs[0] + here / (here - there) * (logs[1] - logs[0]))

    return [replace(run, start=passing(run.first - 1), end=passing(run.last)) for run in found]
