import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import Resampled, holm, wilson
from sweep.means import mean_interval


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10).filter(lambda v: statistics.stdev(v) > 1e-6))
def test_the_interval_of_a_mean_is_scipys(values):
    found = mean_interval(statistics.mean(values), statistics.stdev(values), len(values))
    low, _ = stats.t.interval(0.95, len(values) - 1, statistics.mean(values), stats.sem(values))
    assert found.value - found.half_width == pytest.approx(low, abs=1e-9)


def test_one_seed_has_a_mean_and_no_interval():
    assert mean_interval(0.5, None, 1).half_width is None
    assert str(mean_interval(0.5, None, 1)) == "0.500"
    assert mean_interval(0.25, 0.1, 3).signed == "+0.250 ± 0.248"
    mean, half, p = Resampled(np.array([[0.3]])).at(0)
    assert mean == 0.3 and math.isnan(half) and math.isnan(p)


@pytest.mark.parametrize("seeds", [2, 3, 7])
def test_few_seeds_have_students_interval_and_p_value(seeds):
    values = np.random.default_rng(seeds).normal(0.1, 1, seeds)
    mean, half, p = Resampled(values[:, None]).at(0)
    low, high = stats.t.interval(0.95, seeds - 1, values.mean(), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


@pytest.mark.parametrize(
    "draw", [lambda r, n: r.normal(size=n), lambda r, n: r.standard_t(3, n)], ids=["normal", "t3"]
)
@pytest.mark.parametrize("seeds", [3, 8, 20])
def test_intervals_of_differences_cover_the_truth(seeds, draw):
    random = np.random.default_rng(seeds)
    covered = 0
    for _ in range(200):
        mean, half, _ = Resampled(draw(random, seeds)[:, None], resamples=2000).at(0)
        covered += abs(mean) <= half
    assert covered >= 2 * 92


def test_the_bootstrap_is_close_to_scipys_studentized_one():
    """Symmetric bootstrap-t, by SciPy's own resampling of |mean* − mean| / error*."""
    values = np.random.default_rng(0).exponential(size=30)

    def ratio(sample, axis):
        return np.abs(sample.mean(axis) - values.mean()) / (sample.std(axis, ddof=1) / math.sqrt(30))

    resampled = stats.bootstrap((values,), ratio, n_resamples=20_000, rng=1, method="percentile")
    expected = np.quantile(resampled.bootstrap_distribution, 0.95) * stats.sem(values)
    assert Resampled(values[:, None]).at(0)[1] == pytest.approx(expected, rel=0.04)


def test_the_same_data_have_the_same_interval():
    values = np.random.default_rng(0).normal(size=(12, 2))
    assert Resampled(values).at(0, 0.3) == Resampled(values.copy()).at(0, 0.3)


@pytest.mark.parametrize("seeds", [5, 12])
def test_between_two_points_is_the_interval_of_the_interpolated_values(seeds):
    values = np.random.default_rng(0).normal(size=(seeds, 2))
    between = (0.7 * values[:, 0] + 0.3 * values[:, 1])[:, None]
    assert Resampled(values).at(0, 0.3) == pytest.approx(Resampled(between).at(0))


def test_equal_differences_are_only_as_certain_as_their_number():
    """Three seeds with the same difference on a small test set are no proof."""
    assert Resampled(np.full((3, 1), 0.1)).at(0)[2] == 0.25
    assert Resampled(np.full((10, 1), 0.1)).at(0)[2] < 0.002
    assert Resampled(np.zeros((10, 1))).at(0)[2] == 1


def test_seeds_that_are_mostly_equal_have_an_interval():
    """A tenth of the resamples of these has no spread: of them no quantile can be had."""
    values = np.array([0.01] * 6 + [0.02, 0.015])
    mean, half, p = Resampled(values[:, None]).at(0)
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue) and p < 0.001
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((low, high))


def test_holm_is_that_of_the_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, math.nan, 0.7])[0] == 1 and math.isnan(holm([math.nan])[0])
    assert holm([]) == []


@pytest.mark.parametrize(("hits", "count"), [(0, 3), (3, 3), (7, 20)])
def test_intervals_of_shares_are_scipys(hits, count):
    theirs = stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits, count) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
