"""The glossary: every word that an answer uses is in it, on the page, at the prompt and in the report."""

import pytest

from analysis import glossary
from analysis.__main__ import main
from analysis.page import Page
from tests.commands import run


def test_one_word_is_found_by_its_plural_and_by_a_part():
    assert [*glossary.find("Arms")] == ["arm"]
    assert [*glossary.find("effective")] == ["effective density"]
    assert glossary.find("certainly") == {"certainly": glossary.WORDS["Answers"]["certainly"]}


@pytest.mark.parametrize(
    "word",
    [
        "certainly", "undecided", "bracket", "arm", "setting", "lost", "anomaly", "regret", "safe", "scope", "tied",
        "effective density", "saliency", "provisional", "behind", "deviation", "apart", "pack", "selected", "cell",
    ],
)  # fmt: skip
def test_the_words_of_tables_and_sentences_are_there(word):
    assert [*glossary.find(word)] == [word]


def test_the_command_prints_all_words_or_one():
    every = run(main, "words").stdout
    assert all(f"\n{word}: " in every for group in glossary.WORDS.values() for word in group)
    one = run(main, "words", "bracket")
    assert one.stdout == "bracket: The two tested sparsities that a crossover certainly lies between.\n"


def test_a_word_that_is_not_there_is_one_line():
    ended = run(main, "words", "epsilon")
    assert (
        ended.returncode == 2 and ended.stderr.startswith("epsilon: not in the glossary") and not ended.stdout
    )


def test_the_page_has_a_word_with_its_meaning_as_text():
    page = Page()
    page.words({"a<b": "less & more"})
    assert "<dt>a&lt;b</dt><dd>less &amp; more</dd>" in page.parts[0]
