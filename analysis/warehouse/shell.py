"""Answers on the terminal, and a prompt for queries."""

import sys

import duckdb
from rich.console import Console

from analysis.warehouse.queries import checked, retried
from sweep.errors import ONE_LINE
from sweep.store.schema import KEYS


def show(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Print the answer to a query: as wide as the terminal, or uncut if stdout is not a terminal.

    Raises:
        BadInput: the query does something other than read, or DuckDB cannot answer it.
    """
    console = Console()
    width = console.width if console.is_terminal else 100_000
    query = checked(connection, query)
    retried(connection, lambda: connection.sql(query).show(max_rows=1000, max_width=width))


def loop(connection: duckdb.DuckDBPyConnection) -> None:
    """Read queries until Ctrl-D or `.quit`. An invalid query prints a line; the loop goes on."""
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401  history and editing

        names = ", ".join((*KEYS, "settings"))
        print(f"views: {names}; a query ends with ;  .quit or Ctrl-D ends")
    lines: list[str] = []
    while True:
        try:
            line = input(("secateur> " if not lines else "       -> ") if interactive else "")
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
