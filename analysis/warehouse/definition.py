"""The definitions of the views: of all rows of a table, and of those that count, one for each key."""

import json
from collections.abc import Iterable, Sequence

import duckdb
import pyarrow as pa

from analysis.warehouse import curation, union
from analysis.warehouse.sources import quoted
from analysis.warehouse.union import Member
from sweep.config import CHOICE
from sweep.store import parts
from sweep.store.schema import KEYS, SCHEMAS
from sweep.store.sound import SOUND, SOUND_IN_FULL

# Which of several rows with the same key counts, where they can differ.
# A trial that was run again has its latest curves: the names of parts say when they were written.
_LATEST = "parse_filename(filename) DESC, file_row_number DESC"
# A row that was taken over has the times of its source, which counts before it.
PRECEDENCE = {
    "trials": "(status = 'ok') DESC, (status <> 'stopped') DESC, finished_at DESC, source IS NOT NULL, study",
    **{table: f"({sound}) DESC, {_LATEST}" for table, sound in SOUND_IN_FULL.items()},
}
# The arm of a trial from its config.
ARM = """regexp_replace(config, '"seed":[0-9]+,"sparsity":[-+.0-9e]+,', '')"""


def define(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    source: str | None,
    tables: Iterable[pa.Table] | None = None,
) -> None:
    """Define a view of all rows of a table, and one of the rows that count: one for each key.

    With DuckDB's variable `study`, only rows of `trials` that are of this study count. They are chosen before
    one row of each trial is: several studies may have the same trial.

    Few keys have several rows, if any. To find their superseded rows by the keys alone, and to leave those
    out of one pass over the others, is several times faster than to sort entire rows, and takes no memory.

    Args:
        source: the SQL that reads the rows.
        tables: more rows, of converted parts; None: those of the last call.
    """
    key = ", ".join(KEYS[table])
    if tables is not None:
        _load(connection, table, tables)
    every = _define_all(connection, table, source)
    sound, in_full, arm = SOUND[table], SOUND_IN_FULL.get(table, "true"), "arm"
    if table == "trials":
        arm, readable = _readable_arm(connection)
        sound += f" AND {readable}"
        _define_settings(connection, arm)
    _leave_rows(connection, table, every, sound)
    places, order, rows_of = union.of(connection), PRECEDENCE.get(table, _LATEST), f"all_{table}"
    [(study,)] = connection.execute("SELECT getvariable('study')").fetchall()
    columns, tagged = "SELECT each.* EXCLUDE (filename, file_row_number)", ""
    if table == "trials":
        if study is not None:
            rows_of = f"(FROM all_trials WHERE study = '{quoted(study)}')"
        if len(places) > 1:  # a row that was copied to another place is of the place named first
            order += f", {union.order(places)}"
        curation.choose(connection, places, rows_of, order)
        columns, tagged = _trial_columns(connection, places, arm)
    curated = curation.curated(connection, table, places)
    if curated.condition:
        rows_of = f"(FROM {rows_of} WHERE {curated.condition})"
    query = shown(connection, table)
    connection.execute(
        f"""CREATE OR REPLACE VIEW {f"every_{table}" if query else table} AS
        WITH twice AS (
            SELECT hash({key}) AS h FROM {rows_of} GROUP BY 1 HAVING count(*) > 1 {curated.keys}
        ),
        superseded AS (
            SELECT hash(filename, file_row_number) AS h
            FROM (FROM (FROM {rows_of} WHERE hash({key}) IN (FROM twice)) {curated.join}
                  QUALIFY {curated.or_row} row_number() OVER (
                      PARTITION BY {key} ORDER BY {curated.order} {order}) > 1)
        )
        {columns} FROM (
            FROM {rows_of} WHERE hash(filename, file_row_number) NOT IN (FROM superseded) AND ({in_full})
        ) AS each {tagged}"""
    )
    if query:
        connection.execute(f"CREATE OR REPLACE VIEW {table} AS {query}")


def _define_all(connection: duckdb.DuckDBPyConnection, table: str, source: str | None) -> str:
    """Define the view of all rows of a table, and return its SQL.

    Converted rows also give the view columns that no part has. Where there are none and no column is missing,
    a view without them has the same rows and columns, and every query takes a third less time.
    """
    recoded = f"FROM recoded_{table}"
    every = f"{recoded} UNION ALL BY NAME FROM {source}" if source else recoded
    if source and not connection.execute(f"{recoded} LIMIT 1").fetchall():
        connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS FROM {source}")
        if _columns(connection, f"all_{table}") == _columns(connection, f"recoded_{table}"):
            return f"FROM {source}"
    connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS {every}")
    return every


def _columns(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[str, str]]:
    """Names and types of the columns of a table or view; opens no part."""
    return connection.execute(f"SELECT name, type FROM pragma_table_info('{name}')").fetchall()


