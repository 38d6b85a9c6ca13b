import random

import numpy as np
import pytest

from benchmarks.questions.crossovers import QUESTION, ended
from benchmarks.questions.truths import BRACKETED, COLLAPSING, OTHERS, Study
from sweep.questions.crossover import Crossover, Width
from sweep.questions.places import between, decades
from sweep.questions.planner import Measure, Wanted
from sweep.questions.signs import judged
from sweep.questions.simulation import simulated

TRUTHS = {truth.name: truth for truth in (*BRACKETED, *OTHERS, *COLLAPSING)}


def history(study, question=QUESTION, workers=8):
    """The results and the decision before each round, to the end."""
    while True:
        before = {cell: dict(values) for cell, values in study.measured.items()}
        decision = question.plan(before, frozenset(), workers)
        yield before, decision
        if decision.answer:
            return
        for trial in decision.wanted:
            study.measured.setdefault((trial.arm, trial.place), {})[trial.seed] = study(trial)


def shuffled(measured, seed):
    cells = [(cell, seed_, value) for cell, values in measured.items() for seed_, value in values.items()]
    random.Random(seed).shuffle(cells)
    found = {}
    for cell, seed_, value in cells:
        found.setdefault(cell, {})[seed_] = value
    return found


@pytest.mark.parametrize("name", ["usual, sd 1", "usual, 1 in 5 collapses"])
def test_decisions_depend_on_the_results_alone_and_certain_signs_stay(name):
    certain = {}
    for number, (measured, decision) in enumerate(history(Study(TRUTHS[name], 3))):
        # As after a kill: nothing is remembered, and results are read in another order.
        judged.cache_clear()
        assert QUESTION.plan(shuffled(measured, number), frozenset(), 8) == decision
        places = QUESTION.state(measured).places
        assert all(places[place].sign == sign for place, sign in certain.items() if place in places)
        certain |= {place: found.sign for place, found in places.items() if found.sign}
    assert decision.answer and certain


def test_nothing_is_asked_twice_and_no_more_than_workers_can_run():
    study, asked = Study(TRUTHS["usual, sd 3"], 1), set()
    for _, decision in history(study, workers=32):
        assert len(decision.wanted) <= 32 and not asked & set(decision.wanted)
        asked |= set(decision.wanted)
    assert all(trial.seed < QUESTION.cap for trial in asked)


def test_a_steep_crossing_takes_four_pairs_at_six_places():
    end = ended(TRUTHS["steep, sd .3"], 2, 1)
    assert (end.status, end.trials, end.wrong) == ("answered", 48, False)


def test_the_answer_names_the_bracket():
    answer, trials, _ = simulated(QUESTION, {}, Study(TRUTHS["usual, sd 1"], 1), 2)
    assert answer.status == "answered" and answer.numbers["bracket"] == [0.98, 0.985]
    assert answer.numbers["falls"] and answer.numbers["trials"] == trials
    assert answer.sentence == (
        "first is certainly above second at 0.98 and certainly below at 0.985 (95 %, all looks and sparsities "
        "counted): they cross in between."
    )


def test_with_results_of_others_nothing_is_run():
    study = Study(TRUTHS["steep, sd .3"], 1)
    *_, (measured, _) = history(study)
    extra = measured | {("third", 0.98): {0: 0.1}, ("first", 0.5): {0: 0.1}}
    assert simulated(QUESTION, extra, study, 2)[1] == 0


@pytest.mark.parametrize(("monotone", "places"), [(False, 5), (True, 2)])
def test_where_one_arm_is_above_everywhere_that_is_the_answer(monotone, places):
    question = Crossover(
        first="first", second="second", low=0.8, high=0.998, within=Width(0.125), monotone=monotone
    )
    answer, _, _ = simulated(question, {}, Study(TRUTHS["above everywhere, sd 1"], 1), 8)
    assert answer.status == "none" and set(answer.numbers["certain"].values()) == {1}
    assert len(answer.numbers["certain"]) == places and "certainly above second at" in answer.sentence


def test_equal_arms_stay_open_until_their_seeds_are_spent():
    answer, trials, _ = simulated(QUESTION, {}, Study(TRUTHS["equal, sd 1"], 1), 32)
    assert answer.status == "open" and trials == 3 * 2 * QUESTION.cap
    assert not answer.numbers["certain"] and "No sign of first − second is certain." in answer.sentence


