"""`python -m pruners`: print the table of criteria, or write it between the markers of a Markdown file."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from pruners.saliency import CRITERIA

_HEAD = ("name", "score, higher is kept", "needs", "mode", "iterations", "source")
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
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


@app.command()
def criteria(
    file: Annotated[
        Path | None, typer.Argument(help="write the table between the markers of this Markdown file")
    ] = None,
    form: Annotated[
        Literal["text", "json"], typer.Option("--format", help="json: a list on stdout")
    ] = "text",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="print the names alone")] = False,
) -> None:
    """Print the table of criteria."""
    if file:
        try:
            file.write_text(markdown(file.read_text("utf-8")), "utf-8")
        except (OSError, ValueError) as error:
            print(f"{file}: {error.strerror if isinstance(error, OSError) else error}", file=sys.stderr)
            raise typer.Exit(2) from None
    elif form == "json":
        print(json.dumps([dict(zip(_HEAD, row, strict=True)) for row in _rows()], indent=1))
    elif quiet:
        print(*CRITERIA, sep="\n")
    else:
        table = Table(*_HEAD, box=box.SIMPLE)
        for row in _rows():
            table.add_row(*row)
        Console().print(table)


def main(program: str = "python -m pruners") -> None:
    """Run the command."""
    app(prog_name=program)


if __name__ == "__main__":
    main()
