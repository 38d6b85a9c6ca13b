"""Marks of trials in the views: invalid trials are in no view, and tags are a column of `trials`."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analysis.warehouse import union
from analysis.warehouse.union import Member
from sweep.store import marks


def load(connection: duckdb.DuckDBPyConnection, places: Sequence[Member], *, with_invalid: bool) -> None:
    """Read the marks beside the results, once; a mark that is made later is not followed.

    Args:
        with_invalid: marks as invalid do not count, so that invalid trials are in the views.
    """
    read = []
    for each in places:
        rows = marks.live(marks.read(each.folder, each.pattern("marks")))
        read.append(rows.append_column("place", pa.repeat(each.name, len(rows))))
    connection.register("read", pa.concat_tables(read))
    connection.execute("CREATE TABLE marks AS SELECT DISTINCT * EXCLUDE (undone) FROM read")
    connection.unregister("read")
    connection.execute(
        f"""CREATE TABLE invalid AS
        SELECT trial_id, list({{
            'place': place, 'source': source, 'until': coalesce(until, '-infinity'::TIMESTAMPTZ)
        }}) AS marks
        FROM marks WHERE tag = '{marks.INVALID}' AND {not with_invalid} GROUP BY trial_id"""
    )
    connection.execute(
        f"""CREATE TABLE tags_of AS SELECT trial_id, list(DISTINCT tag ORDER BY tag) AS tags FROM marks
        WHERE tag <> '{marks.INVALID}' GROUP BY trial_id"""
    )
    # By the group DuckDB knows that a trial is there once, and joins only where tags are asked for.
    connection.execute(
        "CREATE VIEW tagged AS SELECT trial_id, any_value(tags) AS tags FROM tags_of GROUP BY trial_id"
    )


def holds(places: Sequence[Member]) -> str:
    """The SQL of whether a mark as invalid is of a row of `all_trials` that is joined with `invalid`.

    A mark is of rows of the place that it lies in, of one source, that had finished when it was made.
    """
    return f"""coalesce(len(list_filter(invalid.marks, lambda mark: mark.place = {union.of_row(places)}
        AND coalesce(mark.source = coalesce(source, ''), true)
        AND coalesce(finished_at, '-infinity'::TIMESTAMPTZ) <= mark.until)), 0) > 0"""


@dataclass(frozen=True)
class Curated:
    """What marks add to the SQL of a table's view; "" everywhere without marks, so that queries stay simple.

    Attributes:
        condition: for rows that may count.
        keys: hashes of more keys, whose rows are looked at one by one.
        join: gives these rows their mark.
        or_row: a condition for rows that are left out, before OR.
        order: rows that are left out come last among the rows of a key.
    """

    condition: str = ""
    keys: str = ""
    join: str = ""
    or_row: str = ""
    order: str = ""


def has_invalid(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether any trial is marked as invalid."""
    return _has_rows(connection, "invalid")


def count_unsound(connection: duckdb.DuckDBPyConnection, sound: str) -> int:
    """The number of rows of `all_trials` for which a condition does not hold.

    The others that may be of an invalid trial go to the table `marked`, from the same pass over the parts: a
    pass of their own would take as long again.
    """
    connection.execute(
        f"""CREATE OR REPLACE TABLE marked AS
        SELECT trial_id, study, source, finished_at, ({sound}) IS TRUE AS sound FROM all_trials
        WHERE ({sound}) IS NOT TRUE OR hash(trial_id) IN (SELECT hash(trial_id) FROM invalid)"""
    )
    [(count,)] = connection.execute("SELECT count(*) FROM marked WHERE NOT sound").fetchall()
    connection.execute("DELETE FROM marked WHERE NOT sound")
    return int(count)


