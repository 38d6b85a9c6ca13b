"""Rank correlations: intervals hold what was planted among criteria and seeds, and among independent masks."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from analysis.statistics.coefficients import Array, Coefficient, rank_correlations
from benchmarks.truth.table import Row

Draw = Callable[[np.random.Generator, int], tuple[Array, Array]]
_NAMES = ("τ", "ρ")
_CORRELATION = -0.6
# Nominal 95 %; the lowest of docs/analysis.md, and of ρ where five criteria alone decide.
_STATED, _STATED_FIVE = 0.94, 0.92
# Standard deviations of the effects of criteria and seeds, and of the rest of a mask.
_EQUAL, _CRITERIA, _ALONE = (1.0, 1.0, 1.0), (1.0, 0.3, 0.3), (1.0, 0.0, 0.1)


def rows(replications: int) -> Iterator[Row]:
    # A study of up to a few hundred masks takes a millisecond.
    often = 4 * replications
    for effects, named in ((_EQUAL, "effects 1, 1, 1"), (_CRITERIA, "effects 1, .3, .3")):
        for criteria, seeds in ((5, 5), (5, 20), (10, 5), (8, 10), (20, 20)):
            planted = f"τ = 0, {criteria} criteria × {seeds} seeds, {named}"
            yield from _crossed(planted, often, criteria, seeds, 0.0, effects)
    yield from _crossed(
        "τ = 0, 5 criteria × 5 seeds, effects 1, 0, .1", often, 5, 5, 0.0, _ALONE, _STATED_FIVE
    )
    for criteria, seeds in ((8, 10), (20, 5)):
        truth = _of_normal(-0.9 * 1 / (1 + 0.3**2 + 0.3**2))
        planted = f"τ = {truth['τ']:.2f}, {criteria} criteria × {seeds} seeds"
        yield from _crossed(planted, often, criteria, seeds, -0.9, _CRITERIA)
    yield from _held(replications)
    for name, draw in _INDEPENDENT.items():
        large = [draw(np.random.default_rng(seed), 100_000) for seed in range(3)]
        truth = {
            "τ": float(np.mean([stats.kendalltau(*one).statistic for one in large])),
            "ρ": float(np.mean([stats.spearmanr(*one).statistic for one in large])),
        }
        # Of the most masks, which are left out in blocks, the kinds that textbook variances fail.
        for masks in (20, 200, *((1_500,) if "normal" not in name else ())):
            planted = f"{masks:,} independent masks, {name}"
            yield from _independent(planted, draw, truth, often if masks < 1_500 else replications, masks)


def _crossed(
    planted: str,
    replications: int,
    criteria: int,
    seeds: int,
    correlation: float,
    effects: tuple[float, float, float],
    stated: float = _STATED,
) -> Iterator[Row]:
    """Every criterion with every seed; only effects of criteria are correlated."""
    random = np.random.default_rng([criteria, seeds])
    of = np.repeat(np.arange(criteria), seeds), np.tile(np.arange(seeds), criteria)
    share = effects[0] ** 2 / sum(effect**2 for effect in effects)
    truth = _of_normal(correlation * share)
    hits = dict.fromkeys(truth, 0)
    for _ in range(replications):
        first, second, rest = (
            scale * _normal(random, count, r)
            for scale, count, r in zip(
                effects, (criteria, seeds, criteria * seeds), (correlation, 0, 0), strict=True
            )
        )
        before, after = first[:, of[0]] + second[:, of[1]] + rest
        for name, found in zip(_NAMES, rank_correlations(before, after, *of), strict=True):
            hits[name] += _holds(found, truth[name])
    for name, count in hits.items():
        yield Row(5, f"interval of {name} holds it", planted, "at least", stated, count, replications)


def _held(replications: int) -> Iterator[Row]:
    """Three seeds are too few to resample: τ is that of these seeds, and of any number of criteria."""
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(replications):
        second = _normal(random, 3, 0)

        def masks(criteria: int, second: Array = second) -> tuple[Array, Array, Array, Array]:
            of = np.repeat(np.arange(criteria), 3), np.tile(np.arange(3), criteria)
            first, rest = _normal(random, criteria, -0.6), _normal(random, 3 * criteria, 0)
            return *(first[:, of[0]] + second[:, of[1]] + 0.3 * rest), *of

        true = stats.kendalltau(*masks(2_000)[:2]).statistic
        hits += _holds(rank_correlations(*masks(10))[0], true)
    yield Row(
        5,
        "interval of τ of these seeds holds it",
        "10 criteria × 3 seeds",
        "at least",
        _STATED,
        hits,
        replications,
    )


def _independent(
    planted: str, draw: Draw, truth: dict[str, float], replications: int, masks: int
) -> Iterator[Row]:
    """As combinations of the oracle are, of one network."""
    random = np.random.default_rng(masks)
    of = np.arange(masks), np.zeros(masks, np.int64)
    hits = dict.fromkeys(truth, 0)
    for _ in range(replications):
        one = draw(random, masks)
        for name, found in zip(_NAMES, rank_correlations(*one, *of), strict=True):
            if name in truth:
                hits[name] += _holds(found, truth[name])
    for name, count in hits.items():
        yield Row(13, f"interval of {name} holds it", planted, "at least", _STATED, count, replications)


def _holds(found: Coefficient, true: float) -> bool:
    return found.low <= true <= found.high


def _of_normal(correlation: float) -> dict[str, float]:
    """τ and ρ of normal pairs (Kruskal 1958)."""
    return {
        "τ": 2 / math.pi * math.asin(correlation),
        "ρ": 6 / math.pi * math.asin(correlation / 2),
    }


def _normal(random: np.random.Generator, count: int, correlation: float = _CORRELATION) -> Array:
    one, other = random.normal(size=(2, count))
    return np.stack([one, correlation * one + math.sqrt(1 - correlation**2) * other])


def _heavy(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    one, other = _normal(random, count) / np.sqrt(random.chisquare(3, count) / 3)
    return one, other


def _spreading(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    one, other = random.normal(size=(2, count))
    return one, _CORRELATION * one + np.abs(one) * other


def _tied(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    one, other = _normal(random, count).round()
    return one, other


_INDEPENDENT: dict[str, Draw] = {
    # Which have the same ranks.
    "normal, lognormal × logistic": lambda random, count: tuple(_normal(random, count)),
    "t, 3 d.f.": _heavy,
    "heteroscedastic": _spreading,
    "tied": _tied,
}
