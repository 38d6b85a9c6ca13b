"""The paper of a study: read with its numbers, of no consequence for trials, and each mistake one line."""

import pytest

from sweep.errors import BadInput
from sweep.study import load
from sweep.study.changes import changes
from sweep.study.paper import Number
from tests.conftest import STUDY

PAPER = """\
paper:
  by: Lee et al. 2019
  title: SNIP
  claim: Little is lost.
  numbers:
    - [LeNet at 95 %, 1.6, 1.96 ± 0.15 of 3]
    - [LeNet at 98 %, "2.40"]
  needs: an hour
"""


def test_a_paper_is_read_with_its_numbers_as_they_are_written(study_file):
    paper = load(study_file(STUDY + PAPER)).paper
    assert (paper.by, paper.needs, paper.made) == ("Lee et al. 2019", "an hour", "")
    assert paper.numbers == (
        Number("LeNet at 95 %", "1.6", "1.96 ± 0.15 of 3"),
        Number("LeNet at 98 %", "2.40", ""),
    )


def test_a_paper_changes_no_trial_and_is_no_change_of_the_study(study_file):
    plain, with_paper = load(study_file(STUDY)), load(study_file(STUDY + PAPER, "with.yaml"))
    assert [trial.id for trial in plain.trials()] == [trial.id for trial in with_paper.trials()]
    assert plain.paper is None and changes(with_paper.text, plain.text) == ""


def test_a_variation_does_not_inherit_the_paper(study_file):
    study_file(STUDY + PAPER, "base.yaml")
    assert load(study_file("extends: base.yaml\nseed: 7\n", "own.yaml")).paper is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("paper: SNIP\n", "a paper is a mapping"),
        ("paper: {by: Lee, title: SNIP}\n", "paper: claim is missing"),
        ("paper: {by: Lee, title: SNIP, claim: x, year: 2019}\n", "unknown key 'year'"),
        ("paper: {by: Lee, title: SNIP, claim: x, numbers: [[a]]}\n", "numbers: each is a list"),
        ("paper: {by: Lee, title: SNIP, claim: x, numbers: 1.6}\n", "numbers: each is a list"),
        ("paper: {by: [Lee, Li], title: SNIP, claim: x}\n", "by"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(study_file, text, said):
    with pytest.raises(BadInput) as error:
        load(study_file(STUDY + text))
    assert said in str(error.value) and "small.yaml:" in str(error.value) and "\n" not in str(error.value)
