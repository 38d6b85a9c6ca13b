import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import mean_interval, stretches_below

SPARSITIES = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10).filter(lambda v: statistics.stdev(v) > 1e-6))
def test_the_interval_is_scipys(values):
    found = mean_interval(statistics.mean(values), statistics.stdev(values), len(values))
    low, _ = stats.t.interval(0.95, len(values) - 1, statistics.mean(values), stats.sem(values))
    assert found.value - found.half_width == pytest.approx(low, abs=1e-9)


def test_one_seed_has_a_mean_and_no_interval():
    assert mean_interval(0.5, None, 1).half_width is None
    assert str(mean_interval(0.5, None, 1)) == "0.500"
    assert mean_interval(0.25, 0.1, 3).signed == "+0.250 ± 0.248"


def planted(crossing):
    """A difference that is linear in log density and passes 0 at `crossing`."""
    return [(math.log(1 - s) - math.log(1 - crossing)) / 10 for s in SPARSITIES]


@given(st.floats(0.81, 0.994))
def test_a_planted_crossover_is_found_where_it_is(crossing):
    [run] = stretches_below(SPARSITIES, planted(crossing), 0)
    assert run.start == pytest.approx(crossing) and run.end is None


def test_differences_within_the_margin_count_as_equal():
    assert stretches_below(SPARSITIES, [-0.004] * 6, 0.005) == []
    [run] = stretches_below(SPARSITIES, [-0.004, -0.003, 0, -0.002, -0.1, -0.3], 0.005)
    assert (run.first, run.last, run.end) == (4, 5, None) and 0.98 < run.start < 0.981


def test_below_everywhere_and_below_for_a_while_are_told_apart():
    [run] = stretches_below(SPARSITIES, [-0.1] * 6, 0.005)
    assert run.start is None and run.end is None
    one, two = stretches_below(SPARSITIES, [-0.1, 0.1, 0.1, -0.1, -0.1, 0.1], 0.005)
    assert one.start is None and 0.8 < one.end < 0.9
    assert 0.95 < two.start < 0.98 and 0.99 < two.end < 0.995


def test_nothing_measured_has_no_crossover():
    assert stretches_below([], [], 0.005) == []
