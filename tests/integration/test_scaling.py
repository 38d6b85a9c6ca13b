"""What many workers are worth; docs/scaling.md gives the figures."""

import pytest

from benchmarks import scaling

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_a_thousand_simulated_workers_have_work_until_the_tail_which_is_short():
    found = scaling.simulate(100_000, 1000)
    assert found.utilisation >= 0.95 and 1 - found.tail / found.end <= 0.05


@pytest.mark.long
def test_two_nodes_work_at_the_same_time():
    """How much more they do is measured by `python -m benchmarks.scaling`: that depends on who else works here."""
    (_, beside_on_one), (_, beside_on_two) = scaling.apart(many=20)
    assert beside_on_one == 0 and beside_on_two >= 0.8
