"""The law L = E + A/N^α + B/D^β of losses, fitted with intervals over seeds (Hoffmann et al. 2022)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from analysis.statistics.differences import Array
from analysis.statistics.estimates import Estimate
from sweep.means import LEVEL

# The parameters, in the order of a fit; all are above 0 and are estimated as logarithms.
NAMES = ("E", "A", "B", "alpha", "beta")
# Exponents at which a fit begins, and how many of all pairs it goes on from.
_EXPONENTS, _STARTS = (0.1, 0.25, 0.5, 1.0, 2.0), 3
# Residuals of log loss beyond so many standard deviations, as seeds have, count linearly (Huber 1964); the
# least such residual is that of Hoffmann et al. (2022).
_HUBER, _LEAST = 1.345, 1e-3
# The most resamples of the seeds. Up to as many, each there is counts once with its probability.
_RESAMPLES = 300
# Fewer seeds say too little of their spread.
SEEDS = 3
# Exponents stay between these. E, and the terms of a middling trial, are at least this share of the least
# loss, and at most this multiple of the largest: what lies beyond, losses do not tell.
BOUNDS = (0.01, 5.0)
_SHARE, _MULTIPLE = 1e-3, 10.0
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Losses:
    """Losses of trials of one kind. Each array has one element for each trial.

    Attributes:
        loss: above 0.
        data: training samples seen.
        seed: the trial's seed. Trials of one seed are one draw.
        cell: index of the trial's cell; those of a cell differ in the seed alone.
    """

    loss: Array
    data: Array
    seed: Indices
    cell: Indices


@dataclass(frozen=True)
class Law:
    """A fitted law.

    Attributes:
        parameters: in the order of `NAMES`, with intervals over seeds.
        error: the root mean square of what is left of log loss.
        logs: the logarithms of the parameters.
    """

    parameters: tuple[Estimate, ...]
    error: float
    logs: Array

    @property
    def open(self) -> tuple[str, ...]:
        """Names of exponents that ended at one of `BOUNDS`: the losses do not say what they are."""
        ends = np.log(BOUNDS)
        at = np.abs(self.logs[3:, None] - ends).min(1) < 1e-3
        return tuple(name for name, is_open in zip(NAMES[3:], at, strict=True) if is_open)

    def loss(self, size: Array | float, data: Array | float) -> Array:
        """The law's loss of networks of a size, in weights, after so much data."""
        predicted: Array = np.exp(_predicted(self.logs, np.log(size), np.log(data))[0])
        return predicted


@dataclass(frozen=True)
class Contrast:
    """Two laws of the same losses, each in a size of its own.

    Attributes:
        first, second: the laws.
        difference: the second's error less the first's, with an interval over seeds.
        verdict: 1 if the first certainly fits better, −1 if the second does, else 0.
    """

    first: Law
    second: Law
    difference: Estimate
    verdict: int


def contrast(losses: Sequence[Losses], firsts: Sequence[Array], seconds: Sequence[Array]) -> list[Contrast]:
    """The laws of several kinds of trials in two sizes, and which of the two fits better.

    Intervals are pointwise. A verdict is certain at 5 % for all kinds together (Bonferroni).

    Args:
        firsts, seconds: for each kind the two sizes of its trials, in weights.
    """
    return [_contrast(each, sizes, len(losses)) for each, *sizes in zip(losses, firsts, seconds, strict=True)]


