import numpy as np
import pytest

from sweep.questions.pairs import chosen, collapses, missing, paired, pairs
from sweep.questions.planner import ACCURACY, Measure, Wanted


def test_a_seed_that_is_late_holds_up_those_after_it():
    """To pass over it would leave out the slow runs, which may be those that diverge."""
    measured = {("a", 0.9): {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.5}, ("b", 0.9): {0: 0.4, 1: 0.3, 3: 0.1}}
    found = pairs(measured, ("a", "b"), 0.9, ACCURACY)
    assert found.differences == pytest.approx((0.1, 0.2)) and found.seeds == 2


def test_lost_runs_are_counted_and_left_out():
    found = paired((0.5, None, 0.5), (0.4, 0.4, None), ACCURACY)
    assert found.differences == pytest.approx((0.1,))
    assert found.seeds == 3 and found.lost == (1, 1)


@pytest.mark.parametrize("measure", [ACCURACY, Measure("perplexity", higher=False)])
def test_a_run_far_below_the_others_of_its_arm_has_collapsed(measure):
    sign = 1 if measure.higher else -1
    usual = tuple(sign * value for value in (0.81, 0.8, 0.79, 0.805, 0.795))
    found = paired((*usual, sign * 0.5), (*usual, sign * 0.8), measure)
    assert found.collapsed == (1, 0) and len(found.differences) == 5
    assert paired((*usual, sign * 1.1), (*usual, sign * 0.8), measure).collapsed == (0, 0)


def test_an_arm_of_which_half_the_runs_fall_does_not_collapse_but_varies():
    falling = (0.8, 0.1, 0.79, 0.1, 0.81, 0.12)
    assert not any(map(any, collapses((falling, (0.8, 0.79, 0.81, 0.8, 0.79, 0.81)), ACCURACY)))


def test_normal_runs_hardly_ever_count_as_collapsed():
    random = np.random.default_rng(2)
    found = [
        any(map(any, collapses([tuple(run) for run in random.normal(0.5, 0.01, (2, seeds))], ACCURACY)))
        for seeds in (4, 6, 10)
        for _ in range(200)
    ]
    assert np.mean(found) < 0.01


def test_only_what_is_neither_finished_nor_running_is_started_on_free_workers():
    measured = {("a", 0.9): {0: 0.5}}
    listed = [*missing(measured, ("a", "b"), 0.9, range(3))]
    assert listed == [
        Wanted(arm, 0.9, seed) for seed, arm in ((0, "b"), (1, "a"), (1, "b"), (2, "a"), (2, "b"))
    ]
    running = {Wanted("b", 0.9, 0)}
    assert chosen(iter(listed), running, 3, None) == (Wanted("a", 0.9, 1), Wanted("b", 0.9, 1))
    assert chosen(iter(listed), running, 3, 1) == (Wanted("a", 0.9, 1),)
    assert chosen(iter(listed), running, 1, None) == ()
