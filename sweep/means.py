"""A mean over seeds with its confidence interval, as the search and the analyses print it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

LEVEL = 0.95
# A spread below this is rounding: accuracies are quotients of two numbers of images. Of means above 1, which
# other metrics have, it is a share.
ROUNDING = 1e-12
# The bounds of a mean of numbers that may have any size.
UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
        half_width: half the width of its 95 % interval; None for a single seed. 0 if all seeds are equal: the
            interval then tells nothing, because no spread was observed.
        lost: number of trials without a value, because they failed or diverged.
        least, most: bounds of the value; the interval is cut to them.
        digits: number of decimals in its text, where it has no interval.
    """

    value: float
    half_width: float | None
    lost: int = 0
    least: float = 0.0
    most: float = 1.0
    digits: int = 3

    @property
    def low(self) -> float | None:
        """Lower end of the interval; None for a single seed."""
        return None if self.half_width is None else max(self.least, self.value - self.half_width)

    @property
    def high(self) -> float | None:
        """Upper end of the interval; None for a single seed."""
        return None if self.half_width is None else min(self.most, self.value + self.half_width)

    @property
    def equal(self) -> bool:
        """Whether all seeds are equal, up to rounding."""
        return self.half_width is not None and self.half_width <= ROUNDING

    @property
    def cut(self) -> bool:
        """Whether the interval was cut at one of the bounds."""
        if self.half_width is None or self.low is None or self.high is None:
            return False
        return self.high - self.low < 2 * self.half_width - ROUNDING

    def __str__(self) -> str:
        return self._text(" ± ")

    @classmethod
    def of(cls, values: Sequence[float], bounds: tuple[float, float] = (0.0, 1.0)) -> "Mean":
        """The mean of at least one value, with the bounds of the values: those of accuracies, or others."""
        mean = mean_interval(fmean(values), stdev(values) if len(values) > 1 else None, len(values))
        return replace(mean, least=bounds[0], most=bounds[1])

    @property
    def signed(self) -> str:
        """The mean as text with its sign, for differences."""
        text = str(self).replace("-", "−")
        return f"+{text}" if self.value > 0 else text

    @property
    def short(self) -> str:
        """The mean as text that is short enough for a table of many; bounds are bare numbers."""
        return self._text("±", bare=True)

    def _text(self, sign: str, *, bare: bool = False) -> str:
        has_interval = self.half_width is not None and not self.equal
        digits = decimals(self.half_width or 0.0) if has_interval else self.digits

        def number(value: float) -> str:
            return f"{value:g}" if bare and value in (self.least, self.most) else f"{value:.{digits}f}"

        lost = f" ({self.lost} lost)" if self.lost else ""
        if math.isnan(self.value):
            return f"–{lost}"
        text = number(self.value)
        if self.half_width is None or self.low is None or self.high is None:
            return text + lost
        if self.equal:
            return f"{text} (equal){lost}"
        if self.cut:
            return f"{text} [{number(self.low)}, {number(self.high)}]{lost}"
        return f"{text}{sign}{number(self.half_width)}{lost}"


def decimals(half_width: float) -> int:
    """Decimals of a number with an interval: two significant digits of half its width decide.

    Args:
        half_width: above 0.
    """
    return max(0, 1 - int(f"{half_width:.1e}".partition("e")[2]))


def mean_interval(mean: float | None, deviation: float | None, count: int, lost: int = 0) -> Mean:
    """A mean with its 95 % Student-t interval; NaN if there are no values.

    Args:
        mean: of `count` values; None for no values.
        deviation: their sample standard deviation; None for fewer than two values.
        lost: number of trials without a value.
    """
    if mean is None or deviation is None or count < 2:
        return Mean(math.nan if mean is None else mean, None, lost)
    spread = deviation > ROUNDING * max(1.0, abs(mean))
    return Mean(mean, student(count) * deviation / math.sqrt(count) if spread else 0.0, lost)


def student(count: int) -> float:
    """Half the width of the 95 % interval of a mean of `count` values, in standard errors."""
    # scipy.stats would take a second to import.
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, (1 + LEVEL) / 2))


def wilson(successes: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), which also suits shares of 0 and 1 and few trials."""
    if not count:
        return math.nan, math.nan
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, count, alpha=1 - LEVEL, method="wilson")
    # For a share of 0 or 1 one end is exact. Rounding would print 5.55e-17.
    return (float(low) if successes else 0.0), (float(high) if successes < count else 1.0)
