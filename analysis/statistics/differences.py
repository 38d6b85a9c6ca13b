"""Differences between arms, paired by seed, with intervals and p-values; corrections for several tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sweep.means import LEVEL, ROUNDING, Mean, student

Array = npt.NDArray[np.float64]

# Accuracies of two arms with one seed. None: that run was lost, as it failed, diverged or ended with NaN.
Lost = tuple[float | None, float | None]
# Simulated accuracies for a p-value of the best of several, and the fewest and most simulated studies.
_SIMULATED, _FEWEST, _MOST = 20_000_000, 5_000, 100_000
# Studies with more seeds than this are simulated with this many: only the ranks of p-values count.
_ENOUGH = 30


@dataclass(frozen=True)
class Paired:
    """The accuracy of one arm minus that of another, paired by seed.

    Attributes:
        mean: over the seeds that finished in both arms, with Student's 95 % interval; NaN for no such seed.
        seeds: number of seeds that finished in both arms.
        lost: numbers of lost runs of the first and of the second arm, of the seeds that both ran.
        bound: the mean if each lost run had the accuracy of chance; None if no run was lost.
        p: two-sided p-value of a mean of 0; NaN for a single seed. With lost runs it is the larger p-value of
            `mean` and `bound`, or 1 if these differ in sign: a difference must be certain both ways.
    """

    mean: Mean
    seeds: int
    lost: tuple[int, int]
    bound: Mean | None
    p: float


def paired(
    differences: Sequence[float],
    lost: Sequence[Lost] = (),
    chance: float = 0.0,
    other_chance: float | None = None,
) -> Paired:
    """Compare two arms over the seeds that both ran.

    Args:
        differences: the accuracy of the first minus that of the second, for each seed that finished in both.
        lost: both accuracies of each other seed.
        chance: the accuracy that a lost run is taken to have: that of guessing.
        other_chance: the same of the second arm; None: it is that of the first.
    """
    mean, p = difference(differences)
    others = chance if other_chance is None else other_chance
    if not lost:
        return Paired(mean, len(differences), (0, 0), None, p)
    guessed = [(chance if one is None else one) - (others if other is None else other) for one, other in lost]
    bound, p_bound = difference([*differences, *guessed])
    return Paired(
        mean,
        len(differences),
        (sum(one is None for one, _ in lost), sum(other is None for _, other in lost)),
        bound,
        certain_both_ways(mean.value, p, bound.value, p_bound),
    )


def certain_both_ways(effect: float, p: float, guessed: float, p_guessed: float) -> float:
    """The p-value of an effect that must hold both without the lost runs and with them at chance.

    It is 1 if the two effects differ in sign, and NaN if nothing was tested without the lost runs.

    Args:
        effect, p: without the lost runs. No effect is 0.
        guessed, p_guessed: with the lost runs at the accuracy of chance.
    """
    if math.isnan(p):
        return p
    return 1.0 if effect * guessed < 0 else max(p, p_guessed)


def certain(p: float) -> bool:
    """Whether a corrected p-value is below 5 %. NaN, of a difference that was not tested, is not."""
    return p < 1 - LEVEL


def difference(values: Sequence[float]) -> tuple[Mean, float]:
    """Mean of paired differences with Student's 95 % interval, and the two-sided p-value of a mean of 0.

    If all n differences are equal, as with a small test set, their spread says nothing: the half width is 0,
    and p = 2^(1−n), that of a sign test.
    """
    count = len(values)
    if not count:
        return Mean(math.nan, None, least=-1), math.nan
    mean = float(np.mean(values))
    if count < 2:
        return Mean(mean, None, least=-1), math.nan
    # NumPy centres before it squares: equal values have a deviation of rounding errors only.
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    if error <= ROUNDING * max(1.0, abs(mean)):
        return Mean(mean, 0.0, least=-1), 2.0 ** (1 - count) if abs(mean) > ROUNDING else 1.0
    from scipy.special import stdtr

    return Mean(mean, student(count) * error, least=-1), float(2 * stdtr(count - 1, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment, which controls the family-wise error rate.

    NaN stands for a difference that was not tested: it stays NaN and does not count as a test.
    """
    # statsmodels' function collects all garbage of the process each time, and takes a second to import.
    tested = [index for index, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = [math.nan] * len(p_values)
    least = 0.0
    for place, index in enumerate(sorted(tested, key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(tested) - place) * p_values[index]))
        adjusted[index] = float(least)
    return adjusted


