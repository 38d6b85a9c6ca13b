"""The two criteria that a question compares, as arguments of its command."""

import sys
from typing import Annotated

import duckdb
import typer

from analysis import warehouse
from sweep.arms import called
from sweep.errors import BadInput

First = Annotated[
    str, typer.Argument(help="a criterion, or criterion:scope; default: each of them", show_default=False)
]
Second = Annotated[
    str | None, typer.Argument(help="what it is compared with; default: random, or else magnitude")
]


def pair(connection: duckdb.DuckDBPyConnection, first: str, second: str | None) -> tuple[str, str]:
    """Both criteria, with the default for the second.

    Returns:
        The second is "" where the results have no default for it; a line on stderr says so.

    Raises:
        BadInput: the results have no trials of a criterion.
    """
    trained = warehouse.rows(
        connection,
        "SELECT DISTINCT criterion, scope FROM trials WHERE sparsity > 0 AND NOT is_drawn(criterion)",
    )
    known = {
        name for criterion, scope in trained for name in called({"criterion": criterion, "scope": scope})
    }
    for name in (first, second):
        if name not in (*known, warehouse.EACH, None):
            raise BadInput(f"{name}: no trials of it; there are: {', '.join(sorted(known))}")
    compared = second or warehouse.baseline(connection, first)
    if compared is None:
        names = ", ".join(sorted(known))
        print(f"no {' or '.join(warehouse.BASELINES)} to compare with: name two of: {names}", file=sys.stderr)
        return first, ""
    return first, compared
