"""The views over parts. Each trial is in them once, whatever launches, retries and other programs wrote."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from analysis.warehouse import curation
from analysis.warehouse.sources import (
    Merged,
    are_as_written,
    can_be_read,
    compacted,
    converted,
    listed,
    matching,
    place_of,
    quoted,
    sorted_out,
)
from sweep.config import CHOICE
from sweep.errors import BadInput
from sweep.store import parts
from sweep.store.places import Place, Remote, attempts, is_plain, place, read_all, size
from sweep.store.schema import KEYS, LARGE, SCHEMAS
from sweep.store.sound import SOUND, SOUND_IN_FULL

# Which of several rows with the same key counts, where they can differ.
# A trial that was run again has its latest curves: the names of parts say when they were written.
_LATEST = "parse_filename(filename) DESC, file_row_number DESC"
# A row that was taken over has the times of its source, which counts before it.
PRECEDENCE = {
    "trials": "(status = 'ok') DESC, (status <> 'stopped') DESC, finished_at DESC, source IS NOT NULL, study",
    **{table: f"({sound}) DESC, {_LATEST}" for table, sound in SOUND_IN_FULL.items()},
}
# More parts than this, which are smaller than this many bytes on average, are loaded into memory.
_MANY, _SMALL = 300, 200_000
# Parts in an object store are loaded into memory if they are smaller than this many bytes together.
_FETCHED = 250_000_000
# The arm of a trial from its config.
ARM = """regexp_replace(config, '"seed":[0-9]+,"sparsity":[-+.0-9e]+,', '')"""


def create(connection: duckdb.DuckDBPyConnection, table: str, folder: Place, pattern: str) -> None:
    """Create the view of a table over all sound parts.

    Args:
        pattern: of the parts' names within the folder.

    Raises:
        BadInput: the parts cannot be read, or were merged at each attempt.
    """
    connection.execute(f"SET VARIABLE pattern_{table} = '{quoted(pattern)}'")
    for last in attempts():
        try:
            return _view(connection, table, folder, pattern, last)
        except duckdb.IOException as error:
            if last:
                raise BadInput(f"{folder}: its parts cannot be read ({error}): try again") from None


def show(connection: duckdb.DuckDBPyConnection, table: str, sql: str) -> None:
    """Let the view of a table show the rows of a query, also once the table's parts are listed again.

    Args:
        sql: over the view `every_TABLE`, of all rows that count. Before the first call the table's own view
            is that view: to define two would take twice as long, as DuckDB opens every part for each.
    """
    if not _shown(connection, table):
        definition = f"SELECT sql FROM duckdb_views() WHERE view_name = '{table}'"
        [(text,)] = connection.execute(definition).fetchall()
        body = text.split(" AS ", 1)[1].rstrip().rstrip(";")
        connection.execute(f"CREATE VIEW every_{table} AS {body}")
    connection.execute(f"SET VARIABLE shown_{table} = '{quoted(sql)}'")
    connection.execute(f"CREATE OR REPLACE VIEW {table} AS {sql}")


def _shown(connection: duckdb.DuckDBPyConnection, table: str) -> str | None:
    """The query whose rows the view of a table shows; None: it shows all rows that count."""
    sql: str | None = connection.execute(f"SELECT getvariable('shown_{table}')").fetchall()[0][0]
    return sql


def renew(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views again. A view that lists its parts by name does not find parts merged since."""
    for table in KEYS:
        [(results, pattern)] = connection.execute(
            f"SELECT getvariable('results'), getvariable('pattern_{table}')"
        ).fetchall()
        create(connection, table, place(results), pattern)


def _view(connection: duckdb.DuckDBPyConnection, table: str, folder: Place, pattern: str, last: bool) -> None:
    """One attempt to create the view.

    Args:
        last: no other attempt follows.
    """
    found = parts.list_parts(folder, pattern)[::-1]

    def require_all_parts() -> None:
        if not set(found) <= set(folder.glob(pattern)):
            raise Merged("they are being merged")

    small = table not in LARGE and sum(map(size, found)) < _FETCHED
    if isinstance(folder, Remote) and small:
        # From a store, every query would take many requests for each part.
        _define(connection, table, None, converted(table, zip(found, read_all(found), strict=True)))
        return require_all_parts()
    try:
        return _define_as_written(connection, table, folder, pattern, found)
    except (duckdb.Error, FileNotFoundError, parts.NotAPart) as error:
        # Parts were merged since they were listed: retry. Otherwise a part is not as a launch writes it, or
        # DuckDB does not find the parts by the pattern, as in Google's store: check each part. That comes
        # last, because it downloads all of a remote store.
        if isinstance(error, duckdb.IOException) and not last and set(found) != set(folder.glob(pattern)):
            raise
    plain, other = sorted_out(table, found)
    require_all_parts()
    tables = [*converted(table, other)]
    try:
        _define(connection, table, listed(plain), tables)
    except duckdb.Error as error:
        if not _is_damage(error):
            raise
        _define(connection, table, listed(part for part in plain if can_be_read(part, table)), tables)


