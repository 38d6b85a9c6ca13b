import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.statistics.differences import behind_best, difference, holm, paired, selected
from sweep.means import Mean, mean_interval, wilson


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10).filter(lambda v: statistics.stdev(v) > 1e-6))
def test_the_interval_of_a_mean_is_scipys(values):
    found = mean_interval(statistics.mean(values), statistics.stdev(values), len(values))
    low, _ = stats.t.interval(0.95, len(values) - 1, statistics.mean(values), stats.sem(values))
    assert found.value - found.half_width == pytest.approx(low, abs=1e-9)


def test_one_seed_has_a_mean_and_no_interval():
    assert mean_interval(0.5, None, 1).half_width is None
    assert str(mean_interval(0.5, None, 1)) == "0.500"
    assert mean_interval(0.25, 0.1, 3).signed == "+0.25 ± 0.25"
    mean, p = difference([0.3])
    assert (mean.value, mean.half_width) == (0.3, None) and math.isnan(p)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(2, 8))
def test_intervals_of_accuracies_stay_between_nothing_and_all(mean, deviation, count):
    found = mean_interval(mean, deviation, count)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_an_interval_that_is_cut_shows_its_ends():
    wide = mean_interval(0.284, 0.346, 3)
    assert str(wide) == "0.28 [0.00, 1.00]" and wide.short == "0.28 [0, 1]"
    assert mean_interval(0.5, 0.01, 3).short == "0.500±0.025"


def test_a_mean_of_nothing_is_a_dash_and_equal_seeds_are_marked():
    assert str(mean_interval(None, None, 0, lost=2)) == "– (2 lost)"
    assert str(Mean.of([0.1, 0.1, 0.1])) == "0.100 (equal)"
    assert Mean.of([0.1, 0.1, 0.1]).short == "0.100 (equal)"


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30).filter(lambda v: np.std(v) > 1e-6))
def test_differences_have_the_paired_t_test_of_scipy(values):
    mean, p = difference(values)
    theirs = stats.ttest_1samp(values, 0)
    assert p == pytest.approx(theirs.pvalue)
    low, high = theirs.confidence_interval(0.95)
    assert mean.value - mean.half_width == pytest.approx(low, abs=1e-9)
    assert mean.value + mean.half_width == pytest.approx(high, abs=1e-9)


def test_equal_differences_are_only_as_certain_as_their_number():
    """Three seeds with the same difference on a small test set are no proof."""
    assert difference([0.1] * 3)[1] == 0.25
    assert difference([0.1] * 10)[1] < 0.002
    assert difference([0.0] * 10)[1] == 1


@given(st.integers(2, 30), st.floats(-1, 1), st.integers(0, 100))
def test_rounding_is_no_spread(count, value, seed):
    """Equal differences of accuracies differ in their last digit: a width made of that means nothing."""
    noise = np.random.default_rng(seed).integers(-2, 3, count) * 1e-16
    mean, p = difference(list(value + noise))
    assert mean.half_width == 0 and p in (2.0 ** (1 - count), 1.0)


def test_seeds_that_are_mostly_equal_have_students_interval():
    values = [0.01] * 6 + [0.02, 0.015]
    mean, p = difference(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue) and p < 0.001
    assert (mean.low, mean.high) == pytest.approx((low, high))


def test_lost_runs_are_counted_and_what_they_could_change_is_not_certain():
    differences = [0.02, 0.021, 0.019, 0.02, 0.0205]
    assert paired(differences).p < 0.001 and paired(differences).lost == (0, 0)
    found = paired(differences, [(None, 0.9), (None, 0.9)], chance=0.1)
    assert found.lost == (2, 0) and found.seeds == 5 and found.p == 1
    assert found.mean.value == pytest.approx(0.0201) and found.bound.value < 0
    # Lost runs of the second at chance make the first better still, if less surely.
    other = paired(differences, [(0.9, None)], chance=0.1)
    assert other.bound.value > found.mean.value and paired(differences).p < other.p < 1
    both = paired(differences, [(None, None)], chance=0.1)
    assert both.bound.value == pytest.approx(sum(differences) / 6)


def test_a_pair_of_which_nothing_finished_is_not_tested():
    found = paired([], [(None, 0.9), (0.8, None)], chance=0.1)
    assert math.isnan(found.mean.value) and math.isnan(found.p) and found.lost == (1, 1)


def test_holm_is_that_of_the_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, math.nan, 0.7])[0] == 1 and math.isnan(holm([math.nan])[0])
    assert holm([]) == []


def test_holm_is_statsmodels_bit_by_bit():
    p_values = np.random.default_rng(0).beta(0.3, 3, 60).round(3)  # some are equal
    assert holm(p_values.tolist()) == multipletests(p_values, method="holm")[1].tolist()


@pytest.mark.slow
def test_the_best_of_two_is_a_plain_t_test_and_of_more_a_stricter_one():
    assert behind_best(0.03, arms=2, seeds=5) == 0.03
    adjusted = [behind_best(0.01, arms, 5) for arms in (2, 3, 5, 10, 20, 50)]
    assert adjusted == sorted(adjusted) and adjusted[-1] > 0.1
    assert math.isnan(behind_best(math.nan, 5, 5))
    # Beyond the reach of the simulation stands Bonferroni's bound over all pairs.
    assert behind_best(1e-9, arms=5, seeds=20) == pytest.approx(1e-8)


def test_the_interval_of_a_selected_mean_reaches_further_down_the_more_it_was_selected_from():
    values = [0.9, 0.91, 0.92, 0.9, 0.93]
    plain = selected(values, 1)
    assert plain == pytest.approx(stats.t.interval(0.95, 4, np.mean(values), stats.sem(values)))
    lows = [selected(values, count)[0] for count in (1, 2, 10, 100)]
    assert lows == sorted(lows, reverse=True) and selected(values, 100)[1] == plain[1]
    assert selected([0.9], 5) is None and selected([0.2, 0.99], 50) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "count"), [(0, 3), (3, 3), (7, 20)])
def test_intervals_of_shares_are_scipys(hits, count):
    theirs = stats.binomtest(hits, count).proportion_ci(method="wilson")
    low, high = wilson(hits, count)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    # A table prints 5.55e-17 as it is.
    assert (low == 0) == (hits == 0) and (high == 1) == (hits == count)


def test_rounding_of_large_values_is_no_spread():
    """Other metrics than accuracies can be of any size."""
    values = [1e6 + 1e-9 * step for step in (0, 1, 2)]
    assert difference(values)[0].half_width == 0.0 and difference(values)[1] == 0.25
    assert mean_interval(1e6, 1e-9, 3).equal and not mean_interval(0.5, 1e-9, 3).equal
