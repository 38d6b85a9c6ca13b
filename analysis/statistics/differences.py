"""Differences between arms, paired by seed, with intervals and p-values; corrections for many tests."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sweep.means import LEVEL, ROUNDING, Mean, student

Array = npt.NDArray[np.float64]

# Accuracies of two arms of one seed, None of the run that was lost: it failed, diverged or ended with NaN.
Lost = tuple[float | None, float | None]
# Simulated accuracies behind a p-value of the best of several, and the fewest and most studies they make.
_SIMULATED, _FEWEST, _MOST = 20_000_000, 5_000, 100_000
# With more seeds than this the best of several is simulated as with so many: only ranks of p-values count.
_ENOUGH = 30


@dataclass(frozen=True)
class Paired:
    """One arm's accuracy less another's, paired by seed.

    Attributes:
        mean: over the seeds that finished in both, with Student's 95 % interval; NaN where there is none.
        seeds: how many finished in both.
        lost: runs of the first and of the second that were lost, of seeds that both ran.
        bound: the mean where each lost run counts with the accuracy of chance; None where no run was lost.
        p: two-sided, of the mean being 0; NaN for a single seed. With lost runs the larger of that without
            them and that with them at chance, and 1 where these two means differ in their sign: a difference
            is certain only if it is certain both ways.
    """

    mean: Mean
    seeds: int
    lost: tuple[int, int]
    bound: Mean | None
    p: float


def paired(differences: Sequence[float], lost: Sequence[Lost] = (), chance: float = 0.0) -> Paired:
    """Compare two arms over the seeds that both ran.

    Args:
        differences: the first's accuracy less the second's, of each seed that finished in both.
        lost: of each other seed.
        chance: accuracy of guessing, from 0 to 1.
    """
    mean, p = difference(differences)
    if not lost:
        return Paired(mean, len(differences), (0, 0), None, p)
    guessed = [(chance if one is None else one) - (chance if other is None else other) for one, other in lost]
    bound, p_bound = difference([*differences, *guessed])
    return Paired(
        mean,
        len(differences),
        (sum(one is None for one, _ in lost), sum(other is None for _, other in lost)),
        bound,
        certain_both_ways(mean.value, p, bound.value, p_bound),
    )


def certain_both_ways(effect: float, p: float, guessed: float, p_guessed: float) -> float:
    """The p-value of an effect that must hold without the lost runs and with them at chance.

    It is 1 where the two effects differ in their sign, and NaN where nothing was tested without them.

    Args:
        effect, p: without the lost runs; the effect is 0 where there is none.
        guessed, p_guessed: with them at chance.
    """
    if math.isnan(p):
        return p
    return 1.0 if effect * guessed < 0 else max(p, p_guessed)


def chance_of(arm: str) -> float:
    """Accuracy of guessing on the data set of an arm, given as the JSON of its config."""
    # What is known of data sets comes with torch, which takes a second to import.
    from sweep.data.catalog import chance

    return chance(json.loads(arm)["dataset"])


def certain(p: float) -> bool:
    """Whether a corrected p-value makes a difference certain; NaN, of what was not tested, does not."""
    return p < 1 - LEVEL


def difference(values: Sequence[float]) -> tuple[Mean, float]:
    """Mean of paired differences with Student's 95 % interval, and the two-sided p-value of 0.

    Where all of n differences are equal, as few test images can make them, there is no spread to go by: the
    half width is 0 and p = 2^(1−n), a sign test's.
    """
    count = len(values)
    if not count:
        return Mean(math.nan, None, least=-1), math.nan
    mean = float(np.mean(values))
    if count < 2:
        return Mean(mean, None, least=-1), math.nan
    # NumPy centres before it squares: equal values have a spread of rounding, not of large sums.
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    if error <= ROUNDING:
        return Mean(mean, 0.0, least=-1), 2.0 ** (1 - count) if abs(mean) > ROUNDING else 1.0
    from scipy.special import stdtr

    return Mean(mean, student(count) * error, least=-1), float(2 * stdtr(count - 1, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment: reject below the level, and all errors together stay below it.

    Values that are NaN were not tested and are not counted.
    """
    tested = [index for index, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = [math.nan] * len(p_values)
    if tested:
        from statsmodels.stats.multitest import multipletests

        found = multipletests([p_values[index] for index in tested], method="holm")[1]
        for index, p in zip(tested, found, strict=True):
            adjusted[index] = float(p)
    return adjusted


def behind_best(p: float, arms: int, seeds: int) -> float:
    """The p-value of an arm's difference from the best of several, which was chosen by the same numbers.

    The best of equal arms is better than some of them by luck. A plain p-value, and Holm's correction over
    the others, do not know that it was chosen (6 % of studies of 5 equal arms shut one out at 5 %, 20 % of
    50). Here the plain p-value is held against the smallest one in simulated studies of equal arms (max-t
    by Monte Carlo, as in multiple comparisons with the best, Hsu 1984; paired, each difference with its own
    deviation), or against Bonferroni's bound over all pairs where that is lower: beyond the simulation's
    reach.

    Args:
        p: two-sided, of the paired t-test.
        arms: that the best was chosen from, itself included.
        seeds: that the pair shares.
    """
    if math.isnan(p):
        return math.nan
    bound = min(1.0, p * arms * (arms - 1) / 2)
    if arms < 3 or seeds < 2:
        return bound
    # Simulations of nearly the same number of arms serve each other; the larger one is the safe side.
    smallest = _smallest(arms if arms <= 20 else 10 * math.ceil(arms / 10), min(seeds, _ENOUGH))
    share = (1 + int(np.searchsorted(smallest, p, side="right"))) / (1 + len(smallest))
    return min(bound, share)


def selected(values: Sequence[float], candidates: int) -> tuple[float, float] | None:
    """Interval of the mean accuracy of the best of several, which was chosen by numbers of the same runs.

    The best of many is partly lucky, so that an ordinary interval lies too high. Here the lower end is
    Student's at 2.5 % divided by the number of candidates (Bonferroni: it holds for each of them at once, and
    so for whichever is chosen). The upper end is Student's at 2.5 %: to choose the highest does not make a
    mean too low. It covers 95 % at least, however what chose correlates with what is reported.

    Returns:
        Both ends, cut to 0 and 1; None for fewer than two runs.
    """
    count = len(values)
    if count < 2:
        return None
    from scipy.special import stdtrit

    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    mean, tail = float(np.mean(values)), (1 - LEVEL) / 2
    low = mean + error * float(stdtrit(count - 1, tail / candidates))
    return max(0.0, low), min(1.0, mean - error * float(stdtrit(count - 1, tail)))


@lru_cache(maxsize=64)
def _smallest(arms: int, seeds: int) -> Array:
    """Sorted: in each simulated study of equal arms the smallest p-value of a difference from its best."""
    from scipy.special import stdtr

    random = np.random.default_rng([arms, seeds])
    found = []
    studies = min(_MOST, max(_FEWEST, _SIMULATED // (arms * seeds)))
    step = max(1, 2_000_000 // (arms * seeds))
    for start in range(0, studies, step):
        values = random.normal(size=(min(step, studies - start), arms, seeds))
        best = values.mean(2).argmax(1)
        gaps = values[np.arange(len(values)), best][:, None, :] - values
        error = gaps.std(2, ddof=1) / math.sqrt(seeds)
        t = np.divide(gaps.mean(2), error, out=np.zeros_like(error), where=error > 0)
        found.append(2 * stdtr(seeds - 1, -t.max(1)))
    return np.sort(np.concatenate(found))


def wilson(successes: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): sound for shares of 0 and 1 and few trials."""
    if not count:
        return math.nan, math.nan
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, count, alpha=1 - LEVEL, method="wilson")
    # Of no successes, and of nothing but successes, one end is exact: rounding would print 5.55e-17.
    return (float(low) if successes else 0.0), (float(high) if successes < count else 1.0)
