"""Rank correlations over masks, with intervals over the criteria and seeds that were drawn."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweep.means import LEVEL

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Signs = npt.NDArray[np.float32]

# With fewer clusters than this the jackknife's interval covers too little (with four: 81 to 88 %).
ENOUGH = 5
# For up to this many masks, all pairs of masks are in a matrix.
_PAIRS = 1_000
# For more masks, and more clusters than this, the jackknife omits this many random blocks of clusters.
_BLOCKS = 50


@dataclass(frozen=True)
class Coefficient:
    """A correlation with its 95 % interval and its two-sided p-value; NaN where one is undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined"
        interval = f" [{self.low:.2f}, {self.high:.2f}]" if not math.isnan(self.low) else ""
        return f"{self.value:.2f}{interval}".replace("-", "−")


def rank_correlations(
    before: Array, after: Array, criteria: Codes, seeds: Codes
) -> tuple[Coefficient, Coefficient]:
    """Kendall's τ-b (1945) and Spearman's ρ (1904) of n masks. For ρ, ties share their mean rank.

    Args:
        before, after: two measures of each mask, of shape (n,).
        criteria, seeds: the criterion and the seed of each mask, as any integers, of shape (n,). Criteria (or
            seeds) with fewer than `ENOUGH` values are held fixed: the interval does not cover others.
    """
    ways: tuple[_Without, _Without]
    if len(before) > _PAIRS:
        ways = _one_by_one(_tau, before, after), _one_by_one(_rho, before, after)
    else:
        signs = _signs(before), _signs(after)
        ways = _concordance(*signs), _ranks(*signs)
    tau, rho = (_jackknifed(without, criteria, seeds) for without in ways)
    return tau, rho


# (the cluster 0 … G − 1 of each mask, G) → the coefficient without each cluster in turn, of shape (G,).
# Masks of cluster −1 are never omitted.
_Without = Callable[[Codes, int], Array]


def _jackknifed(without: _Without, criteria: Codes, seeds: Codes) -> Coefficient:
    """A coefficient with its interval, on Fisher's scale (atanh) with Student's quantile.

    The variance is that of two-way clusters (Cameron, Gelbach & Miller 2011), criteria + seeds − their
    intersections, and never below the larger of the first two. Each of the three is a delete-one-cluster
    jackknife (Efron & Stein 1981: too large rather than too small). Degrees of freedom are Satterthwaite's
    (1946).
    """
    [value] = without(np.full(len(criteria), -1), 1)
    if not abs(value) < 1 - 1e-9:
        return Coefficient(float(value))
    ways = [codes for codes, count in map(_numbered, (criteria, seeds)) if count >= ENOUGH]
    if not ways:
        return Coefficient(float(value))
    variances, counts = np.transpose([_variance(without, codes) for codes in ways])
    variance = variances.max()
    if len(ways) == 2:
        both = ways[0] * (ways[1].max() + 1) + ways[1]
        variance = max(variance, variances.sum() - _variance(without, _numbered(both)[0])[0])
    # A variance of mere rounding errors, or an undefined one, makes no interval.
    if not variance > 1e-12:
        return Coefficient(float(value))
    from scipy.special import stdtr, stdtrit

    freedom = variance**2 / (variances**2 / (counts - 1)).sum()
    middle, error = math.atanh(value), math.sqrt(variance)
    half = stdtrit(freedom, (1 + LEVEL) / 2) * error
    p = 2 * stdtr(freedom, -abs(middle) / error)
    return Coefficient(float(value), math.tanh(middle - half), math.tanh(middle + half), float(p))


def _variance(without: _Without, codes: Codes) -> tuple[float, int]:
    """The jackknife variance of one way to cluster, on Fisher's scale, and the number of clusters."""
    count = int(codes.max()) + 1
    if len(codes) > _PAIRS and count > _BLOCKS:
        codes = np.random.default_rng(0).permutation(count)[codes] % _BLOCKS
        count = _BLOCKS
    left = np.arctanh(np.clip(without(codes, count), -1 + 1e-9, 1 - 1e-9))
    return (count - 1) / count * float(((left - left.mean()) ** 2).sum()), count


def _numbered(values: Codes) -> tuple[Codes, int]:
    found, codes = np.unique(values, return_inverse=True)
    return codes, len(found)


def _signs(values: Array) -> Signs:
    """Signs of the differences of all pairs: −1, 0 or 1, of shape (n, n). Their sums are exact."""
    places = np.unique(values, return_inverse=True)[1].astype(np.float32)  # exact, in half the memory
    signs: Signs = np.sign(places[:, None] - places)
    return signs


def _concordance(*signs: Signs) -> _Without:
    """τ from the signs of all pairs: their sum, minus twice a cluster's rows, plus the pairs within it."""
    counts = np.stack([signs[0] * signs[1], np.abs(signs[0]), np.abs(signs[1])])
    rows = counts.sum(2)
    totals = rows.sum(1, dtype=np.float64)

    def without(codes: Codes, count: int) -> Array:
        within = np.einsum("kij,ij->ki", counts, (codes[:, None] == codes).astype(np.float32))
        placed = np.where(codes < 0, count, codes)
        gone = np.stack([np.bincount(placed, own, count + 1)[:count] for own in 2 * rows - within])
        product, first, second = totals[:, None] - gone
        return _divided(product, np.sqrt(first * second))

    return without


def _ranks(*signs: Signs) -> _Without:
    """ρ from the signs of all pairs: a row's sum is twice the mask's rank, centred at 0."""

    def without(codes: Codes, count: int) -> Array:
        gone = (codes[:, None] == np.arange(count)).astype(np.float32)
        # With a cluster for each mask, its own column is the sum of its columns.
        alone = count == len(codes) > 1
        first, second = (
            np.where(gone, 0, one.sum(1)[:, None] - (one[:, codes.argsort()] if alone else one @ gone))
            for one in signs
        )
        product, *squares = (
            np.einsum("ic,ic->c", one, other, dtype=np.float64)
            for one, other in ((first, second), (first, first), (second, second))
        )
        return _divided(product, np.sqrt(squares[0] * squares[1]))

    return without


def _divided(one: Array, other: Array) -> Array:
    return np.divide(one, other, out=np.full_like(one, np.nan), where=other > 0)


def _one_by_one(coefficient: Callable[[Codes, Codes], float], before: Array, after: Array) -> _Without:
    """A coefficient computed anew without each cluster: for masks too many for a matrix of pairs."""
    first, second = (np.unique(values, return_inverse=True)[1] for values in (before, after))

    def without(codes: Codes, count: int) -> Array:
        kept = (codes != cluster for cluster in range(count))
        return np.array([coefficient(first[these], second[these]) for these in kept])

    return without


def _tau(before: Codes, after: Codes) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(before, after, method="asymptotic").statistic)


def _rho(before: Codes, after: Codes) -> float:
    ranks = [_mean_ranks(places) - (len(places) + 1) / 2 for places in (before, after)]
    norm = math.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float(ranks[0] @ ranks[1]) / norm if norm else math.nan


def _mean_ranks(places: Codes) -> Array:
    """Ranks from 1, equal ones with their mean; of integers, of which some may be missing."""
    counts = np.bincount(places)
    ranks: Array = (counts.cumsum() - (counts - 1) / 2)[places]
    return ranks