def test_a_spent_budget_has_an_answer_that_says_what_is_missing():
    study = Study(TRUTHS["usual, sd 1"], 3)
    answer, trials, _ = simulated(QUESTION, {}, study, 8, budget=30)
    assert trials == 30 and answer.status == "spent"
    assert "The budget is spent." in answer.sentence and "would tell." in answer.sentence
    nothing = QUESTION.plan({}, frozenset(), 8, 0)
    assert nothing.answer.status == "spent" and nothing.wanted == ()


def test_running_trials_are_waited_for_before_the_budget_is_called_spent():
    running = {Wanted("first", 0.8, 0)}
    assert QUESTION.plan({}, running, 8, 0).answer is None


def test_a_straggler_holds_up_only_its_place():
    late = Wanted("first", 0.8, 0)
    measured = {("first", 0.8): {1: 0.5}, ("second", 0.8): {0: 0.4, 1: 0.4}}
    wanted = QUESTION.plan(measured, {late}, 8).wanted
    assert late not in wanted and {0.998} < {trial.place for trial in wanted}


def test_a_width_in_sparsity_is_held():
    question = Crossover(
        first="first", second="second", low=0.8, high=0.998, within=Width(0.005, decades=False)
    )
    answer, _, _ = simulated(question, {}, Study(TRUTHS["steep, sd 1"], 2), 8)
    low, high = answer.numbers["bracket"]
    assert high - low <= 0.005 + 1e-9 and low < 1 - 0.2 * 10 ** -(1 + 0.125 / 3) < high


def test_lost_runs_are_counted_and_looked_at_as_guesses():
    study = Study(TRUTHS["steep, sd .3"], 1)

    def lossy(trial):
        return None if trial.arm == "first" and trial.place == 0.98 and trial.seed == 1 else study(trial)

    question = Crossover(
        first="first",
        second="second",
        low=0.8,
        high=0.998,
        within=Width(0.125),
        measure=Measure(chance=0.1),
    )
    answer, trials, _ = simulated(question, {}, lossy, 2)
    assert answer.status == "answered" and trials == 50
    assert answer.numbers["arms"]["first"]["lost"] == 1
    assert "Lost trials, which are left out: 1 of 25 of first." in answer.sentence
    assert "With lost runs at chance (0.1) the sign at 0.98 is not certain." in answer.sentence


def test_after_a_collapse_the_answer_is_about_the_other_runs():
    answer, _, _ = simulated(QUESTION, {}, Study(TRUTHS["usual, 1 in 5 collapses"], 1), 8)
    low, high = answer.numbers["bracket"]
    assert low < 1 - 0.2 * 10 ** -(1 + 0.125 / 3) < high
    found = answer.numbers["arms"]["first"]
    assert found["collapsed"] and found["share"][0] < 0.2 < found["share"][1]
    assert "the answer is about runs that did not" in answer.sentence


def test_progress_tells_the_bracket_and_what_is_open():
    lines = [decision.progress for _, decision in history(Study(TRUTHS["usual, sd 1"], 1), workers=2)]
    assert lines[0] == "no sign is certain yet; open: 0.8 (0 pairs), 0.998 (0 pairs)"
    assert lines[-1] == "first crosses between 0.98 and 0.985 (0.12 decades)"


def test_what_is_expected_comes_true():
    question = QUESTION
    study = Study(TRUTHS["usual, sd 1"], 4)
    nothing = question.expected({}, 8, draws=5)
    assert nothing.low >= 48 and "no results" in nothing.basis
    for place in (0.8, 0.95, 0.98, 0.99, 0.998):
        for seed in range(4):
            for arm in ("first", "second"):
                study.measured.setdefault((arm, place), {})[seed] = study(Wanted(arm, place, seed))
    expected = question.expected(study.measured, 8, draws=5)
    _, trials, _ = simulated(question, study.measured, study, 8)
    assert expected.basis == "the results of 40 trials" and expected.grid > 100
    assert expected.low / 2 <= trials <= 2 * expected.high


def test_places_are_short_numbers_between_their_ends():
    assert between(0.8, 0.998) == 0.98 and between(0.98, 0.98000001) < 0.98000001
    assert decades(0.8, 0.998) == pytest.approx(2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["steep, sd 1", "usual, t3, sd 1", "touches 0, sd 1", "equal, seeds shared"])
def test_what_is_said_is_rarely_wrong(name):
    """A small version of `python -m benchmarks.questions`; one of six may be wrong by chance."""
    ends = [ended(TRUTHS[name], 32, number) for number in range(6)]
    assert np.sum([end.wrong or end.wrong_sign for end in ends]) <= 1
    if TRUTHS[name] in BRACKETED:
        assert all(end.status == "answered" for end in ends)
