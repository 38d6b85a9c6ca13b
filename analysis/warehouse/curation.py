"""Marks of trials in the views: invalid trials are in no view, and tags are a column of `trials`."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from sweep.store import marks
from sweep.store.parts import pattern
from sweep.store.places import Place

# Whether a row is one that a mark as invalid is of.
HOLDS = "coalesce(coalesce(finished_at, '-infinity'::TIMESTAMPTZ) <= invalid.until, false)"


def load(
    connection: duckdb.DuckDBPyConnection, folder: Place, *, one_study: bool, with_invalid: bool
) -> None:
    """Read the marks beside the results, once; a mark that is made later is not followed.

    Args:
        one_study: the folder is that of one study.
        with_invalid: marks as invalid do not count, so that invalid trials are in the views.
    """
    connection.register("read", marks.live(marks.read(folder, pattern("marks", one_study))))
    connection.execute("CREATE TABLE marks AS SELECT DISTINCT * EXCLUDE (undone) FROM read")
    connection.unregister("read")
    connection.execute(
        f"""CREATE TABLE invalid AS
        SELECT trial_id, max(coalesce(until, '-infinity'::TIMESTAMPTZ)) AS until FROM marks
        WHERE tag = '{marks.INVALID}' AND {not with_invalid} GROUP BY trial_id"""
    )
    connection.execute("CREATE TABLE invalid_trials (trial_id VARCHAR)")
    connection.execute(
        f"""CREATE TABLE tagged AS SELECT trial_id, list(DISTINCT tag ORDER BY tag) AS tags FROM marks
        WHERE tag <> '{marks.INVALID}' GROUP BY trial_id"""
    )


@dataclass(frozen=True)
class Curated:
    """What marks add to the SQL of a table's view; "" everywhere without marks, so that queries stay simple.

    Attributes:
        keys: hashes of more keys, whose rows are looked at one by one.
        join: gives these rows their mark.
        or_row: a condition for rows that are left out, before OR.
        order: rows that are left out come last among the rows of a key.
        and_trial: a condition for the rows that stay, after AND.
    """

    keys: str = ""
    join: str = ""
    or_row: str = ""
    order: str = ""
    and_trial: str = ""


def curated(connection: duckdb.DuckDBPyConnection, table: str) -> Curated:
    """What marks add to the view of a table, which must come after that of `trials`."""
    if table == "trials":
        if not _has_rows(connection, "invalid"):
            return Curated()
        # Trials of which no row counts. Rows of other tables do not say when they were written.
        connection.execute(
            f"""CREATE OR REPLACE TABLE invalid_trials AS
            SELECT trial_id FROM all_trials JOIN invalid USING (trial_id)
            GROUP BY trial_id HAVING bool_and({HOLDS})"""
        )
        return Curated(
            keys="UNION ALL SELECT hash(trial_id) FROM invalid",
            join="LEFT JOIN invalid USING (trial_id)",
            or_row=f"{HOLDS} OR",
            order=f"{HOLDS}, ",
        )
    if not _has_rows(connection, "invalid_trials"):
        return Curated()
    return Curated(and_trial="AND trial_id NOT IN (FROM invalid_trials)")


def tags(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    """The SQL of the column of tags, and of the join that it needs, for rows named `each`."""
    if not _has_rows(connection, "tagged"):
        return "[]::VARCHAR[]", ""
    return "coalesce(tagged.tags, [])", "LEFT JOIN tagged ON each.trial_id = tagged.trial_id"


def left_out(connection: duckdb.DuckDBPyConnection, conditions: Sequence[str]) -> int:
    """The number of invalid trials for which all of some conditions hold."""
    if not _has_rows(connection, "invalid_trials"):
        return 0
    sql = "SELECT count(*) FROM invalid_trials"
    if conditions:
        held = " AND ".join(conditions)
        sql = f"SELECT count(DISTINCT trial_id) FROM invalid_rows AS trials WHERE {held}"
    [(count,)] = connection.execute(sql).fetchall()
    return int(count)


def _has_rows(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(connection.execute(f"FROM {table} LIMIT 1").fetchall())