def _contrast(losses: Losses, sizes: Sequence[Array], tests: int) -> Contrast:
    width = threshold(losses)
    fits = [fit(losses.loss, size, losses.data, width) for size in sizes]
    found, shares = [], []
    for rows, share in resamples(losses.seed):
        again = [
            fit(losses.loss[rows], size[rows], losses.data[rows], width, one.logs)
            for size, one in zip(sizes, fits, strict=True)
        ]
        found.append([*again[0].logs, *again[1].logs, again[1].error - again[0].error])
        shares.append(share)
    seeds = len(np.unique(losses.seed))
    values = np.array([*fits[0].logs, *fits[1].logs, fits[1].error - fits[0].error])
    drawn = np.array(found).reshape(len(found), len(values))
    logs = [
        _exponential(value, *interval(value, column, shares, seeds))
        for value, column in zip(values[:-1], drawn.T[:-1], strict=True)
    ]
    low, high = of_difference(values[-1], drawn[:, -1], shares, seeds, tests)
    certain = low is not None and high is not None and low * high > 0
    first, second = (
        Law(tuple(logs[place : place + len(NAMES)]), one.error, one.logs)
        for place, one in zip((0, len(NAMES)), fits, strict=True)
    )
    return Contrast(
        first,
        second,
        difference=Estimate(
            float(values[-1]), *of_difference(values[-1], drawn[:, -1], shares, seeds), digits=4
        ),
        verdict=int(math.copysign(1, values[-1])) if certain else 0,
    )


def _exponential(log: float, low: float | None, high: float | None) -> Estimate:
    if low is None or high is None:
        return Estimate(math.exp(log))
    return Estimate(math.exp(log), math.exp(low), math.exp(high))


def threshold(losses: Losses) -> float:
    """The residual of log loss from which on residuals count linearly.

    It follows from the spread over the seeds: of cells the median standard deviation.
    """
    logs = np.log(losses.loss)
    cells = [logs[losses.cell == cell] for cell in np.unique(losses.cell)]
    spreads = [float(each.std(ddof=1)) for each in cells if len(each) > 1]
    return max(_LEAST, _HUBER * float(np.median(spreads))) if spreads else _LEAST


def resamples(seeds: Indices) -> Iterator[tuple[Indices, float]]:
    """Resamples of whole seeds with replacement: the indices of their trials, and each one's probability.

    Few seeds have few resamples: then each is there once. None are there for fewer than `SEEDS`.
    """
    known = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    count = len(known)
    if count < SEEDS:
        return
    if math.comb(2 * count - 1, count) <= _RESAMPLES:
        for drawn in combinations_with_replacement(range(count), count):
            ways = math.factorial(count)
            for place in range(count):
                ways //= math.factorial(drawn.count(place))
            yield np.concatenate([known[place] for place in drawn]), ways / count**count
        return
    draws = np.random.default_rng(0)
    for _ in range(_RESAMPLES):
        yield np.concatenate([known[place] for place in draws.integers(count, size=count)]), 1 / _RESAMPLES


def interval(
    value: float, drawn: Array, shares: Sequence[float], seeds: int
) -> tuple[float | None, float | None]:
    """The 95 % interval of an estimate from those of resampled seeds; None, None without resamples.

    Of few seeds percentiles are too close to each other. Their distances from the estimate are therefore
    widened: by Bessel's √(n / (n − 1)), and by Student's quantile over the normal one, for n seeds.

    Args:
        drawn: the estimates of the resamples.
        shares: the probability of each resample.
        seeds: how many there are.
    """
    from scipy.special import ndtri, stdtrit

    if not len(drawn):
        return None, None
    beyond = (1 - LEVEL) / 2
    wider = math.sqrt(seeds / (seeds - 1)) * float(stdtrit(seeds - 1, 1 - beyond) / ndtri(1 - beyond))
    least, most = np.quantile(drawn, [beyond, 1 - beyond], weights=shares, method="inverted_cdf")
    return float(value + wider * min(0.0, least - value)), float(value + wider * max(0.0, most - value))


def of_difference(
    value: float, drawn: Array, shares: Sequence[float], seeds: int, tests: int = 1
) -> tuple[float | None, float | None]:
    """Student's 95 % interval of a difference of two errors; None, None without resamples.

    Errors are roots of sums of squares, of which resamples of n seeds show less than their spread twice: the
    standard deviation is that of the resamples times n / (n − 1).

    Args:
        drawn, shares, seeds: as for `interval`.
        tests: by which the error probability is divided (Bonferroni).
    """
    from scipy.special import stdtrit

    if not len(drawn):
        return None, None
    spread = math.sqrt(float(np.average((drawn - np.average(drawn, weights=shares)) ** 2, weights=shares)))
    half = float(stdtrit(seeds - 1, 1 - (1 - LEVEL) / 2 / tests)) * spread * seeds / (seeds - 1)
    return float(value - half), float(value + half)


