import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruners.schedules import SCHEDULES, kept_counts


def test_densities_are_those_of_the_papers():
    def rounded(name):
        return [round(SCHEDULES[name](t, 5, 0.01), 6) for t in range(1, 6)]

    assert rounded("exponential") == [0.398107, 0.158489, 0.063096, 0.025119, 0.01]
    assert rounded("linear") == [0.802, 0.604, 0.406, 0.208, 0.01]
    cubic = [round(1 - SCHEDULES["cubic"](t, 10, 0.1), 4) for t in range(1, 11)]
    assert cubic == [0.2439, 0.4392, 0.5913, 0.7056, 0.7875, 0.8424, 0.8757, 0.8928, 0.8991, 0.9]


def test_halving_removes_half_of_all_weights_and_then_half_of_what_is_left_to_remove():
    """Rachwan et al. 2022: sparsity s − (s − ½) 2⁻ᵏ, with ¼ instead of ½ where s is at most ½."""
    for sparsity, first in ((0.9, 0.5), (0.75, 0.5), (0.5, 0.25), (0.4, 0.25)):
        expected = [sparsity - (sparsity - first) * 2.0**-k for k in range(8)]
        found = [1 - SCHEDULES["halving"](k + 1, 101, 1 - sparsity) for k in range(8)]
        assert found == pytest.approx(expected, abs=1e-12)
    assert kept_counts("halving", 1000, 100, 6) == [500, 300, 200, 150, 125, 100]
    # Less than a quarter to remove: all of it at once.
    assert kept_counts("halving", 1000, 900, 3) == [900, 900, 900]


def test_counts_in_between_are_rounded_down():
    assert kept_counts("exponential", 24, 6, 3) == [15, 9, 6]


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 10_000), st.integers(1, 30), st.data())
def test_counts_never_rise_and_end_exactly_where_asked(schedule, total, iterations, data):
    kept = data.draw(st.integers(0, total))
    counts = kept_counts(schedule, total, kept, iterations)
    assert len(counts) == iterations
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == kept and counts[0] <= total


def test_an_unknown_schedule_is_refused():
    with pytest.raises(KeyError):
        kept_counts("sudden", 10, 1, 2)