def behind_best(p: float, arms: int, seeds: int) -> float:
    """The p-value of an arm's difference from the best of several arms, corrected for the choice of the best.

    The best was chosen by the same accuracies, so it is better than some equal arms by luck. Plain p-values
    with Holm's correction ignore that choice: at 5 % they reject an equal arm in 6 % of studies of 5 equal
    arms, and in 20 % of studies of 50. Here the plain p-value is compared with the smallest p-values of
    simulated studies of equal arms: max-t by Monte Carlo, as in multiple comparisons with the best (Hsu
    1984), paired, each difference with its own deviation. Bonferroni's bound over all pairs is taken where it
    is lower, which is where the simulation has too few studies.

    Args:
        p: two-sided, of the paired t-test.
        arms: number of arms that the best was chosen from, with the best itself.
        seeds: number of seeds that the pair shares.
    """
    if math.isnan(p):
        return math.nan
    bound = min(1.0, p * arms * (arms - 1) / 2)
    if arms < 3 or seeds < 2:
        return bound
    # Rounded up, nearly equal numbers of arms share a simulation. More arms make p-values larger: it is safe.
    smallest = _smallest(arms if arms <= 20 else 10 * math.ceil(arms / 10), min(seeds, _ENOUGH))
    share = (1 + int(np.searchsorted(smallest, p, side="right"))) / (1 + len(smallest))
    return min(bound, share)


def selected(
    values: Sequence[float], candidates: int, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float] | None:
    """Interval of the mean accuracy of the best of several candidates, corrected for the choice of the best.

    The best was chosen by accuracies of the same runs, so an ordinary interval lies too high. The lower end
    is Student's at 2.5 % divided by the number of candidates (Bonferroni: it holds for all candidates at
    once, and so for the chosen one). The upper end is Student's at 2.5 %: choosing the highest makes no mean
    too low. The interval covers at least 95 %, whatever the correlation between the accuracy that chose and
    the accuracy that is reported.

    Returns:
        Both ends, cut to the bounds; None for fewer than two runs.
    """
    count = len(values)
    if count < 2:
        return None
    from scipy.special import stdtrit

    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    mean, tail = float(np.mean(values)), (1 - LEVEL) / 2
    low = mean + error * float(stdtrit(count - 1, tail / candidates))
    return max(bounds[0], low), min(bounds[1], mean - error * float(stdtrit(count - 1, tail)))


@lru_cache(maxsize=64)
def _smallest(arms: int, seeds: int) -> Array:
    """In each simulated study of equal arms, the smallest p-value of a difference from the best; sorted."""
    from scipy.special import stdtr

    random = np.random.default_rng([arms, seeds])
    smallest = []
    studies = min(_MOST, max(_FEWEST, _SIMULATED // (arms * seeds)))
    step = max(1, 2_000_000 // (arms * seeds))
    for start in range(0, studies, step):
        values = random.normal(size=(min(step, studies - start), arms, seeds))
        best = values.mean(2).argmax(1)
        gaps = values[np.arange(len(values)), best][:, None, :] - values
        error = gaps.std(2, ddof=1) / math.sqrt(seeds)
        t = np.divide(gaps.mean(2), error, out=np.zeros_like(error), where=error > 0)
        smallest.append(2 * stdtr(seeds - 1, -t.max(1)))
    return np.sort(np.concatenate(smallest))
