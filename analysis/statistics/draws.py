"""Seeds as draws: means and shares over tasks, with intervals over the draws and not over single runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.statistics.differences import Array
from analysis.statistics.estimates import Estimate, score_interval
from sweep.means import LEVEL

Indices = npt.NDArray[np.int64]


@dataclass
class Runs:
    """The finished runs of one way to choose the mask. Each array has one element for each run.

    Attributes:
        accuracy: test accuracy, in [0, 1], or a metric that stands in its place.
        task: index of the task.
        draw: index of the draw. Runs with the same seed, data set and model share their initialization and
            order of data: they are one draw.
        weight: 1 / (tasks × runs of this way on the task).
    """

    accuracy: Array
    task: Indices
    draw: Indices
    weight: Array

    @cached_property
    def counts(self) -> Indices:
        """Number of runs on each task."""
        counts: Indices = np.bincount(self.task)
        return counts

    @cached_property
    def by_draw(self) -> Array:
        """Weight of the runs of each draw."""
        weights: Array = np.bincount(self.draw, self.weight).astype(np.float64)
        return weights

    @cached_property
    def _scale(self) -> Array:
        """Weights with Bessel's correction: deviations of few runs from their own mean are too small."""
        return self.weight * np.sqrt(self.counts / (self.counts - 1))[self.task]

    def centred(self, influence: Array) -> Array:
        """The contribution of each run to the error of a mean: weight × deviation from the task's mean."""
        means = np.bincount(self.task, influence) / self.counts
        return self._scale * (influence - means[self.task])


@dataclass(frozen=True)
class Draws:
    """The draws of all ways. A stratum is a data set with a model.

    Attributes:
        stratum: index of each draw's stratum.
        share: each stratum's share of the tasks.
    """

    stratum: Indices
    share: Array

    def counts(self, runs: Sequence[Runs]) -> Array:
        """The effective number of draws in each stratum: that of equally weighted draws with the same error.

        It is the number of draws if all tasks have the same seeds, and lower if few seeds have most of the
        weight (Satterthwaite 1946).
        """
        effective = []
        for one in runs:
            weights = np.zeros(len(self.stratum))
            weights[: len(one.by_draw)] = one.by_draw**2
            effective.append(np.bincount(self.stratum, weights) ** 2 / np.bincount(self.stratum, weights**2))
        least: Array = np.minimum.reduce(effective)
        return least

    def error(self, runs: Sequence[Runs], influences: Sequence[Array]) -> tuple[float, float]:
        """Standard error of a mean over tasks, and its degrees of freedom; NaN if a task has a single run.

        Influences are summed within draws: the seeds are the sample, not the runs. An effect of a seed on all
        its sparsities and criteria counts as one draw. The variances of the strata add up. The degrees of
        freedom are Satterthwaite's (1946), with at least 1 for each stratum.

        Args:
            runs: the runs that the mean is over.
            influences: of each run on the mean.
        """
        if any((one.counts < 2).any() for one in runs):
            return math.nan, math.nan
        sums = np.zeros(len(self.stratum))
        for one, influence in zip(runs, influences, strict=True):
            sums += np.bincount(one.draw, one.centred(influence), minlength=len(sums))
        freedom = np.maximum(1, self.counts(runs) - 1)
        variances = np.bincount(self.stratum, sums**2)
        if variances.sum() <= 1e-24:
            return 0.0, float(freedom.sum())
        return math.sqrt(variances.sum()), float(variances.sum() ** 2 / (variances**2 / freedom).sum())

    def share_interval(
        self, share: float, runs: Sequence[Runs], influences: Sequence[Array]
    ) -> tuple[Estimate, float]:
        """A share with its score interval, and the p-value of a share of ½.

        The sample size is at least the number of seeds: that of runs which are all alike for a seed. A share
        of 0 or 1, which has no spread, gets that size.

        Args:
            share: a mean over tasks, in [0, 1].
            runs, influences: as for `error`.
        """
        from scipy.special import stdtr, stdtrit

        error, freedom = self.error(runs, influences)
        if math.isnan(error):
            return Estimate(share), math.nan
        seeds = 1 / float((self.share**2 / self.counts(runs)).sum())
        size = max(seeds, share * (1 - share) / error**2) if error else seeds
        estimate = score_interval(share, size, float(stdtrit(freedom, (1 + LEVEL) / 2)))
        return estimate, float(2 * stdtr(freedom, -abs(share - 0.5) * 2 * math.sqrt(size)))


def mean_interval(
    mean: float, error: float, freedom: float, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """A mean with Student's interval, cut to the bounds; without an interval if all seeds are alike."""
    from scipy.special import stdtrit

    if math.isnan(error) or not error:
        return Estimate(mean)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Estimate(mean, max(bounds[0], mean - half), min(bounds[1], mean + half))


def interquartile_mean(values: Array, weights: Array) -> tuple[float, Array]:
    """Mean of the middle half of a weighted sample, and the influence of each value on it.

    With equal weights and a number of values that is divisible by four, it is
    `scipy.stats.trim_mean(values, 0.25)`. A value on a quartile counts with its part in the middle half. The
    influence is that of a trimmed mean: the value, clipped to the quartiles, divided by the kept half (Tukey
    & McLaughlin 1963).

    Args:
        values: shape (n,).
        weights: shape (n,); their sum is 1.
    """
    order = np.argsort(values, kind="stable")
    upper = np.cumsum(weights[order])
    kept = np.clip(upper, 0.25, 0.75) - np.clip(upper - weights[order], 0.25, 0.75)
    inside = np.flatnonzero(kept > 1e-12)
    low, high = values[order[inside[0]]], values[order[inside[-1]]]
    return float(kept @ values[order]) / float(kept.sum()), np.clip(values, low, high) / 0.5


def mean_share(runs: Runs, parts: npt.NDArray[Any]) -> float:
    """The mean over tasks of numbers in [0, 1], one a run; exactly 0 or 1 if all numbers are."""
    return round(float(runs.weight @ parts), 12)
