"""Answers on the terminal, and a prompt for queries."""

import sys

import duckdb
from rich.console import Console

from analysis.warehouse.warehouse import again, checked
from sweep.errors import ONE_LINE


def show(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Print the answer to a query: as wide as the terminal, or as it is where nobody looks at one.

    Raises:
        BadInput: it does something other than read, or cannot be answered.
    """
    console = Console()
    width = console.width if console.is_terminal else 100_000
    query = checked(connection, query)
    again(connection, lambda: connection.sql(query).show(max_rows=1000, max_width=width))


def loop(connection: duckdb.DuckDBPyConnection) -> None:
    """Ask for queries until Ctrl-D or `.quit`; a wrong one is a line, not the end."""
    asking = sys.stdin.isatty()
    if asking:
        import readline  # noqa: F401  history and editing

        print("views: trials, curves, layers, settings; a query ends with ;  .quit or Ctrl-D ends")
    lines: list[str] = []
    while True:
        try:
            line = input(("secateur> " if not lines else "       -> ") if asking else "")
        except EOFError:
            line = ";" if lines else ".quit"
        except KeyboardInterrupt:
            print()
            lines = []
            continue
        if line.strip() in (".quit", ".exit") and not lines:
            return
        lines.append(line)
        if not line.rstrip().endswith(";"):
            continue
        query, lines = "\n".join(lines), []
        if not query.strip(" ;\n"):
            continue
        try:
            show(connection, query)
        except ONE_LINE as error:
            print(" ".join(str(error).split()), file=sys.stderr)
