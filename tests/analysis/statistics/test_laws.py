"""Planted laws of loss are found inside their intervals, and the better of two sizes is said to be better."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import laws
from analysis.statistics.laws import Losses, contrast, fit
from benchmarks.truth.scaling import PLANTED, loss, study


@pytest.mark.parametrize(
    "planted",
    [PLANTED, (0.05, 3.0, 500.0, 0.3, 0.8), (1.7, 400.0, 410.0, 0.34, 0.28), (0.01, 8.0, 2.0, 0.9, 0.2)],
)
def test_a_law_without_noise_is_found_exactly(planted):
    size, data = (each.ravel() for each in np.meshgrid(np.geomspace(1e3, 1e6, 7), np.geomspace(1e3, 1e7, 6)))
    found = fit(loss(size, data, planted), size, data, 1e-3)
    assert np.exp(found.logs) == pytest.approx(planted, rel=1e-3)
    assert found.error < 1e-6


@settings(deadline=None, max_examples=30)
@given(st.floats(-2, 2), st.floats(-2, 2), st.lists(st.floats(-1, 1), min_size=5, max_size=5))
def test_slopes_are_those_of_finite_differences(n, d, logs):
    logs = np.array(logs)
    value, slopes = laws._predicted(logs, n, d)
    for place in range(5):
        step = np.eye(5)[place] * 1e-6
        difference = laws._predicted(logs + step, n, d)[0] - laws._predicted(logs - step, n, d)[0]
        assert slopes[place] == pytest.approx(difference / 2e-6, abs=1e-6)
    assert value == pytest.approx(
        math.log(
            sum(map(math.exp, (logs[0], logs[1] - math.exp(logs[3]) * n, logs[2] - math.exp(logs[4]) * d)))
        )
    )


def test_units_of_size_and_data_change_the_factors_alone():
    losses, mean, _ = study(np.random.default_rng(0), 3)
    one = fit(losses.loss, mean, losses.data, 0.03)
    other = fit(losses.loss, mean / 1000, losses.data * 64, 0.03)
    (e, a, b, alpha, beta), moved = np.exp(one.logs), np.exp(other.logs)
    assert moved == pytest.approx((e, a / 1000**alpha, b * 64**beta, alpha, beta), rel=1e-3)
    assert other.error == pytest.approx(one.error, rel=1e-6)


@pytest.mark.slow
def test_an_exponent_that_losses_do_not_tell_ends_at_a_bound_and_is_said_to_be_open():
    size, data = (each.ravel() for each in np.meshgrid(np.geomspace(1e3, 1e6, 5), (1e3, 2e3, 4e3)))
    steep = 0.2 + 30 / size**0.45 + np.where(data == 1e3, 1.0, 0.0)
    losses = Losses(steep, data, np.zeros(15, int), np.arange(15))
    [found] = contrast([losses], [size], [size])
    assert found.first.open == ("beta",) and found.first.parameters[4].value == pytest.approx(5, rel=1e-2)
    [found] = contrast([replace(losses, loss=loss(size, data))], [size], [size])
    assert found.first.open == ()


@pytest.mark.slow
def test_few_outliers_move_a_law_little():
    draws = np.random.default_rng(1)
    losses, mean, _ = study(draws, 5, noise=0.01)
    width = laws.threshold(losses)
    plain = fit(losses.loss, mean, losses.data, width)
    spoilt = losses.loss.copy()
    spoilt[::40] *= 3
    robust, squares = (fit(spoilt, mean, losses.data, each) for each in (width, 1e6))
    away = [np.abs(one.logs - plain.logs)[3:].max() for one in (robust, squares)]
    assert away[0] < 0.15 and away[0] < away[1] / 2


def test_the_threshold_follows_the_spread_over_seeds():
    draws = np.random.default_rng(2)
    loss = np.exp(draws.normal(0, 0.02, (200, 8))).ravel()
    cell = np.repeat(np.arange(200), 8)
    found = laws.threshold(Losses(loss, loss, np.tile(np.arange(8), 200), cell))
    assert found == pytest.approx(1.345 * 0.02, rel=0.1)
    alone = Losses(loss[:5], loss[:5], np.zeros(5, int), np.arange(5))
    assert laws.threshold(alone) == 1e-3


@pytest.mark.parametrize("count", [3, 4, 5])
def test_all_resamples_of_few_seeds_are_there_with_their_probability(count):
    seeds = np.repeat(np.arange(10, 10 + count), 2)
    found = list(laws.resamples(seeds))
    assert len(found) == math.comb(2 * count - 1, count)
    assert sum(share for _, share in found) == pytest.approx(1)
    assert all(len(rows) == len(seeds) for rows, _ in found)
    # The mean over resamples of how often a trial is drawn is 1.
    drawn = sum(share * np.bincount(rows, minlength=len(seeds)) for rows, share in found)
    assert drawn == pytest.approx(np.ones(len(seeds)))


def test_resamples_of_many_seeds_are_drawn_and_those_of_two_are_none():
    assert len(list(laws.resamples(np.arange(12)))) == 300 and not list(laws.resamples(np.array([0, 1, 1])))


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5, 12])
def test_the_interval_of_a_mean_is_about_students_and_holds_it(count):
    """A mean is the estimate whose right interval is known."""
    draws, held, widths = np.random.default_rng(3), 0, []
    for _ in range(200):
        values = draws.normal(size=count)
        found = list(laws.resamples(np.arange(count)))
        means = np.array([values[rows].mean() for rows, _ in found])
        low, high = laws.interval(values.mean(), means, [share for _, share in found], count)
        held += low <= 0 <= high
        student = 2 * stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / math.sqrt(count)
        widths.append((high - low) / student)
    assert held >= 0.92 * 200 and 0.9 < np.median(widths) < 1.5


@pytest.mark.slow
def test_which_size_fits_better_is_said_of_either():
    """How often intervals hold the planted parameters, and sizes are wrongly preferred, benchmarks.truth counts."""
    for truth, verdict in (("mean", 1), ("final", -1)):
        losses, mean, kept = study(np.random.default_rng(5), 4, truth=truth)
        [found] = contrast([losses], [mean], [kept])
        assert found.verdict == verdict and verdict * found.difference.value > 0


def test_several_comparisons_are_corrected_and_two_seeds_compare_nothing():
    values, shares = np.linspace(0, 2, 11), [1 / 11] * 11
    one, many = (laws.of_difference(1.0, values, shares, 3, tests) for tests in (1, 10))
    assert one[1] - 1 == pytest.approx(stats.t.ppf(0.975, 2) * values.std() * 1.5)
    ratio = stats.t.ppf(1 - 0.025 / 10, 2) / stats.t.ppf(0.975, 2)
    assert (many[1] - 1) / (one[1] - 1) == pytest.approx(ratio)
    few, mean, kept = study(np.random.default_rng(0), 2)
    [found] = contrast([few], [mean], [kept])
    assert found.verdict == 0 and found.difference.low is None and found.first.parameters[0].low is None
