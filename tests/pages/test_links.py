"""The pages that people read: no link is dead."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md")])
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def links(text):
    return _LINK.findall(_CODE.sub(lambda code: "`" if "\n" not in code[0] else "", text))


@cache
def anchors(page):
    """The anchors of a page as GitHub makes them: words of headings; a second one of a name ends in -1."""
    found = []
    for heading in re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M), re.M
    ):
        name = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(
            " ", "-"
        )
        found.append(name if name not in found else f"{name}-{found.count(name)}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page):
    dead = []
    for link in links(page.read_text("utf-8")):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if re.match(r"\w+:", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_dead_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`: three\n\n[a](#one-two-three) `[b](c)`\n```\n# no\n[d](e)\n```\n[`f`](g.md#h)\n"
    )
    assert links(page.read_text()) == ["#one-two-three", "g.md#h"]
    assert anchors(page) == ["one-two-three"]


def reached(start, clicks):
    """The pages that a reader can be on after so many clicks, those passed included."""
    found = {start}
    for _ in range(clicks):
        found |= {
            (page.parent / file).resolve()
            for page in found
            for file in (link.partition("#")[0] for link in links(page.read_text("utf-8")))
            if file.endswith(".md") and ":" not in file
        }
    return found


def test_every_page_is_two_clicks_from_the_readme():
    pages = {*ROOT.glob("docs/**/*.md"), ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md"}
    assert not sorted(str(page.relative_to(ROOT)) for page in pages - reached(ROOT / "README.md", 2))


def test_pages_behind_pages_take_more_clicks(tmp_path):
    for name, text in {
        "a": "[b](b.md#x) [c](http://c.md)",
        "b": "[d](sub/d.md)",
        "sub/d": "[e](../e.md)",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.md").write_text(text)
    names = {page.relative_to(tmp_path).as_posix() for page in reached(tmp_path / "a.md", 2)}
    assert names == {"a.md", "b.md", "sub/d.md"}