def _define_as_written(
    connection: duckdb.DuckDBPyConnection, table: str, folder: Place, pattern: str, found: Sequence[Any]
) -> None:
    """Define the views over parts that are all as a launch writes them.

    Raises:
        parts.NotAPart: a part is not, or is not a plain file.
        Merged: there are new parts.
    """
    if not found:
        return _define(connection, table, None, ())
    if not are_as_written(connection, table, found):
        raise parts.NotAPart("of other types")
    few = len(found) <= _MANY or isinstance(folder, Remote)
    if not few and sum(part.stat().st_size for part in found) < _SMALL * len(found):
        return _define(connection, table, compacted(connection, table, found), ())
    now: set[Any] = set(folder.glob(pattern))
    if set(found) < now:
        if all(is_plain(part) for part in now):
            raise Merged("there are new ones")
        raise parts.NotAPart("some are no plain files")
    _define(connection, table, matching(folder, pattern), ())


def leave_damaged(connection: duckdb.DuckDBPyConnection, error: duckdb.Error) -> bool:
    """Define the views again without the parts that cannot be read; whether there were any.

    Damaged pages come to light in a query: the end of a file, which is read first, says nothing of them.

    Args:
        error: of the query.

    Raises:
        duckdb.IOException: parts are being merged.
    """
    if not _is_damage(error):
        return False
    [(results,)] = connection.execute("SELECT getvariable('results')").fetchall()
    folder, some = place(results), False
    for table in KEYS:
        names = connection.execute(
            f"SELECT filename FROM all_{table} EXCEPT SELECT filename FROM recoded_{table}"
        ).fetchall()
        found = [place_of(folder, name) for (name,) in names]
        sound = [part for part in found if can_be_read(part, table)]
        if len(sound) < len(found):
            some = True
            _define(connection, table, listed(sound))
    return some


def _is_damage(error: duckdb.Error) -> bool:
    return type(error) in (duckdb.Error, duckdb.InvalidInputException, duckdb.IOException)


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
    unsound = f"SELECT count(*) FROM all_{table} WHERE ({sound}) IS NOT TRUE"
    [(count,)] = connection.execute(unsound).fetchall()
    if count:
        connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS FROM ({every}) WHERE {sound}")
        [(results,)] = connection.execute("SELECT getvariable('results')").fetchall()
        parts.leave_rows_aside(results, count, table)


def _define(
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
        # Without a row the view would not know its columns.
        empty = SCHEMAS[table].append(pa.field("filename", pa.string()))
        empty = empty.append(pa.field("file_row_number", pa.int64()))
        rows = pa.concat_tables([empty.empty_table(), *tables], promote_options="permissive")
        connection.register("rows", rows)
        connection.execute(f"CREATE OR REPLACE TABLE recoded_{table} AS FROM rows")
        connection.unregister("rows")
    every = f"FROM recoded_{table}" + (f" UNION ALL BY NAME FROM {source}" if source else "")
    connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS {every}")
    sound, arm = SOUND[table], "arm"
    if table == "trials":
        arm, readable = _readable_arm(connection)
        sound += f" AND {readable}"
        _define_settings(connection, arm)
    _leave_rows(connection, table, every, sound)
    curated = curation.curated(connection, table)
    columns, tagged = "SELECT each.* EXCLUDE (filename, file_row_number)", ""
    if table == "trials":
        columns, tagged = _trial_columns(connection, arm, with_invalid=bool(curated.join))
    order = curated.order + PRECEDENCE.get(table, _LATEST)
    shown, rows_of = _shown(connection, table), f"all_{table}"
    [(study,)] = connection.execute("SELECT getvariable('study')").fetchall()
    if table == "trials" and study is not None:
        rows_of = f"(FROM all_trials WHERE study = '{quoted(study)}')"
    connection.execute(
        f"""CREATE OR REPLACE VIEW {f"every_{table}" if shown else table} AS
        WITH twice AS (
            SELECT hash({key}) AS h FROM {rows_of} GROUP BY 1 HAVING count(*) > 1 {curated.keys}
        ),
        superseded AS (
            SELECT hash(filename, file_row_number) AS h
            FROM (FROM (FROM {rows_of} WHERE hash({key}) IN (FROM twice)) {curated.join}
                  QUALIFY {curated.or_row} row_number() OVER (PARTITION BY {key} ORDER BY {order}) > 1)
        )
        {columns} FROM {rows_of} AS each {tagged}
        WHERE hash(filename, file_row_number) NOT IN (FROM superseded) {curated.and_trial}
            AND ({SOUND_IN_FULL.get(table, "true")})"""
    )
    if shown:
        connection.execute(f"CREATE OR REPLACE VIEW {table} AS {shown}")


def _trial_columns(connection: duckdb.DuckDBPyConnection, arm: str, *, with_invalid: bool) -> tuple[str, str]:
    """The SQL of the columns of `trials`, taken from rows named `each`, and of the join that tags need.

    Args:
        arm: the expression for the arm of a row.
        with_invalid: define the view of the rows of invalid trials too.
    """
    # A part of another tool may have a column of this name too.
    named = "SELECT 1 FROM duckdb_columns() WHERE table_name = 'all_trials' AND lower(column_name) = 'tags'"
    others = "filename, file_row_number" + ", tags" * bool(connection.execute(named).fetchall())
    tags, join = curation.tags(connection)
    columns = f"SELECT each.* EXCLUDE ({others}) REPLACE ({arm} AS arm), {tags} AS tags"
    if with_invalid:
        rows = "(FROM all_trials WHERE trial_id IN (FROM invalid_trials))"
        connection.execute(f"CREATE OR REPLACE VIEW invalid_rows AS {columns} FROM {rows} AS each {join}")
    return columns, join