@dataclass(frozen=True)
class Fit:
    """The logarithms of the parameters of a law, and the root mean square of what is left of log loss."""

    logs: Array
    error: float


def fit(loss: Array, size: Array, data: Array, width: float, start: Array | None = None) -> Fit:
    """Fit a law by Huber's loss of log loss.

    Args:
        loss, size, data: of trials, above 0, each of shape (n,).
        width: residual from which on residuals count linearly.
        start: logarithms of parameters to begin at; None: at the best of a grid of exponents.
    """
    from scipy.optimize import least_squares

    # Sizes and data about 1: A and B are then the terms of a middling trial.
    middle = float(np.log(size).mean()), float(np.log(data).mean())
    n, d, target = np.log(size) - middle[0], np.log(data) - middle[1], np.log(loss)

    def residuals(logs: Array) -> Array:
        return _predicted(logs, n, d)[0] - target

    def slopes(logs: Array) -> Array:
        return _predicted(logs, n, d)[1]

    least, most = math.log(_SHARE * float(loss.min())), math.log(_MULTIPLE * float(loss.max()))
    low, high = np.array(
        [[each] * 3 + [math.log(bound)] * 2 for each, bound in zip((least, most), BOUNDS, strict=True)]
    )
    begins = _starts(loss, n, d) if start is None else [_moved(start, -middle[0], -middle[1])]
    fits = [
        least_squares(
            residuals,
            np.clip(begin, low, high),
            slopes,
            bounds=(low, high),
            loss="huber",
            f_scale=width,
            max_nfev=200,
        )
        for begin in begins
    ]
    best = min(fits, key=lambda one: float(one.cost))
    left = residuals(best.x)
    return Fit(_moved(best.x, *middle), float(np.sqrt((left**2).mean())))


def _moved(logs: Array, size: float, data: float) -> Array:
    """The same law with sizes and data in other units: their logarithms grow by these numbers."""
    alpha, beta = np.exp(logs[3:])
    moved: Array = logs + np.array([0, alpha * size, beta * data, 0, 0])
    return moved


def _predicted(logs: Array, n: Array | float, d: Array | float) -> tuple[Array, Array]:
    """The log loss of a law, and its slope by each logarithm of a parameter, (n, 5).

    Args:
        n, d: logarithms of size and data.
    """
    e, a, b, _, _ = logs
    alpha, beta = np.exp(logs[3:])
    terms = np.stack(np.broadcast_arrays(e, a - alpha * np.asarray(n), b - beta * np.asarray(d)))
    most = terms.max(0)
    parts = np.exp(terms - most)
    whole = parts.sum(0)
    shares = parts / whole
    slopes = np.stack([*shares, -shares[1] * alpha * n, -shares[2] * beta * d], axis=-1)
    return most + np.log(whole), slopes


def _starts(loss: Array, n: Array, d: Array) -> list[Array]:
    """The best laws with exponents of a grid, whose other parameters are those of least relative squares."""
    from scipy.optimize import nnls

    found = []
    for alpha in _EXPONENTS:
        for beta in _EXPONENTS:
            terms = np.stack([np.ones_like(n), np.exp(-alpha * n), np.exp(-beta * d)], axis=1)
            weights, left = nnls(terms / loss[:, None], np.ones_like(loss))
            logs = np.log(np.maximum(weights, _SHARE * float(loss.min())))
            found.append((left, np.array([*logs, math.log(alpha), math.log(beta)])))
    return [logs for _, logs in sorted(found, key=lambda one: one[0])[:_STARTS]]
