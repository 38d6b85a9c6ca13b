"""Rank correlations of masks, with intervals over what was drawn: criteria and seeds, not single masks."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweep.means import LEVEL

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Signs = npt.NDArray[np.float32]

# With fewer clusters than this a jackknife covers too little (four: 81 to 88 %).
ENOUGH = 5
# Up to so many masks each pair of them is looked at in a matrix.
_PAIRS = 1_000
# Of more masks, and more clusters than this, so many random blocks of clusters are left out.
_BLOCKS = 50


@dataclass(frozen=True)
class Coefficient:
    """A correlation with its 95 % interval and its two-sided p-value; NaN where there is none."""

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
    """Kendall's τ-b (1945) and Spearman's ρ (1904) of n masks; of ρ, ties share their mean rank.

    Args:
        before, after: two numbers of each mask; both of shape (n,).
        criteria, seeds: which criterion and which seed each mask has, as any whole numbers; of shape (n,).
            One of them with fewer than `ENOUGH` values is held fixed: the interval is of these.
    """
    ways: tuple[_Without, _Without]
    if len(before) > _PAIRS:
        ways = _one_by_one(_tau, before, after), _one_by_one(_rho, before, after)
    else:
        signs = _signs(before), _signs(after)
        ways = _concordance(*signs), _ranks(*signs)
    tau, rho = (_jackknifed(without, criteria, seeds) for without in ways)
    return tau, rho


# The cluster 0 … G − 1 of each mask, and G → the coefficient without each cluster in turn, of shape (G,).
# Masks of cluster −1 are never left out.
_Without = Callable[[Codes, int], Array]


def _jackknifed(without: _Without, criteria: Codes, seeds: Codes) -> Coefficient:
    """Fisher's scale, atanh; Student's quantile.

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
    # A jackknife of rounding errors alone has nothing to go by; nor has one with an undefined value.
    if not variance > 1e-12:
        return Coefficient(float(value))
    from scipy.special import stdtr, stdtrit

    freedom = variance**2 / (variances**2 / (counts - 1)).sum()
    middle, error = math.atanh(value), math.sqrt(variance)
    half = stdtrit(freedom, (1 + LEVEL) / 2) * error
    p = 2 * stdtr(freedom, -abs(middle) / error)
    return Coefficient(float(value), math.tanh(middle - half), math.tanh(middle + half), float(p))


def _variance(without: _Without, codes: Codes) -> tuple[float, int]:
    """Of one way to cluster, on Fisher's scale, and of how many clusters it is."""
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
    """Of the difference of each pair: −1, 0 or 1, of shape (n, n). Sums of them are exact."""
    places = np.unique(values, return_inverse=True)[1].astype(np.float32)  # half the memory, as exact
    signs: Signs = np.sign(places[:, None] - places)
    return signs


def _concordance(*signs: Signs) -> _Without:
    """τ from the signs of all pairs: all of them, less twice the rows of a cluster, plus its own pairs."""
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
    """ρ from the signs of all pairs: their sums are the ranks, twice and around 0."""

    def without(codes: Codes, count: int) -> Array:
        gone = (codes[:, None] == np.arange(count)).astype(np.float32)
        first, second = (
            np.where(gone, 0, (one.sum(1)[:, None] - one @ gone).astype(np.float64)) for one in signs
        )
        return _divided((first * second).sum(0), np.sqrt((first**2).sum(0) * (second**2).sum(0)))

    return without


def _divided(one: Array, other: Array) -> Array:
    return np.divide(one, other, out=np.full_like(one, np.nan), where=other > 0)


def _one_by_one(coefficient: Callable[[Array, Array], float], before: Array, after: Array) -> _Without:
    """For many masks, of which a matrix of pairs is too large."""

    def without(codes: Codes, count: int) -> Array:
        kept = (codes != cluster for cluster in range(count))
        return np.array([coefficient(before[these], after[these]) for these in kept])

    return without


def _tau(before: Array, after: Array) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(before, after, method="asymptotic").statistic)


def _rho(before: Array, after: Array) -> float:
    from scipy.stats import rankdata

    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (before, after)]
    norm = math.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float(ranks[0] @ ranks[1]) / norm if norm else math.nan
