"""Queries to the views, retried while a launch merges parts, and without parts that are damaged."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib import resources
from typing import Any, TypeVar

import duckdb

from analysis.warehouse import views
from analysis.warehouse.sources import quoted
from sweep.errors import BadInput
from sweep.store.places import attempts

T = TypeVar("T")

READS = {duckdb.StatementType.SELECT}


def checked(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """A user's query, if it is one statement that only reads.

    Raises:
        BadInput: it is not valid SQL, not one statement, or does something other than read.
    """
    with one_line_errors():
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in READS:
            raise BadInput("one query only: a SELECT, FROM, DESCRIBE or SUMMARIZE over the results")
        return statements[0].query


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    """All rows of a trusted query."""
    return answer(connection, sql)[1]


def ask(
    connection: duckdb.DuckDBPyConnection, name: str, variables: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The rows of a query in queries/*.sql, as mappings.

    Args:
        name: of the file.
        variables: SQL variables that the query reads. Each has a default in the query.
    """
    for variable, value in (variables or {}).items():
        connection.execute(f"SET VARIABLE {variable} = '{quoted(value)}'")
    columns, answers = answer(connection, query(name))
    return [dict(zip(columns, row, strict=True)) for row in answers]


def answer(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows of a query."""

    def read() -> tuple[list[str], list[tuple[Any, ...]]]:
        result = connection.execute(sql)
        return [column[0] for column in result.description or ()], result.fetchall()

    return retried(connection, read)


def retried(connection: duckdb.DuckDBPyConnection, read: Callable[[], T]) -> T:
    """The result of reading from the views; retried if a launch merges parts meanwhile.

    It is also retried without the parts that turn out to be damaged.

    Args:
        read: may be called several times.

    Raises:
        BadInput: DuckDB cannot answer.
    """
    with one_line_errors():
        for last in attempts():
            try:
                return _without_damaged(connection, read, last)
            except duckdb.IOException:
                if last:
                    raise
                views.renew(connection)
    raise AssertionError("unreachable")


def _without_damaged(connection: duckdb.DuckDBPyConnection, read: Callable[[], T], last: bool) -> T:
    """One attempt; if no parts are being merged, retried without the damaged parts.

    Args:
        last: no other attempt follows, so that an error is not taken for a merge.
    """
    try:
        return read()
    except duckdb.Error as error:
        merged = isinstance(error, duckdb.IOException) and not last
        if merged or not views.leave_damaged(connection, error):
            raise
    return read()


def query(name: str) -> str:
    """The text of a query in queries/*.sql."""
    return (resources.files("analysis") / "queries" / f"{name}.sql").read_text(encoding="utf-8")


@contextmanager
def one_line_errors() -> Generator[None]:
    """Turn DuckDB's errors into `BadInput`, which is printed as one line."""
    try:
        yield
    except duckdb.Error as error:
        raise BadInput(str(error)) from None
