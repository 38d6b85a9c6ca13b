"""Trials divided among the parts of a launch: each is in one part, always the same, of about the same cost."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep import plan
from sweep.config import Config
from sweep.plan.division import divide
from sweep.study.identity import Trial
from tests.integration.launching import DATA

CRITERIA = ("random", "magnitude", "snip", "force")


def trials(criteria=CRITERIA, sparsities=(0.5, 0.9, 0.99), epochs=(0, 2), seeds=4, **fields):
    base = {"dataset": "digits", "model": "lenet-300-100", "epochs": 4} | fields
    configs = (
        Config(criterion=c, sparsity=s, prune_epoch=t, seed=seed, **base)
        for c, s, t, seed in product(criteria, sparsities, epochs, range(seeds))
    )
    return list(dict.fromkeys(map(Trial.of, configs)))


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_each_trial_is_in_one_part_whatever_the_study_and_the_number_of_parts(data):
    given_trials = data.draw(st.permutations(trials()))[: data.draw(st.integers(1, 96))]
    parts = data.draw(st.integers(1, 20))
    division = divide(given_trials, parts, DATA)
    assert len(division.trials) == parts
    assert sorted(t.id for part in division.trials for t in part) == sorted(t.id for t in given_trials)
    assert divide(given_trials, parts, DATA) == division and sum(division.shares) == pytest.approx(1)


def test_parts_cost_about_the_same_by_the_work_that_they_do():
    asked = trials(sparsities=(0.5, 0.8, 0.9, 0.95, 0.99), seeds=6)
    division = divide(asked, 5, DATA)
    assert max(division.shares) < 0.23 and min(division.shares) > 0.17
    work = [plan.work(plan.share(part), lambda config: 10).shared for part in division.trials]
    whole = plan.work(plan.share(asked), lambda config: 10).shared
    assert max(work) < 1.15 * whole / 5
    assert sum(work) < 1.03 * whole, "hardly anything is trained for two parts"


def test_trials_that_share_training_stay_together_where_parts_can_be_alike():
    asked = trials(epochs=(2,), seeds=8)
    for part in divide(asked, 4, DATA).trials:
        assert len(part) == 24 and len({trial.config.seed for trial in part}) == 2


def test_levels_that_go_on_from_each_other_are_one_part_however_many_there_are():
    asked = [
        Trial.of(
            Config(
                dataset="digits", model="conv-5", epochs=2, criterion="imp", sparsity=1 - 0.8**n, iterations=n
            )
        )
        for n in (1, 2, 3)
    ]
    assert sorted(map(len, divide(asked, 4, DATA).trials)) == [0, 0, 0, 3]


def test_another_study_or_number_of_parts_is_another_division():
    asked = trials()
    names = {divide(asked, parts, DATA).name for parts in (3, 4)} | {divide(asked[1:], 4, DATA).name}
    assert len(names) == 3 and divide(asked, 4, DATA).name in names


def test_without_the_data_the_steps_alone_decide(tmp_path):
    asked = trials(dataset="mnist", model="lenet-300-100")
    assert max(divide(asked, 4, tmp_path).shares) < 0.3
