"""`python -m pruners`: print the table of criteria, or write it between the markers of a Markdown file."""

import argparse
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from pruners.saliency import CRITERIA

_HEAD = ("name", "score, higher is kept", "needs", "mode", "iterations", "source")
_START, _END = "<!-- criteria -->\n", "<!-- end of criteria -->\n"


def _rows() -> list[tuple[str, ...]]:
    return [
        (c.name, c.equation, c.needs, "train" if c.train_mode else "eval", str(c.iterations), c.source)
        for c in CRITERIA.values()
    ]


def markdown(text: str) -> str:
    """The text with the current table of criteria, in Markdown, between its markers.

    Raises:
        ValueError: the text does not have both markers, each once and in order.
    """
    try:
        before, rest = text.split(_START)
        _, after = rest.split(_END)
    except ValueError:
        raise ValueError(f"it needs the lines {_START.strip()} and {_END.strip()}, each once") from None
    rows = [_HEAD, ("---",) * len(_HEAD)]
    rows += [(f"`{name}`", *(cell.replace("|", "\\|") for cell in cells)) for name, *cells in _rows()]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"{before}{_START}{table}{_END}{after}"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m pruners", description="Print the table of criteria.")
    parser.add_argument("file", nargs="?", type=Path, help="write the table between the markers of this file")
    path: Path | None = parser.parse_args().file
    if path:
        try:
            path.write_text(markdown(path.read_text("utf-8")), "utf-8")
        except (OSError, ValueError) as error:
            parser.exit(2, f"{path}: {error.strerror if isinstance(error, OSError) else error}\n")
        return
    table = Table(*_HEAD, box=box.SIMPLE)
    for row in _rows():
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
