"""A launch says what has changed in a study since its last launch; nothing if nothing has."""

import pytest

from sweep.study.changes import changes

STUDY = """\
name: s
description: a
tags: [a]
seed: 0..2
sparsity: [0.9, 0.99]
blocks:
  - {criterion: random, scope: erk}
  - {criterion: [snip, force]}
search: {trials: 5, space: {lr: {low: 0.1, high: 1}}}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("0..2", "[0, 2, 1]"),
        ("[0.9, 0.99]", "[0.990, 0.9]"),
        ("description: a", "description: b"),
        ("tags: [a]", "x-a: 1"),
        ("name: s", "# a comment"),
        ("  - {criterion: random, scope: erk}\n  - {criterion: [snip, force]}", "  - {criterion: [force, snip]}\n  - {scope: erk, criterion: random}"),
    ],
)  # fmt: skip
def test_what_asks_for_the_same_trials_is_no_change(old, new):
    assert changes(STUDY.replace(old, new), STUDY) == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0..2", "0..4", "seed 0..4 was 0..2"),
        ("seed: 0..2", "lr: 0.1", "lr is new: 0.1; seed is gone: it was 0..2"),
        ("scope: erk", "scope: er", "block 1: scope er was erk"),
        ("force]}", "force]}\n  - {criterion: synflow}", "block 3 is new: criterion synflow"),
        ("  - {criterion: random, scope: erk}\n", "", "a block is gone: criterion random, scope erk"),
        ("trials: 5", "trials: 6", "search: trials 6 was 5"),
        ("high: 1", "high: 2", "space: lr {low: 0.1, high: 2} was {low: 0.1, high: 1}"),
        ("name: s", "x-recipes: {r.yaml:longer: {lr: 1}}", "r.yaml:longer: lr is new: 1"),
    ],
)
def test_a_change_is_said_with_both_values(old, new, said):
    assert changes(STUDY.replace(old, new), STUDY) == said


def test_of_many_changes_the_first_are_said_in_one_line():
    said = changes("".join(f"a{n}: '\x7f\\n'\n".replace("\x7f", "x") for n in range(20)), "")
    assert said.endswith("; 12 more") and "\n" not in said


@pytest.mark.parametrize("damaged", ["", "[", "- a", "a: &r [*r]", "\x00", "text"])
def test_a_text_that_is_no_study_is_no_error(damaged):
    changes(STUDY, damaged)
    changes(damaged, STUDY)
