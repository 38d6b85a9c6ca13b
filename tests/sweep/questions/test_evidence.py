import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import stdtrit

from sweep.questions.evidence import SIGNS, WIDTHS, e_value, enough, half_width, moments, quantile, statistic


@pytest.mark.parametrize(
    ("t", "count", "tau"), [(0.5, 4, 3), (-4.0, 5, 3), (10.6, 4, 3), (2.5, 12, 1), (3.0, 40, 1)]
)
def test_the_e_value_is_the_ratio_of_the_likelihoods_of_t(t, count, tau):
    def under(effect):
        shifted = stats.nct.pdf(t, count - 1, effect * math.sqrt(count))
        return shifted * stats.norm.pdf(effect, scale=tau)

    mixed, _ = integrate.quad(under, -8 * tau, 8 * tau, limit=200, points=[0, t / math.sqrt(count)])
    assert e_value(t, count, tau) == pytest.approx(mixed / stats.t.pdf(t, count - 1), rel=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(4, 500), st.floats(0.001, 0.2), st.sampled_from([SIGNS, WIDTHS]))
def test_the_quantile_is_where_the_e_value_is_enough(count, level, tau):
    t = quantile(count, level, tau)
    if math.isfinite(t):
        assert e_value(t, count, tau) == pytest.approx(1 / level, rel=1e-4)


def test_the_interval_is_wider_than_that_of_a_fixed_number_of_seeds():
    for tau in (SIGNS, WIDTHS):
        assert all(quantile(n, 0.05, tau) > stdtrit(n - 1, 0.975) for n in range(2, 300))


def test_looking_after_every_seed_is_rarely_wrong():
    """An ordinary t-test looked at as often would find something in more than a third of these studies."""
    values = np.random.default_rng(1).normal(size=(1_000, 100))
    counts = np.arange(1, 101)
    means = values.cumsum(1) / counts
    squares = (values**2).cumsum(1) - counts * means**2
    t = means[:, 3:] / np.sqrt(squares / (counts - 1.0).clip(1))[:, 3:] * np.sqrt(counts[3:])
    bounds = np.array([quantile(int(n), 0.05) for n in counts[3:]])
    ordinary = stats.t.ppf(0.975, counts[3:] - 1)
    assert (np.abs(t) >= bounds).any(1).mean() <= 0.05 < 0.3 < (np.abs(t) >= ordinary).any(1).mean()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30).filter(lambda values: np.std(values) > 1e-6))
def test_the_statistic_is_scipys(values):
    assert statistic(values) == pytest.approx(stats.ttest_1samp(values, 0).statistic, rel=1e-6, abs=1e-9)


def test_differences_without_spread_prove_nothing_unless_their_rounding_is_known():
    assert statistic([0.1] * 6) == 0 and half_width([0.1] * 6, 0.05) == math.inf
    assert moments([0.1] * 6, grain=0.01)[1] == pytest.approx(0.01 / math.sqrt(6))
    assert statistic([0.1] * 6, grain=0.01) > quantile(6, 0.05)


def test_the_seeds_that_are_enough_are_those_from_which_the_sign_is_certain():
    count = enough(6, 3.0, 0.05)
    effect = 3 / math.sqrt(6)
    assert effect * math.sqrt(count) >= quantile(count, 0.05)
    assert effect * math.sqrt(count - 1) < quantile(count - 1, 0.05)
    assert enough(6, 0.0, 0.05, most=300) == 300
