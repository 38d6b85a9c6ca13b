"""Coefficients of correlation, with intervals."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweep.means import LEVEL, student

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Coefficient:
    """A correlation with its 95 % interval and its two-sided p-value; NaN where there is none."""

    value: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined"
        interval = f" [{self.low:.2f}, {self.high:.2f}]" if not math.isnan(self.low) else ""
        return f"{self.value:.2f}{interval}".replace("-", "−")


def pearson(value: float | None, count: int) -> Coefficient:
    """r with Fisher's interval: atanh r ± z / √(n − 3). p as SciPy's, from Student's t."""
    return _fisher(value, count, lambda _: 1 / (count - 3), _p_of_t(value, count))


def spearman(value: float | None, count: int) -> Coefficient:
    """ρ with the interval of Bonett & Wright (2000): variance (1 + ρ²/2) / (n − 3). p as SciPy's."""
    return _fisher(value, count, lambda rho: (1 + rho**2 / 2) / (count - 3), _p_of_t(value, count))


def kendall(before: Array, after: Array) -> Coefficient:
    """τ-b with an interval from its own jackknife on Fisher's scale. τ and p are SciPy's.

    With `n` pairs the textbook variance, 0.437 / (n − 4) on that scale (Fieller 1957), holds for normal
    data with a moderate τ; the jackknife needs neither, and has Student's quantile with n − 1 degrees of
    freedom. Above `_JACKKNIFED` pairs, where the two agree in the second digit, Fieller's is used for its
    speed.
    """
    count = len(before)
    if count < 2:
        return Coefficient(*[math.nan] * 4)
    from scipy.stats import kendalltau

    found = kendalltau(before, after)
    value, p = float(found.statistic), float(found.pvalue)
    if math.isnan(value) or count < 5 or abs(value) > 1 - 1e-9:
        return Coefficient(value, math.nan, math.nan, p)
    if count > _JACKKNIFED:
        return _fisher(value, count, lambda _: 0.437 / (count - 4), p)
    signs = np.sign(before[:, None] - before) * np.sign(after[:, None] - after)
    ties = [np.abs(np.sign(side[:, None] - side)) for side in (before, after)]
    # Leave each pair of values out in turn.
    concordance = signs.sum() - 2 * signs.sum(0)
    norms = np.sqrt(np.prod([tie.sum() - 2 * tie.sum(0) for tie in ties], axis=0))
    left = np.divide(concordance, norms, out=np.full(count, np.nan), where=norms > 0)
    left = np.arctanh(np.clip(left[np.isfinite(left)], -1 + 1e-9, 1 - 1e-9))
    variance = (count - 1) / count * float(((left - left.mean()) ** 2).sum())
    return _fisher(value, count, lambda _: max(variance, 1e-12), p, student(count))


_JACKKNIFED = 1_000


def _fisher(
    value: float | None,
    count: int,
    variance: Callable[[float], float],
    p: float,
    quantile: float | None = None,
) -> Coefficient:
    from scipy.special import ndtri

    if value is None or math.isnan(value):
        return Coefficient(*[math.nan] * 4)
    if count < 5 or abs(value) > 1 - 1e-9:
        return Coefficient(value, math.nan, math.nan, p)
    half = (quantile or float(ndtri((1 + LEVEL) / 2))) * math.sqrt(variance(value))
    middle = math.atanh(value)
    return Coefficient(value, math.tanh(middle - half), math.tanh(middle + half), p)


def _p_of_t(value: float | None, count: int) -> float:
    if value is None or math.isnan(value) or count < 3:
        return math.nan
    if abs(value) > 1 - 1e-12:
        return 0.0
    from scipy.special import stdtr

    t = abs(value) * math.sqrt((count - 2) / (1 - value**2))
    return float(2 * stdtr(count - 2, -t))
