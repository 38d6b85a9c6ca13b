"""What a study asks is what its file says, and a question that averages two arms is refused in its line."""

import pytest

import sweep
from sweep.errors import BadInput
from sweep.questions.asked import Asked
from sweep.questions.planner import Wanted
from sweep.study import load

BASE = """\
dataset: digits
model: conv-5
epochs: 2
"""
PAIR = "  crossover: {first: snip, second: random:erk, within: 0.125 decades, between: [0.998, 0.8]}\n"


def question(study_file, asked, base=BASE):
    return load(study_file(f"{base}question:\n{asked}")).question


def fields(trial):
    config = trial.config
    return config.criterion, config.scope, config.sparsity, config.seed


def test_names_of_arms_make_trials_like_those_of_a_study_of_their_criteria(study_file):
    found = question(study_file, f"{PAIR}  trials: 100\n  max_hours: 0.5\n", f"{BASE}seed: [3, 4]\n")
    planner = found.asked.planner
    assert (planner.first, planner.second, planner.low, planner.high) == ("snip", "random erk", 0.8, 0.998)
    assert (planner.within.amount, planner.within.decades) == (0.125, True)
    assert (found.trials, found.max_hours, found.asked.columns) == (100, 0.5, ("val_accuracy",))
    trial = found.trial(Wanted("random erk", 0.9, 2))
    plain = f"{BASE}criterion: random\nscope: erk\nsparsity: 0.9\nseed: 5\n"
    assert [trial] == load(study_file(plain)).trials(), "the question is no part of a trial"
    assert [fields(each) for each in found.examples()] == [
        ("snip", "global", 0.8, 3),
        ("snip", "global", 0.998, 3),
        ("random", "erk", 0.8, 3),
        ("random", "erk", 0.998, 3),
    ]


def test_a_question_over_the_arms_of_a_study_reads_their_blocks_and_sparsities(study_file):
    base = f"{BASE}sparsity: [0.5, 0.9, 0.7]\nblocks:\n  - criterion: random\n  - {{criterion: force, iterations: 3}}\n"
    found = question(study_file, "  crossover: {first: force, second: random, within: 0.01}\n", base)
    assert (found.places, found.asked.planner.within.decades) == ((0.5, 0.9), False)
    assert found.trial(Wanted("force T=3", 0.6, 0)).config.iterations == 3
    best = question(study_file, "  best: {among: criterion, within: 0.01}\n", base)
    assert best.asked.planner.arms == ("random global", "force T=3") and best.places == (0.5, 0.7, 0.9)
    rates = question(
        study_file, "  best: {among: lr, within: 0.01, at: 0.9}\n", BASE + "criterion: snip\nlr: [0.1, 0.2]\n"
    )
    assert rates.asked.planner.arms == ("snip lr=0.1", "snip lr=0.2")
    assert (
        question(
            study_file, "  difference: {first: force, second: random, at: 0.8}\n", base
        ).asked.planner.within
        is None
    )
    both = question(study_file, "  correlation: {within: 0.1, at: 0.9}\n", base)
    assert both.asked.columns == ("pre_train_loss", "val_accuracy") and len(both.arms) == 2


def test_a_field_that_follows_from_the_sparsity_makes_no_other_arm(study_file):
    found = question(study_file, "  best: {among: [imp, snip], within: 0.01, at: [0.5, 0.9]}\n")
    assert found.asked.planner.arms == ("imp", "snip") and found.asked.chosen == (
        "iterations",
        "seed",
        "sparsity",
    )
    trials = [found.trial(Wanted("imp", place, 1)) for place in (0.5, 0.9)]
    assert [trial.config.iterations for trial in trials] == [3, 10]
    rows = [{"config": trial.canonical, "status": "ok", "val_accuracy": 0.5} for trial in trials]
    assert [found.asked.wanted(row) for row in rows] == [Wanted("imp", 0.5, 1), Wanted("imp", 0.9, 1)]


