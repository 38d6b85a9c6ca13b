import math

import numpy as np
import pytest

from sweep.questions.best import Best
from sweep.questions.correlation import Correlation, taus
from sweep.questions.difference import Difference
from sweep.questions.planner import Measure, Wanted
from sweep.questions.simulation import simulated


def normal(means, spread, seed, lost=()):
    random = np.random.default_rng(seed)
    return lambda trial: None if trial in lost else means[trial.arm] + spread * random.standard_normal()


def test_what_is_certainly_worse_gets_no_more_seeds():
    means = {"a": 0.8, "b": 0.79, "c": 0.7, "d": 0.5}
    question = Best(arms=tuple(means), places=(0.9, 0.99), within=0.001)
    seeds = {}
    draw = normal(means, 0.003, 1)

    def counted(trial):
        seeds[trial.arm] = max(seeds.get(trial.arm, 0), trial.seed + 1)
        return draw(trial)

    answer, trials, _ = simulated(question, {}, counted, 2)
    assert answer.status == "answered" and answer.numbers["best"] == {0.9: ["a"], 0.99: ["a"]}
    assert seeds["d"] <= seeds["c"] < seeds["b"] and answer.numbers["trials"] == trials
    assert "At 0.9 a is certainly the best of 4 (95 %, all looks counted" in answer.sentence


def test_arms_that_are_equal_within_the_width_remain():
    question = Best(arms=("a", "b", "c"), places=(0.9,), within=0.02)
    answer, _, _ = simulated(question, {}, normal({"a": 0.8, "b": 0.8, "c": 0.6}, 0.01, 2), 8)
    assert sorted(answer.numbers["best"][0.9]) == ["a", "b"] and answer.status == "answered"
    assert "none of" in answer.sentence and "the others are certainly worse" in answer.sentence


def test_where_lower_is_better_the_lowest_is_the_best():
    question = Best(arms=("a", "b"), places=(0.9,), within=0.1, measure=Measure("perplexity", higher=False))
    answer, _, _ = simulated(question, {}, normal({"a": 20, "b": 30}, 1, 2), 8)
    assert answer.numbers["best"][0.9] == ["a"]


def test_an_arm_of_which_all_runs_are_lost_ends_at_the_most_seeds():
    question = Best(arms=("a", "b"), places=(0.9,), within=0.1, cap=6)
    answer, trials, _ = simulated(question, {}, lambda trial: 0.5 if trial.arm == "a" else None, 8)
    assert answer.status == "open" and trials == 12 and "6 of 6 of b" in answer.sentence


def test_a_race_whose_budget_is_spent_says_who_leads():
    question = Best(arms=("a", "b", "c"), places=(0.9,), within=0.0001)
    answer, trials, _ = simulated(question, {}, normal({"a": 0.8, "b": 0.8, "c": 0.8}, 0.01, 2), 2, budget=20)
    assert answer.status == "spent" and trials == 20 and "may be better by up to" in answer.sentence


def test_a_difference_is_given_as_exactly_as_asked():
    question = Difference(first="a", second="b", place=0.9, within=0.005)
    answer, trials, _ = simulated(question, {}, normal({"a": 0.52, "b": 0.5}, 0.01, 1), 2)
    low, high = answer.numbers["interval"]
    assert high - low == pytest.approx(0.01) and low < 0.02 < high and answer.numbers["sign"] == 1
    assert not answer.numbers["always_valid"] and trials == 2 * answer.numbers["seeds"]
    assert answer.sentence.startswith("a is certainly above b at 0.9: ")


def test_a_difference_that_is_stopped_has_the_wider_interval_of_all_looks():
    question = Difference(first="a", second="b", place=0.9, within=0.0005)
    answer, trials, _ = simulated(question, {}, normal({"a": 0.52, "b": 0.5}, 0.01, 1), 2, budget=20)
    low, high = answer.numbers["interval"]
    spread = 0.01 * math.sqrt(2)
    assert answer.status == "spent" and trials == 20 and answer.numbers["always_valid"]
    assert high - low > 2 * 2.3 * 0.6 * spread / math.sqrt(10)


def test_a_sign_takes_few_seeds_and_its_interval_leaves_out_zero():
    question = Difference(first="a", second="b", place=0.9)
    answer, trials, _ = simulated(question, {}, normal({"a": 0.4, "b": 0.5}, 0.005, 1), 2)
    assert answer.numbers["sign"] == -1 and answer.numbers["interval"][1] < 0 and trials <= 10


def test_decisions_of_all_questions_do_not_depend_on_the_order_of_arrival():
    draw = normal({"a": 0.52, "b": 0.5}, 0.01, 1)
    measured = {(arm, 0.9): {seed: draw(Wanted(arm, 0.9, seed)) for seed in range(9)} for arm in "ab"}
    turned = {cell: dict(reversed(values.items())) for cell, values in reversed(measured.items())}
    for question in (
        Difference(first="a", second="b", place=0.9, within=0.005),
        Difference(first="a", second="b", place=0.9),
        Best(arms=("a", "b"), places=(0.9,), within=0.005),
    ):
        assert question.plan(measured, frozenset(), 8) == question.plan(turned, frozenset(), 8)
        assert question.expected(measured, 8, draws=5) == question.expected(turned, 8, draws=5)
        assert question.expected({}, 8, draws=5).median > 0


def correlated(correlation, seed):
    random = np.random.default_rng(seed)

    def draw(trial):
        one, other = random.standard_normal(2)
        return one, correlation * one + math.sqrt(1 - correlation**2) * other

    return draw


def test_tau_is_that_of_all_pairs_of_masks_with_different_seeds():
    random = np.random.default_rng(1)
    both = random.normal(size=(3, 5, 2))
    columns = tuple(tuple(map(tuple, arm.tolist())) for arm in both)
    signs = [
        np.sign((one[0] - other[0]) * (one[1] - other[1]))
        for seed in range(5)
        for later in range(seed)
        for one in both[:, seed]
        for other in both[:, later]
    ]
    assert taus(columns)[-1].value == pytest.approx(np.mean(signs))


def test_a_correlation_takes_the_seeds_that_it_needs():
    question = Correlation(arms=("a", "b", "c"), place=0.9, within=0.15)
    answer, trials, _ = simulated(question, {}, correlated(0.8, 2), 8)
    low, high = answer.numbers["interval"]
    assert answer.status == "answered" and high - low <= 0.3 + 1e-9
    assert low < 2 / math.pi * math.asin(0.8) < high and trials >= 3 * answer.numbers["seeds"]
    assert "Kendall's τ at 0.9 over 3 arms and their seeds is 0." in answer.sentence


def test_a_lost_trial_is_in_no_pair_of_a_correlation():
    question = Correlation(arms=("a", "b"), place=0.9, within=0.05, cap=12)
    draw = correlated(0.5, 1)
    answer, _, _ = simulated(question, {}, lambda trial: None if trial.seed == 3 else draw(trial), 8)
    assert answer.status == "open" and "1 of 12 of a" in answer.sentence
    assert answer.numbers["always_valid"] and question.expected({}, 8, draws=2).median == 24
