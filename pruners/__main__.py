"""`python -m pruners`: print the table of criteria, or write it between the markers of a Markdown file."""

import argparse
import json
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


def parser(program: str) -> argparse.ArgumentParser:
    """The words that the command takes."""
    parser = argparse.ArgumentParser(program, description="Print the table of criteria.")
    parser.add_argument("file", nargs="?", type=Path, help="write the table between the markers of this file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: a list on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="print the names alone")
    return parser


def main(program: str = "python -m pruners") -> None:
    """Run the command."""
    words = parser(program).parse_args()
    path: Path | None = words.file
    if path:
        try:
            path.write_text(markdown(path.read_text("utf-8")), "utf-8")
        except (OSError, ValueError) as error:
            parser(program).exit(2, f"{path}: {error.strerror if isinstance(error, OSError) else error}\n")
        return
    if words.format == "json":
        print(json.dumps([dict(zip(_HEAD, row, strict=True)) for row in _rows()], indent=1))
        return
    if words.quiet:
        print(*CRITERIA, sep="\n")
        return
    table = Table(*_HEAD, box=box.SIMPLE)
    for row in _rows():
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
