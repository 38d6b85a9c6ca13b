"""A mean over seeds, with its interval: as the search and the analyses say it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

LEVEL = 0.95


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

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """The mean of these values, of which there is one at least."""
        return mean_interval(fmean(values), stdev(values) if len(values) > 1 else None, len(values))

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
    def _lost(self) -> str:
        return f" ({self.lost} lost)" if self.lost else ""


def mean_interval(mean: float | None, deviation: float | None, count: int, lost: int = 0) -> Mean:
    """The mean of `count` values with its 95 % Student-t interval; NaN if there are none."""
    if mean is None or deviation is None or count < 2:
        return Mean(math.nan if mean is None else mean, None, lost)
    return Mean(mean, student(count) * deviation / math.sqrt(count), lost)


def student(count: int) -> float:
    """Standard errors that the 95 % interval of a mean of `count` values reaches to each side."""
    # scipy.special, not scipy.stats, which takes a second to import.
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, (1 + LEVEL) / 2))
