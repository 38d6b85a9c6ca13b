"""The pages that people write: short sentences, and a heading on each screen."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from pages.__main__ import PAGES

ROOT = Path(__file__).parents[2]
# Every page but those that are made from the code; a new page is held too.
GUIDES = sorted(
    str(page.relative_to(ROOT))
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if page not in {ROOT / "docs" / name for name in PAGES}
)
_LONGEST, _SCREEN = 30, 60  # words of a sentence, lines without a heading


def sentences(text):
    """The sentences of a page's prose: no code, no tables, no headings; a link counts as its words."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    kept = ["" if re.match(r"#|\||!\[|    ", line) else line for line in text.splitlines()]
    prose = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "code", "\n".join(kept)))
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", prose):
        found += re.split(r"(?<=[.!?])\s+", " ".join(block.split()))
    return [sentence for sentence in found if sentence]


@pytest.mark.parametrize("page", [*GUIDES, "docs/glossary.md"])
def test_sentences_are_short(page):
    long = [each for each in sentences((ROOT / page).read_text("utf-8")) if len(each.split()) > _LONGEST]
    assert not long


@pytest.mark.parametrize("page", GUIDES)
def test_each_screen_has_a_heading(page):
    lines = re.sub(r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.S | re.M).splitlines()
    headings = [0, *(n for n, line in enumerate(lines) if line.startswith("#")), len(lines)]
    assert max(b - a for a, b in pairwise(headings)) <= _SCREEN


def test_a_long_sentence_is_found():
    text = (
        "# H\n\nShort. " + "word " * 31 + ".\n\n```\n" + "word " * 40 + "\n```\n\n| " + "word " * 40 + "|\n"
    )
    assert [len(each.split()) for each in sentences(text)] == [1, 32]
