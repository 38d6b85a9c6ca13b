"""Answers on the terminal, and a prompt for queries."""

import io
import sys
from contextlib import redirect_stdout

import duckdb
from rich.cells import cell_len

from analysis import tables
from analysis.warehouse.queries import checked, retried
from sweep.errors import ONE_LINE
from sweep.store.schema import KEYS

# The most rows that are shown, and the most characters of one.
_SHOWN, _WIDEST = 1_000, 100_000


def show(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Print the answer to a query: as wide as the terminal, or in one piece if stdout is not a terminal.

    Raises:
        BadInput: the query does something other than read, or DuckDB cannot answer it.
    """
    query = checked(connection, query)
    print(retried(connection, lambda: _answer(connection.sql(query))), end="")


def _answer(relation: duckdb.DuckDBPyRelation) -> str:
    """The rows as DuckDB draws them; where that is too wide for the terminal, as columns in several rows."""
    with redirect_stdout(io.StringIO()) as box:
        relation.show(max_rows=_SHOWN, max_width=_WIDEST)
    text = box.getvalue()
    if not sys.stdout.isatty() or max(map(cell_len, text.splitlines()), default=0) <= tables.width():
        return text
    rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.limit(_SHOWN).fetchall()]
    return tables.as_asked(rows, relation.columns)


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