def choose(connection: duckdb.DuckDBPyConnection, places: Sequence[Member], trials: str, order: str) -> None:
    """Find out which rows of the other tables do not count: of each trial those of some places.

    Rows of other tables say neither when they were written nor by whom. So of a trial that several places
    have they are those of the place whose row of `trials` counts; and none, if no row of `trials` does.

    Args:
        trials: the SQL of the rows of `trials`.
        order: which of several rows of a trial counts.
    """
    connection.execute(
        "CREATE OR REPLACE TABLE passed_over (trial_id VARCHAR, place VARCHAR, invalid BOOLEAN)"
    )
    place, held = union.of_row(places), holds(places)
    if len(places) == 1:
        if has_invalid(connection):
            connection.execute(
                f"""INSERT INTO passed_over
                SELECT trial_id, {place}, true FROM marked JOIN invalid USING (trial_id)
                WHERE study = coalesce(getvariable('study'), study)
                GROUP BY trial_id HAVING bool_and({held})"""
            )
        return
    keys = f"""SELECT hash(trial_id) FROM invalid UNION ALL
        SELECT hash(trial_id) FROM {trials} GROUP BY trial_id HAVING min({place}) <> max({place})"""
    connection.execute(
        f"""INSERT INTO passed_over
        WITH looked_at AS (
            SELECT trial_id, {place} AS place, {held} AS held,
                bool_and(held) OVER (PARTITION BY trial_id) AS invalid,
                row_number() OVER (PARTITION BY trial_id ORDER BY {held}, {order}) AS rank
            FROM (FROM {trials} WHERE hash(trial_id) IN ({keys})) LEFT JOIN invalid USING (trial_id)
        )
        SELECT trial_id, place, bool_or(invalid) FROM looked_at
        GROUP BY trial_id, place HAVING NOT bool_or(rank = 1 AND NOT held)"""
    )

    _define_disagreements(connection, place, held, trials, order)


def _define_disagreements(
    connection: duckdb.DuckDBPyConnection, place: str, held: str, trials: str, order: str
) -> None:
    """Define the view of trials with several accuracies in several places: a row for each place."""
    connection.execute(
        f"""CREATE OR REPLACE VIEW disagreements AS
        WITH best AS (
            SELECT *, {place} AS place
            FROM (FROM {trials} WHERE trial_id IN (SELECT trial_id FROM passed_over))
            LEFT JOIN invalid USING (trial_id)
            WHERE status = 'ok' AND NOT {held}
            QUALIFY row_number() OVER (PARTITION BY trial_id, place ORDER BY {order}) = 1
        )
        SELECT trial_id, coalesce(source, place) AS source, study, criterion, sparsity, seed, test_accuracy,
            code, launch, finished_at
        FROM best
        WINDOW one AS (PARTITION BY trial_id)
        QUALIFY min(test_accuracy) OVER one < max(test_accuracy) OVER one
        ORDER BY trial_id, {order}"""
    )


def curated(connection: duckdb.DuckDBPyConnection, table: str, places: Sequence[Member]) -> Curated:
    """What marks and a union add to the view of a table, which must come after that of `trials`."""
    if table == "trials":
        if not has_invalid(connection):
            return Curated()
        held = holds(places)
        return Curated(
            keys="UNION ALL SELECT hash(trial_id) FROM invalid",
            join="LEFT JOIN invalid USING (trial_id)",
            or_row=f"{held} OR",
            order=f"{held},",
        )
    if not _has_rows(connection, "passed_over"):
        return Curated()
    if len(places) == 1:
        return Curated(condition="trial_id NOT IN (SELECT trial_id FROM passed_over)")
    place = union.of_row(places)
    return Curated(
        condition=f"hash(trial_id, {place}) NOT IN (SELECT hash(trial_id, place) FROM passed_over)"
    )


def tags(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    """The SQL of the column of tags, and of the join that it needs, for rows named `each`."""
    if not _has_rows(connection, "tagged"):
        return "[]::VARCHAR[]", ""
    return "coalesce(tagged.tags, [])", "LEFT JOIN tagged ON each.trial_id = tagged.trial_id"


def left_out(connection: duckdb.DuckDBPyConnection, conditions: Sequence[str]) -> int:
    """The number of invalid trials for which all of some conditions hold."""
    sql = "SELECT count(DISTINCT trial_id) FROM passed_over WHERE invalid"
    if conditions and connection.execute(f"{sql} LIMIT 1").fetchall() != [(0,)]:
        held = " AND ".join(conditions)
        [(rows,)] = connection.execute("SELECT getvariable('invalid_rows')").fetchall()
        sql = f"SELECT count(DISTINCT trial_id) FROM ({rows}) AS trials WHERE {held}"
    [(count,)] = connection.execute(sql).fetchall()
    return int(count)


def _has_rows(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(connection.execute(f"FROM {table} LIMIT 1").fetchall())
