"""An always-valid t: evidence about the mean of differences that may be looked at after every seed.

The e-value is the ratio of the likelihood of Student's t under mean/sd ~ N(0, τ²) to that under mean 0 (Wang
& Ramdas 2023, 'Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance',
arXiv 2310.03722). By Ville's inequality it ever exceeds 1/a with probability at most a, whatever the standard
deviation of the normal differences.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

# τ of the mixture: large effects settle a sign with the fewest seeds, moderate ones make the narrowest
# intervals.
SIGNS, WIDTHS = 3.0, 1.0
# No sign is called certain of fewer differences.
FEWEST = 4


def e_value(t: float, count: int, tau: float = SIGNS) -> float:
    """The evidence against a mean of 0.

    Args:
        t: Student's statistic of the differences, √count · mean / standard deviation.
        count: number of differences, at least 2.
        tau: standard deviation of mean/sd under the alternative.
    """
    k = 1 + count * tau**2
    square = t * t / (count - 1)
    return float(k**-0.5 * ((1 + square) / (1 + square / k)) ** (count / 2))


@lru_cache(maxsize=100_000)
def quantile(count: int, level: float, tau: float = SIGNS) -> float:
    """The |t| from which the e-value is at least 1/level; infinite if none of so few differences is."""
    if count < 2:
        return math.inf
    k = 1 + count * tau**2
    root = (math.sqrt(k) / level) ** (2 / count)
    return math.sqrt((count - 1) * (root - 1) / (1 - root / k)) if root < k else math.inf


def moments(values: Sequence[float], grain: float = 0.0) -> tuple[float, float]:
    """Mean and standard deviation.

    Args:
        values: at least two.
        grain: the step to which both numbers of a difference are rounded: the standard deviation is at least
            what rounding alone gives, grain/√6.
    """
    mean = math.fsum(values) / len(values)
    square = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    # Below this, a spread is that of floating-point numbers.
    spread = math.sqrt(square) if square > (1e-12 * max(1.0, abs(mean))) ** 2 else 0.0
    return mean, max(spread, grain / math.sqrt(6))


def statistic(values: Sequence[float], grain: float = 0.0) -> float:
    """Student's t of at least two differences; 0 if they do not differ and the grain is unknown."""
    mean, spread = moments(values, grain)
    return mean / spread * math.sqrt(len(values)) if spread else 0.0


def half_width(values: Sequence[float], level: float, tau: float = WIDTHS, grain: float = 0.0) -> float:
    """Half the width of the interval that holds the mean at all looks with probability 1 − level.

    It is infinite for too few differences, and if they do not differ and the grain is unknown.
    """
    if len(values) < 2:
        return math.inf
    _, spread = moments(values, grain)
    return quantile(len(values), level, tau) * spread / math.sqrt(len(values)) if spread else math.inf


@lru_cache(maxsize=100_000)
def enough(count: int, t: float, level: float, tau: float = SIGNS, most: int = 10_000) -> int:
    """The number of differences at which the sign is certain if mean and standard deviation stay as they are.

    Args:
        count: number of differences of which t is the statistic.
        most: returned if no smaller number is enough.
    """
    effect = abs(t) / math.sqrt(count)
    fewest, step = count, 1
    while fewest < most and effect * math.sqrt(fewest) < quantile(fewest, level, tau):
        # Exact where it matters, and within a twentieth further out.
        step = max(1, fewest // 20)
        fewest += step
    return min(fewest, most)
