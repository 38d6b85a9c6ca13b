"""The page of the questions that analyses answer, with the columns of their queries."""

import re
from collections.abc import Iterator
from pathlib import Path

from analysis.questions import catalog
from pages.markdown import code, page, table

_QUERIES = Path(catalog.__file__).parents[1] / "queries"
_COLUMN = re.compile(r"--   ([a-z][\w, ]*?)  +(.*)")


def analyses() -> str:
    """The page."""
    asked = [one for one in catalog.QUESTIONS if one.is_command]
    parts = [
        "`python -m analysis NAME` asks one of these. [Analyses](../analysis.md) says how answers are made. "
        "The [glossary](../glossary.md) says what their words mean. [Commands](commands.md#analysis) has "
        "the options.",
        table(("name", "question"), ((f"[{code(one.name)}](#{one.name})", one.help) for one in asked)),
    ]
    for one in asked:
        parts += [f"## {one.name.capitalize()}", one.help]
        query = _QUERIES / f"{one.name}.sql"
        if query.exists():
            text = query.read_text("utf-8")
            parts += [
                f"Its query is [{query.name}](../../analysis/queries/{query.name}), with these columns:"
            ]
            parts += [table(("column", "meaning"), _columns(text))]
    return page("Questions to the results", *parts)


def _columns(text: str) -> Iterator[tuple[str, str]]:
    """Columns and meanings, from the comment that a query begins with; lines that go on are joined."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        if found := _COLUMN.match(line):
            rows.append([", ".join(map(code, found[1].split(", "))), found[2]])
        elif rows and line.startswith("--      "):
            rows[-1][1] += f" {line.removeprefix('--').strip()}"
    yield from ((name, said.strip()) for name, said in rows)