def _load(connection: duckdb.DuckDBPyConnection, table: str, tables: Iterable[pa.Table]) -> None:
    """Load the rows of converted parts into memory."""
    # Without a row the view would not know its columns.
    # Its last two are in the order that DuckDB has them in.
    empty = SCHEMAS[table].append(pa.field("file_row_number", pa.int64()))
    empty = empty.append(pa.field("filename", pa.string()))
    rows = pa.concat_tables([empty.empty_table(), *tables], promote_options="permissive")
    connection.register("rows", rows)
    connection.execute(f"CREATE OR REPLACE TABLE recoded_{table} AS FROM rows")
    connection.unregister("rows")


def _trial_columns(
    connection: duckdb.DuckDBPyConnection, places: Sequence[Member], arm: str
) -> tuple[str, str]:
    """The SQL of the columns of `trials`, taken from rows named `each`, and of the join that tags need.

    The variable `invalid_rows` gets the query of the rows of invalid trials, which have these columns too.

    Args:
        arm: the expression for the arm of a row.
    """
    # A part of another tool may have a column of this name too.
    own = [name for name, _ in _columns(connection, "all_trials") if name.lower() == "tags"]
    others = ", ".join(["filename", "file_row_number", *own])
    tags, join = curation.tags(connection)
    source = "source" if len(places) == 1 else f"coalesce(source, {union.of_row(places)})"
    replaced = f"{arm} AS arm, {source} AS source"
    columns = f"SELECT each.* EXCLUDE ({others}) REPLACE ({replaced}), {tags} AS tags"
    rows = "(FROM all_trials WHERE trial_id IN (SELECT trial_id FROM passed_over WHERE invalid))"
    # The text alone: to define a view, DuckDB would open every part.
    connection.execute(f"SET VARIABLE invalid_rows = '{quoted(f'{columns} FROM {rows} AS each {join}')}'")
    return columns, join


def shown(connection: duckdb.DuckDBPyConnection, table: str) -> str | None:
    """The query whose rows the view of a table shows; None: it shows all rows that count."""
    sql: str | None = connection.execute(f"SELECT getvariable('shown_{table}')").fetchall()[0][0]
    return sql


def _readable_arm(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    """The expression for the arm of a row of `all_trials`, and the condition that the arm is a config."""
    headline = "coalesce(headline, 'accuracy') <> 'accuracy'"
    found = connection.execute(f"SELECT arm, bool_or({headline}) FROM all_trials GROUP BY arm").fetchall()
    # With accuracies alone no question has to look for headlines, which would take a pass over all parts.
    connection.execute(f"SET VARIABLE all_accuracies = {not any(other for _, other in found)}")
    arms, arm = [arm for arm, _ in found], "arm"
    if None in arms:
        # Early results do not have the column.
        arm = f"coalesce(arm, {ARM})"
        arms = [arm for (arm,) in connection.execute(f"SELECT DISTINCT {arm} FROM all_trials").fetchall()]
    unreadable = [[text] for text in arms if text is not None and parts.config(text) is None]
    connection.execute("CREATE OR REPLACE TABLE no_arms (arm VARCHAR)")
    if unreadable:
        connection.executemany("INSERT INTO no_arms VALUES (?)", unreadable)
    return arm, f"{arm} IS NOT NULL" + (f" AND {arm} NOT IN (FROM no_arms)" if unreadable else "")


def _define_settings(connection: duckdb.DuckDBPyConnection, arm: str) -> None:
    """Define the view of the setting of each arm.

    Args:
        arm: the expression for the arm of a row of `all_trials`.
    """
    of_choice = "|".join(CHOICE)
    # Of all rows, for speed: a superseded row has the same arm as the row that counts.
    connection.execute(
        f"""CREATE OR REPLACE VIEW settings AS
        SELECT arm, json_merge_patch(arm, '{json.dumps(dict.fromkeys(CHOICE))}', CASE
            WHEN regexp_matches(arm, '"({of_choice})\\.') THEN '{{' || coalesce(list_aggregate([
                to_json(key) || ':null' FOR key IN json_keys(arm)
                IF regexp_matches(key, '^({of_choice})\\.')
            ], 'string_agg', ','), '') || '}}'
            ELSE '{{}}'
        END)::VARCHAR AS setting
        FROM (SELECT DISTINCT {arm} AS arm FROM all_trials)"""
    )


def _leave_rows(connection: duckdb.DuckDBPyConnection, table: str, every: str, sound: str) -> None:
    """Leave unsound rows out of the view of all rows, and name their number on stderr.

    Others may have written rows. Every question may rely on a trial having its columns and a readable arm.
    Usually there are no unsound rows: then the view, and so each query, stays as simple as it was.

    Args:
        every: the SQL that reads all rows.
        sound: the SQL condition.
    """
    if table == "trials" and curation.has_invalid(connection):
        count = curation.count_unsound(connection, sound)
    else:
        unsound = f"SELECT count(*) FROM all_{table} WHERE ({sound}) IS NOT TRUE"
        [(count,)] = connection.execute(unsound).fetchall()
    if count:
        connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS FROM ({every}) WHERE {sound}")
        parts.leave_rows_aside(union.named(union.of(connection)), count, table)
