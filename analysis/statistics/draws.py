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
    """Finished runs of one way; each array has an element a run.

    Attributes:
        task: index of the task.
        draw: index of what the seed drew: runs of one seed on one data set and model share their
            initialization and order of data, and so are one draw.
        weight: 1 / (tasks × runs of this way on the task).
    """

    accuracy: Array
    task: Indices
    draw: Indices
    weight: Array

    @cached_property
    def counts(self) -> Indices:
        """Of each task, how many runs there are."""
        counts: Indices = np.bincount(self.task)
        return counts

    @cached_property
    def by_draw(self) -> Array:
        """Of each draw, the weight of its runs."""
        weights: Array = np.bincount(self.draw, self.weight).astype(np.float64)
        return weights

    @cached_property
    def _scale(self) -> Array:
        """Weights, larger where a task has few runs: deviations from their own mean are too small."""
        return self.weight * np.sqrt(self.counts / (self.counts - 1))[self.task]

    def centred(self, influence: Array) -> Array:
        """What each run adds to the error of a mean: its weight × deviation from its task's mean."""
        means = np.bincount(self.task, influence) / self.counts
        return self._scale * (influence - means[self.task])


@dataclass(frozen=True)
class Draws:
    """Seeds as they were drawn.

    Attributes:
        stratum: of each draw, the index of its data set and model.
        share: of each stratum, its share of the tasks.
    """

    stratum: Indices
    share: Array

    def counts(self, runs: Sequence[Runs]) -> Array:
        """Of each stratum, how many draws of one weight know as much of the error as those of these runs.

        As many as there are if all tasks have the same seeds; fewer if most of the weight is of few seeds
        (Satterthwaite 1946).
        """
        found = []
        for one in runs:
            weights = np.zeros(len(self.stratum))
            weights[: len(one.by_draw)] = one.by_draw**2
            found.append(np.bincount(self.stratum, weights) ** 2 / np.bincount(self.stratum, weights**2))
        least: Array = np.minimum.reduce(found)
        return least

    def error(self, runs: Sequence[Runs], influences: Sequence[Array]) -> tuple[float, float]:
        """Standard error of a mean over tasks, and its degrees of freedom; NaN where a task has a single run.

        Linearized, and summed within draws: seeds are resampled, not runs, so that what a seed does to all
        sparsities and criteria alike does not count as many draws. Variances of the strata add up; degrees of
        freedom are Satterthwaite's (1946), 1 at least in each.

        Args:
            runs: whose runs the mean is over.
            influences: of each run on it.
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
        """A share with its interval, and the p-value of its being ½; arguments else as for `error`.

        No share is less certain than one of as many draws as there are seeds, as if all runs of a seed were
        alike: that is taken for a share of 0 or 1, which has no spread to go by.
        """
        from scipy.special import stdtr, stdtrit

        error, freedom = self.error(runs, influences)
        if math.isnan(error):
            return Estimate(share), math.nan
        seeds = 1 / float((self.share**2 / self.counts(runs)).sum())
        size = max(seeds, share * (1 - share) / error**2) if error else seeds
        found = score_interval(share, size, float(stdtrit(freedom, (1 + LEVEL) / 2)))
        return found, float(2 * stdtr(freedom, -abs(share - 0.5) * 2 * math.sqrt(size)))


def mean_interval(mean: float, error: float, freedom: float) -> Estimate:
    """Student's, within [0, 1]; none where seeds that are all alike leave no spread to go by."""
    from scipy.special import stdtrit

    if math.isnan(error) or not error:
        return Estimate(mean)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))


def interquartile_mean(values: Array, weights: Array) -> tuple[float, Array]:
    """Mean of the middle half of a weighted sample, and the influence of each value on it.

    With equal weights, of a number of values that four divides, it is `scipy.stats.trim_mean(values, 0.25)`;
    a value that a quartile cuts counts with the part that is within. The influence is that of a trimmed mean:
    the value cut off at the quartiles, over the half that is kept (Tukey & McLaughlin 1963).

    Args:
        values: of each run.
        weights: of each; sum 1.
    """
    order = np.argsort(values, kind="stable")
    upper = np.cumsum(weights[order])
    kept = np.clip(upper, 0.25, 0.75) - np.clip(upper - weights[order], 0.25, 0.75)
    inside = np.flatnonzero(kept > 1e-12)
    low, high = values[order[inside[0]]], values[order[inside[-1]]]
    return float(kept @ values[order]) / float(kept.sum()), np.clip(values, low, high) / 0.5


def mean_share(runs: Runs, parts: npt.NDArray[Any]) -> float:
    """The mean over tasks of what is in [0, 1] for each run; exactly 0 or 1 where it is so for all."""
    return round(float(runs.weight @ parts), 12)
