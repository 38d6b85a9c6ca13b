import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import coefficients
from analysis.statistics.coefficients import Coefficient, rank_correlations


def kendall(*masks):
    return rank_correlations(*masks)[0]


def spearman(*masks):
    return rank_correlations(*masks)[1]


BOTH = {"tau": (kendall, stats.kendalltau), "rho": (spearman, stats.spearmanr)}


def crossed(criteria, seeds):
    """Every criterion with every seed."""
    return np.repeat(np.arange(criteria), seeds), np.tile(np.arange(seeds), criteria)


def by_hand(theirs, x, y, clusters):
    """The jackknife's variance on Fisher's scale, leaving out a cluster after the other."""
    left = np.array(
        [math.atanh(theirs(x[clusters != c], y[clusters != c]).statistic) for c in np.unique(clusters)]
    )
    return (len(left) - 1) ** 2 / len(left) * left.var(ddof=1)


@pytest.mark.parametrize("name", BOTH)
@given(seed=st.integers(0, 1000), count=st.integers(5, 40))
def test_coefficients_are_scipys(name, seed, count):
    ours, theirs = BOTH[name]
    x, y = np.random.default_rng(seed).normal(size=(2, count)).round(1)
    found = ours(x, y, np.arange(count), np.zeros(count, int))
    assert found.value == pytest.approx(theirs(x, y).statistic, nan_ok=True)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("decimals", [1, 9], ids=["tied", "untied"])
def test_the_interval_is_that_of_leaving_out_each_criterion_and_each_seed(name, decimals):
    ours, theirs = BOTH[name]
    x, y = np.random.default_rng(3).normal(size=(2, 42)).round(decimals)
    y = (x + y).round(decimals)
    criteria, seeds = crossed(6, 7)
    criteria = np.where(criteria == 5, 4, criteria)  # a criterion with two arms: twice as many masks
    variances = [by_hand(theirs, x, y, clusters) for clusters in (criteria, seeds, 100 * criteria + seeds)]
    variance = max(variances[0], variances[1], variances[0] + variances[1] - variances[2])
    freedom = variance**2 / (variances[0] ** 2 / 4 + variances[1] ** 2 / 6)
    middle = math.atanh(theirs(x, y).statistic)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    found = ours(x, y, criteria, seeds)
    assert (found.low, found.high) == pytest.approx((math.tanh(middle - half), math.tanh(middle + half)))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(middle) / math.sqrt(variance), freedom))


@pytest.mark.parametrize("name", BOTH)
def test_few_seeds_are_held_fixed_and_criteria_are_left_out_alone(name):
    ours, theirs = BOTH[name]
    x, y = np.random.default_rng(0).normal(size=(2, 24))
    criteria, seeds = crossed(6, 4)
    found = ours(x, y, criteria, seeds)
    half = stats.t.ppf(0.975, 5) * math.sqrt(by_hand(theirs, x, y, criteria))
    assert math.atanh(found.high) - math.atanh(found.value) == pytest.approx(half)
    assert found == ours(x, y, 7 - criteria, np.zeros(24, int))  # as if of one seed; names do not matter


@pytest.mark.parametrize("ours", [kendall, spearman])
def test_too_few_of_both_have_no_interval(ours):
    x, y = np.random.default_rng(0).normal(size=(2, 16))
    found = ours(x, y, *crossed(4, 4))
    assert not math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.p)


@pytest.mark.parametrize("name", BOTH)
def test_of_many_masks_every_cluster_is_left_out_likewise(name, monkeypatch):
    ours, _ = BOTH[name]
    x, y = np.random.default_rng(0).normal(size=(2, 96)).round(1)
    few = ours(x, y, *crossed(8, 12))
    monkeypatch.setattr(coefficients, "_PAIRS", 90)
    monkeypatch.setattr(coefficients, "_BLOCKS", 96)
    many = ours(x, y, *crossed(8, 12))
    assert (many.value, many.low, many.p) == pytest.approx((few.value, few.low, few.p), rel=1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_of_more_clusters_than_can_be_left_out_one_by_one_blocks_are(name, monkeypatch):
    """Independent masks: the width of the interval stays, whatever the number of blocks."""
    ours, _ = BOTH[name]
    x, y = np.random.default_rng(0).normal(size=(2, 600))
    exact = ours(x, y, np.arange(600), np.zeros(600, int))
    monkeypatch.setattr(coefficients, "_PAIRS", 500)
    blocks = ours(x, y, np.arange(600), np.zeros(600, int))
    assert blocks.value == pytest.approx(exact.value)
    assert blocks.high - blocks.low == pytest.approx(exact.high - exact.low, rel=0.35)
    assert blocks == ours(x, y, np.arange(600), np.zeros(600, int))


@pytest.mark.parametrize("ours", [kendall, spearman])
def test_the_scale_of_losses_does_not_matter(ours):
    x, y = np.random.default_rng(1).normal(size=(2, 30))
    assert ours(np.exp(3 * x), 1 / (1 + np.exp(-y)), *crossed(5, 6)) == ours(x, y, *crossed(5, 6))


@pytest.mark.parametrize("ours", [kendall, spearman])
def test_copies_of_masks_add_no_certainty(ours):
    x, y = np.random.default_rng(1).normal(size=(2, 10))
    once = ours(x, y, np.arange(10), np.zeros(10, int))
    criteria, seeds = crossed(10, 30)
    often = ours(x[criteria], y[criteria], criteria, seeds)
    assert often.high - often.low > 0.9 * (once.high - once.low)


def test_coefficients_of_next_to_nothing_are_undefined():
    one, nine = np.zeros(1, int), np.arange(9)
    assert str(kendall(one / 1, one / 1, one, one)) == "undefined" == str(Coefficient(math.nan))
    for ours in (kendall, spearman):
        assert str(ours(np.ones(9), nine / 1, nine, nine)) == "undefined"
    assert str(Coefficient(-0.5)) == "−0.50"


@pytest.mark.parametrize("ours", [kendall, spearman])
def test_a_perfect_order_has_no_interval(ours):
    found = ours(np.arange(9.0), -np.arange(9.0), np.arange(9), np.arange(9))
    assert found.value == pytest.approx(-1) and math.isnan(found.low) and math.isnan(found.p)