BLOCKS = "criterion: [random, snip]\nscope: [global, erk]\n"
BAD = [
    (BASE, "  crossover: {first: snp, second: random, within: 0.1, between: [0.5, 0.9]}\n", 5, "criterion snp: no such criterion; did you mean snip"),
    (BASE, PAIR.replace("random:erk", "snip"), 5, "second: the same arm as first"),
    (BASE, "  crossover: {first: snip, second: random, within: 0.1}\n", 5, "between is missing"),
    (BASE, "  crossover: {first: snip, within: 0.1}\n", 5, "second is missing"),
    (BASE, PAIR.replace("0.125 decades", "3 octaves"), 5, "within 3 octaves: a width in sparsity"),
    (BASE, PAIR.replace("0.8]", "0.998]"), 5, "two sparsities"),
    (BASE, PAIR.replace("0.8]", "0]"), 5, "nothing is pruned there"),
    (BASE, PAIR + "  trials: 0\n", 6, "trials 0"),
    (BASE, PAIR + "  best: {among: lr, within: 0.1}\n", 5, "one of crossover, best, difference, correlation"),
    (BASE, "  cross: {}\n", 5, "unknown key 'cross' in a question"),
    (BASE, "  3\n", 5, "a question is a mapping"),
    (BASE + "lr: [0.1, 0.2]\n", PAIR, 6, "first snip: arms go by it that differ in lr: give that one value"),
    (BASE + BLOCKS, PAIR, 7, "differ in scope: give that one value, or name criterion:scope"),
    (BASE + "criterion: [random, snip]\n", PAIR, 6, "second random:erk: no arm of the study; did you mean random"),
    (BASE + BLOCKS, "  best: {among: criterion, within: 0.1, at: 0.9}\n", 7, "among criterion: random"),
    (BASE + "criterion: snip\n", "  best: {among: lr, within: 0.1, at: 0.9}\n", 6, "one arm is the best of itself"),
    (BASE + "criterion: snip\n", "  correlation: {within: 0.1, at: 0.9}\n", 6, "it takes several"),
    (BASE, "  difference: {first: snip, second: random, at: [0.8, 0.9]}\n", 5, "2 sparsities, where one belongs"),
    (
        BASE + "blocks:\n  - {criterion: snip, prune_epoch: 1}\n  - criterion: random\n",
        "  difference: {first: snip, second: random, at: 0.9}\n",
        8,
        "second: it differs from first in prune_epoch too",
    ),
    (
        BASE + "blocks:\n  - {criterion: snip, seed: 1}\n  - {criterion: random, seed: 2}\n",
        "  difference: {first: snip, second: random, at: 0.9}\n",
        8,
        "the arms begin with different seeds",
    ),
    (BASE + "search: {space: {criterion: [snip]}}\n", PAIR, 4, "a study asks a question or searches, not both"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "asked", "line", "said"), BAD)
def test_a_bad_question_is_one_line_that_says_where(base, asked, line, said, study_file):
    with pytest.raises(BadInput) as error:
        question(study_file, asked, base)
    text = str(error.value)
    assert f"small.yaml:{line}: " in text and said in text and "\n" not in text


def test_python_and_the_command_line_ask_the_same(study_file):
    asked = {"difference": {"first": "snip", "second": "random", "at": 0.9}, "trials": 9}
    study = sweep.Study(dataset="digits", model="conv-5", epochs=2, question=asked)
    text = "question={difference: {first: snip, second: random, at: 0.9}, trials: 9}"
    other = load(study_file(BASE + f"question:\n{PAIR}"), settings=[text])
    assert study.question.asked == other.question.asked and repr(study) == "<study study: a question>"
    with pytest.raises(BadInput, match=r"Study\(question=.*: second is missing"):
        sweep.Study(dataset="digits", model="conv-5", epochs=2, question={"difference": {"first": "snip"}})


def test_what_study_json_keeps_is_the_question_and_nothing_else_is(study_file):
    asked = question(study_file, PAIR).asked
    kept = asked.written()
    assert Asked.parse(kept) == asked
    for broken in (
        None,
        {},
        kept | {"kind": "best"},
        kept | {"arms": {}},
        kept | {"planner": kept["planner"] | {"low": 2}},
        kept | {"planner": kept["planner"] | {"within": {"amount": -1}}},
        kept | {"planner": kept["planner"] | {"cap": 10**9}},
    ):
        assert Asked.parse(broken) is None


def test_rows_of_others_are_measured_only_where_they_are_of_an_arm(study_file):
    found = question(study_file, PAIR)
    trial = found.trial(Wanted("snip", 0.9, 1))
    row = {"config": trial.canonical, "status": "ok", "val_accuracy": 0.5}
    other = load(study_file(BASE + "criterion: snip\nsparsity: 0.9\nlr: 0.3\n")).trials()[0]
    rows = [row, row | {"config": other.canonical}, row | {"config": "{"}, row | {"config": None}]
    assert found.asked.measured(rows) == {("snip", 0.9): {1: 0.5}}
    for lost in (
        {"val_accuracy": None},
        {"val_accuracy": float("nan")},
        {"status": "failed"},
        {"status": "diverged"},
    ):
        assert found.asked.measured([row | lost]) == {("snip", 0.9): {1: None}}
    assert found.asked.measured([row | {"status": "stopped"}]) == {}
