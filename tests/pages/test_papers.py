"""docs/papers.md: intervals from deviations and seeds, and every study in its place."""

import re

import pytest

from pages.papers import STUDIES, ours, papers
from sweep.study import load


def test_half_of_an_interval_is_students():
    """The quantile of 2 degrees of freedom is 4.302653: 4.302653 · 0.15 / √3 = 0.3726."""
    assert ours("1.96 ± 0.15 of 3") == "1.96 ± 0.37 (3 seeds)"
    assert ours("0.951 ± 0.009 of 5") == "0.951 ± 0.011 (5 seeds)"  # 2.776445 · 0.009 / √5
    assert ours("−0.89 [−0.94, −0.81]") == "−0.89 [−0.94, −0.81]"


@pytest.mark.slow
def test_every_study_that_comes_along_is_on_the_page_once():
    page, names = papers(), sorted(path.stem for path in STUDIES.glob("*.yaml"))
    sections = re.findall(r"^### (.*)$", page, re.MULTILINE)
    listed = re.findall(r"^\| \[([\w-]+)\]\(\.\./studies/", page, re.MULTILINE)
    assert sorted([*sections, *listed]) == names


@pytest.mark.slow
def test_a_number_that_is_made_says_when_and_one_that_is_not_what_it_takes():
    for path in STUDIES.glob("*.yaml"):
        paper = load(path).paper
        if paper:
            assert bool(paper.made) or bool(paper.needs), path
            assert bool(paper.made) == any(number.ours for number in paper.numbers) or not paper.numbers
