"""Results as DuckDB views `trials`, `curves` and `layers`: each trial once, nothing else within reach."""

from pathlib import Path

import duckdb

from sweep.errors import BadInput
from sweep.results import SCHEMAS

# What makes two rows the same, and which of them is looked at.
_DEDUPLICATED = {
    "trials": "PARTITION BY trial_id ORDER BY (status = 'ok') DESC, finished_at DESC",
    "curves": "PARTITION BY trial_id, phase, epoch",
    "layers": "PARTITION BY trial_id, layer",
}


def open(results: str | Path = "results") -> duckdb.DuckDBPyConnection:
    """A connection with the views `trials`, `curves` and `layers` over one study's folder, or over all.

    The views read what is on disk at the time of a query, so a running study can be watched. Queries cannot
    reach files outside the results, nor change settings.

    Raises:
        BadInput: the folder does not exist, or a part in it cannot be read.
    """
    folder = Path(results).resolve()
    if not folder.is_dir():
        raise BadInput(f"{results}: no such folder; run a study first, or name its results with --results")
    studies = folder if (folder / "study.json").exists() else folder / "*"
    connection = duckdb.connect()
    for table, duplicates in _DEDUPLICATED.items():
        parts = str(studies / table / "part-*.parquet").replace("'", "''")
        # Without a part the view would not know its columns.
        connection.register("nothing_yet", SCHEMAS[table].empty_table())
        connection.execute(f"CREATE TABLE no_{table} AS FROM nothing_yet")
        connection.unregister("nothing_yet")
        source = f"read_parquet('{parts}', union_by_name = true)"
        try:
            there = next(folder.glob(f"{'' if studies == folder else '*/'}{table}/part-*.parquet"), None)
            union = f"FROM no_{table} UNION ALL BY NAME FROM {source}" if there else f"FROM no_{table}"
            connection.execute(
                f"CREATE VIEW {table} AS FROM ({union}) QUALIFY row_number() OVER ({duplicates}) = 1"
            )
        except duckdb.Error as error:
            raise BadInput(f"{folder}: {str(error).splitlines()[0]}: move that file away") from None
    allowed = str(folder).replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{allowed}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation | None:
    """The answer to a query that only reads; None if it has none.

    Raises:
        BadInput: it is not SQL, or does something other than read.
    """
    try:
        statements = connection.extract_statements(sql)
        reads = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
        if any(statement.type not in reads for statement in statements):
            raise BadInput("only queries: a SELECT, FROM, DESCRIBE, SUMMARIZE or EXPLAIN over the results")
        answer = None
        for statement in statements:
            answer = connection.sql(statement.query)
        return answer
    except duckdb.Error as error:
        raise BadInput(f"{error}") from None


def query(name: str) -> str:
    """The text of one of the SQL files beside this module."""
    return (Path(__file__).parent / "queries" / f"{name}.sql").read_text()
