"""Bootstrap intervals over seeds, and corrections for many tests."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sweep.means import LEVEL, student

Array = npt.NDArray[np.float64]

RESAMPLES = 10_000
# With fewer seeds than this there are too few different resamples: their intervals are Student's.
ENOUGH = 8


class Resampled:
    """Paired differences at several points, over the same seeds, and what their bootstrap says.

    Bootstrap-t (Efron & Tibshirani 1993, 12.5) in its symmetric form (Hall 1988, whose coverage is off by
    O(n^-2) only): seeds are drawn with replacement, all points of a seed together, and the 95 % quantile of
    |mean* − mean| / standard error* takes the place of Student's. With fewer than `ENOUGH` seeds Student's
    stays: three seeds have ten different resamples, and plain percentile intervals then cover as little as
    75 %.

    Args:
        values: seeds × points.
        resamples: how many; drawn with `seed`, so that the same data have the same interval.
    """

    def __init__(self, values: Array, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.seeds = len(values)
        self.mean = values.mean(0)
        centred = values - self.mean
        # Variances, and covariances of neighbours: the standard error of anything interpolated follows from
        # them.
        self._variance = (centred**2).sum(0) / max(1, self.seeds - 1)
        self._covariance = (centred[:, :-1] * centred[:, 1:]).sum(0) / max(1, self.seeds - 1)
        self._many = self.seeds >= ENOUGH
        if self._many:
            counts = _drawn(self.seeds, resamples, seed)
            self._means = counts @ centred / self.seeds
            scale = 1 / (self.seeds - 1)
            squares = counts @ centred**2
            self._variances = (squares - self.seeds * self._means**2) * scale
            products = counts @ (centred[:, :-1] * centred[:, 1:])
            self._covariances = (products - self.seeds * self._means[:, :-1] * self._means[:, 1:]) * scale

    def at(self, point: int, weight: float = 0.0) -> tuple[float, float, float]:
        """Mean, half width of its 95 % interval and p-value (two-sided, of the mean being 0).

        Args:
            point: index of a point.
            weight: 0 for the point itself; up to 1, of the next one: the values between are interpolated.

        Returns:
            Half width and p-value are NaN for a single seed.
        """
        other = min(point + 1, len(self.mean) - 1)
        between = min(point, max(0, len(self.mean) - 2))
        here = 1 - weight

        def variance(variances: Array, covariances: Array) -> Array:
            if weight == 0:
                return variances[..., point]
            both = 2 * here * weight * covariances[..., between]
            return here**2 * variances[..., point] + both + weight**2 * variances[..., other]

        mean = float(here * self.mean[point] + weight * self.mean[other])
        if self.seeds < 2:
            return mean, math.nan, math.nan
        error = math.sqrt(max(0.0, float(variance(self._variance, self._covariance))) / self.seeds)
        if error <= 1e-12:
            # The same for every seed, as few test images can make it: no spread to go by, but the signs
            # agree.
            p = 2.0 ** (1 - self.seeds) if abs(mean) > 1e-12 else 1.0
            return mean, 0.0 if p < 1 - LEVEL else math.nan, p
        ratio = abs(mean) / error
        if not self._many:
            return mean, *_by_student(self.seeds, error, ratio)
        shift = np.abs(here * self._means[:, point] + weight * self._means[:, other])
        errors = np.sqrt(np.maximum(variance(self._variances, self._covariances), 0) / self.seeds)
        # A resample of one seed alone has no error of its own; it speaks for the widest interval.
        ratios = np.divide(shift, errors, out=np.full_like(shift, np.inf), where=errors > 1e-12)
        index = math.ceil(LEVEL * (len(ratios) + 1)) - 1
        quantile = float(np.partition(ratios, index)[index])
        if math.isinf(quantile):  # most seeds are equal, as few test images can make them
            return mean, *_by_student(self.seeds, error, ratio)
        return mean, quantile * error, float((1 + (ratios >= ratio).sum()) / (1 + len(ratios)))


def _by_student(seeds: int, error: float, ratio: float) -> tuple[float, float]:
    """Half width and p-value."""
    from scipy.special import stdtr

    return student(seeds) * error, float(2 * stdtr(seeds - 1, -ratio))


@lru_cache(maxsize=16)
def _drawn(seeds: int, resamples: int, seed: int) -> Array:
    """How often each seed is in each resample: resamples × seeds. The same for all that is compared."""
    shares = np.full(seeds, 1 / seeds)
    return np.random.default_rng(seed).multinomial(seeds, shares, resamples).astype(np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment: reject below the level, and all errors together stay below it.

    Values that are NaN were not tested and are not counted.
    """
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def wilson(successes: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): sound for shares of 0 and 1 and few trials."""
    if not count:
        return math.nan, math.nan
    z = 1.959963984540054
    share, spread = successes / count, z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)
