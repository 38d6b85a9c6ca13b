"""Tables and pages in Markdown."""

from collections.abc import Iterable, Sequence

_MADE = "<!-- Written by `python -m pages`. Change the code that it is made from, not this page. -->"


def page(title: str, *parts: str) -> str:
    """A page that says that it is made, from its parts."""
    return "\n\n".join([f"# {title}", _MADE, *parts]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. Bars in cells are escaped, and what would make another line is a space."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(value: object) -> str:
    """A value as code; nothing for the empty text."""
    return f"`{value}`" if str(value) else ""


def codes(values: Iterable[object]) -> str:
    """Values as code, separated by commas."""
    return ", ".join(map(code, values))
