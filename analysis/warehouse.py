"""Results as DuckDB views `trials`, `curves` and `layers`: each trial once, nothing else within reach."""

import glob
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from sweep.errors import BadInput
from sweep.results import KEYS, SCHEMAS

# Which of several rows with the same key is looked at, where they can differ.
_PRECEDENCE = {"trials": "ORDER BY (status = 'ok') DESC, finished_at DESC"}


def open(results: str | Path = "results") -> duckdb.DuckDBPyConnection:
    """A connection with the views `trials`, `curves` and `layers` over one study's folder, or over all.

    The views read what is on disk at the time of a query, so a running study can be watched (one without any
    result yet must be opened again). Queries cannot reach files outside the results, nor change settings.

    Raises:
        BadInput: the folder does not exist, or a part in it cannot be read.
    """
    folder = Path(results).resolve()
    if not folder.is_dir():
        raise BadInput(f"{results}: no such folder; run a study first, or name its results with --results")
    one_study = (folder / "study.json").exists() or (folder / "trials").exists()
    connection = duckdb.connect()
    for table, key in KEYS.items():
        duplicates = f"PARTITION BY {', '.join(key)} {_PRECEDENCE.get(table, '')}"
        pattern = f"{table}/part-*.parquet" if one_study else f"*/{table}/part-*.parquet"
        # Without a part the view would not know its columns.
        connection.register("nothing_yet", SCHEMAS[table].empty_table())
        connection.execute(f"CREATE TABLE no_{table} AS FROM nothing_yet")
        connection.unregister("nothing_yet")
        rows = f"FROM no_{table}"
        if next(folder.glob(pattern), None):
            parts = _quoted(f"{glob.escape(str(folder))}/{pattern}")
            # A folder named seed=7 is no column.
            options = "union_by_name = true, hive_partitioning = false"
            rows += f" UNION ALL BY NAME FROM read_parquet('{parts}', {options})"
        try:
            connection.execute(
                f"CREATE VIEW {table} AS FROM ({rows}) QUALIFY row_number() OVER ({duplicates}) = 1"
            )
        except duckdb.Error as error:
            raise BadInput(f"{folder}: {str(error).splitlines()[0]}: move that file away") from None
    # A pattern is held against these as it is written, a file as it is named.
    allowed = ", ".join(f"'{quoted}'" for quoted in (_quoted(str(folder)), _quoted(glob.escape(str(folder)))))
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def show(connection: duckdb.DuckDBPyConnection, sql: str, width: int) -> None:
    """Print the answer to a query that only reads, at most `width` columns wide.

    Raises:
        BadInput: it is not SQL, does something other than read, or cannot be answered.
    """
    with _told():
        statements = connection.extract_statements(sql)
        reads = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
        if len(statements) != 1 or statements[0].type not in reads:
            raise BadInput("one query only: a SELECT, FROM, DESCRIBE, SUMMARIZE or EXPLAIN over the results")
        connection.sql(statements[0].query).show(max_rows=1000, max_width=width)


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    """All rows of one of our own queries."""
    with _told():
        return connection.execute(sql).fetchall()


def _quoted(text: str) -> str:
    return text.replace("'", "''")


@contextmanager
def _told() -> Generator[None]:
    """Whatever DuckDB has against a query or a file, as one line."""
    try:
        yield
    except duckdb.Error as error:
        raise BadInput(str(error)) from None


def query(name: str) -> str:
    """The text of one of the SQL files beside this module."""
    return (Path(__file__).parent / "queries" / f"{name}.sql").read_text()
