"""What many workers are worth: the figures that docs/scaling.md gives, as they must at least be."""

import pytest

from benchmarks import scaling

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_a_thousand_simulated_workers_have_work_until_the_tail_which_is_short():
    found = scaling.simulate(100_000, 1000)
    assert found.utilisation >= 0.95 and 1 - found.tail / found.end <= 0.05
    assert found.cpu / 100_000 < 0.005, "seconds of the scheduler for a trial"


@pytest.mark.long
def test_two_nodes_do_almost_twice_what_one_does():
    one, two = scaling.apart(many=20)
    assert two / one >= 1.8
