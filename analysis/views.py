"""The views over parts: each trial once, whatever launches, retries and other programs left among them."""

import glob
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from analysis.labels import CHOICE
from sweep.errors import BadInput
from sweep.schema import KEYS, SCHEMAS
from sweep.storage import Place, Remote, looks, read_all

# Which of several rows with the same key is looked at, where they can differ.
_PRECEDENCE = {"trials": "ORDER BY (status = 'ok') DESC, (status <> 'stopped') DESC, finished_at DESC"}
# A folder named seed=7 is no column.
_OPTIONS = "union_by_name = true, hive_partitioning = false, filename = true, file_row_number = true"
# More parts than this, and smaller than this many bytes on average, are taken into memory.
_MANY, _SMALL = 300, 200_000
# Of an object store, less than this in all is taken into memory.
_FETCHED = 250_000_000
# What a row cannot be without.
_REQUIRED = {**KEYS, "trials": ("trial_id", "status", "config")}
# A config less seed and sparsity.
_ARM = """regexp_replace(config, '"seed":[0-9]+,"sparsity":[-+.0-9e]+,', '')"""


def create(connection: duckdb.DuckDBPyConnection, table: str, folder: Place, pattern: str) -> None:
    """Create the view of a table, of all parts that are sound.

    Args:
        pattern: of the names that its parts have within the folder.
    """
    # Without a part the view would not know its columns.
    connection.register("nothing_yet", SCHEMAS[table].empty_table())
    connection.execute(f"CREATE TABLE no_{table} AS FROM nothing_yet")
    connection.unregister("nothing_yet")
    for last in looks():
        try:
            return _view(connection, table, folder, pattern, last)
        except (_Merged, duckdb.IOException) as error:
            if last:
                raise BadInput(f"{folder}: its parts cannot be read ({error}): try again") from None


class _Merged(Exception):
    """Parts were merged while a view of them was made."""


def _view(connection: duckdb.DuckDBPyConnection, table: str, folder: Place, pattern: str, last: bool) -> None:
    parts: list[Any] = sorted(folder.glob(pattern), key=lambda part: part.name, reverse=True)

    def see_that_all_are_there() -> None:
        if not set(parts) <= set(folder.glob(pattern)):
            raise _Merged("they are being merged")

    if not parts:
        _define(connection, table, None)
        return
    if isinstance(folder, Remote) and sum(part.size for part in parts) < _FETCHED:
        _define(connection, table, _fetched(connection, table, parts))
        see_that_all_are_there()
        return
    source = f"read_parquet('{quoted(f'{glob.escape(named(folder))}/{pattern}')}', {_OPTIONS})"
    missing = " OR ".join(f"{name} IS NULL" for name in _REQUIRED[table])
    failed: Exception | None = None
    try:
        few = len(parts) <= _MANY or isinstance(folder, Remote)
        if not few and sum(part.stat().st_size for part in parts) < _SMALL * len(parts):
            source = _compacted(connection, table, parts)
        _define(connection, table, source)
        found = connection.execute(f"DESCRIBE {table}").fetchall()
        # A column of another type turns all of it into that type; what has no key is not a row of ours.
        if {row[:2] for row in found} >= {
            row[:2] for row in connection.execute(f"DESCRIBE no_{table}").fetchall()
        } and not connection.execute(f"SELECT 1 FROM all_{table} WHERE {missing} LIMIT 1").fetchone():
            return
    except (duckdb.Error, FileNotFoundError) as error:
        failed = error
    # Merged meanwhile, maybe one that came after these were listed; or DuckDB does not find them by the
    # pattern, as at Google's. To look at each comes after: of a store that reads all of them.
    if isinstance(failed, duckdb.IOException) and not last and set(parts) != set(folder.glob(pattern)):
        raise failed
    sound = [part for part in parts if _is_sound(part, table)]
    see_that_all_are_there()
    _define(connection, table, f"read_parquet({_listed(sound)}, {_OPTIONS})" if sound else None)


def _compacted(connection: duckdb.DuckDBPyConnection, table: str, parts: Sequence[Path]) -> str:
    """Take many small parts into memory at once: opening each anew for every query would take seconds.

    Without looking through all of them for their columns first, which takes as long again: the newest part
    has every column, and older ones without some of them make this fail, for the slower way to be taken.
    """
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"CREATE OR REPLACE TABLE parts_{table} AS FROM read_parquet({_listed(parts)}, "
        "hive_partitioning = false, filename = true, file_row_number = true)"
    )
    connection.execute("RESET preserve_insertion_order")
    return f"parts_{table}"


def _fetched(connection: duckdb.DuckDBPyConnection, table: str, parts: Sequence[Remote]) -> str | None:
    """Take the parts of an object store into memory: every query would take many requests for each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for part, content in zip(parts, read_all(parts), strict=True):
        if isinstance(content, FileNotFoundError):  # merged into another meanwhile
            continue
        if isinstance(content, OSError):
            raise content
        if _is_sound(part, table, pa.BufferReader(content)):
            rows = pq.read_table(pa.BufferReader(content))
            name = pa.repeat(named(part), len(rows))
            numbers = pa.array(range(len(rows)), pa.int64())
            found.append(rows.append_column("filename", name).append_column("file_row_number", numbers))
    if not found:
        return None
    connection.register("fetched", pa.concat_tables(found, promote_options="permissive"))
    connection.execute(f"CREATE OR REPLACE TABLE parts_{table} AS FROM fetched")
    connection.unregister("fetched")
    return f"parts_{table}"


def _listed(parts: Sequence[Place]) -> str:
    return "[" + ", ".join(f"'{quoted(glob.escape(named(part)))}'" for part in parts) + "]"


def _define(connection: duckdb.DuckDBPyConnection, table: str, source: str | None) -> None:
    """A view of all rows of a source, and one of each row once.

    Few rows are there twice, if any. Looking by the keys alone for those that do not count, and leaving them
    out of one pass over the others, is several times faster than sorting whole rows, and needs no memory.
    """
    key = ", ".join(KEYS[table])
    rows = f"FROM no_{table} SELECT *, '' AS filename, 0 AS file_row_number"
    if source:
        rows += f" UNION ALL BY NAME FROM {source}"
    connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS {rows}")
    columns = "SELECT * EXCLUDE (filename, file_row_number)"
    arm = "arm"
    with suppress(duckdb.Error):
        # Results of before there was this column.
        if table == "trials" and connection.execute("FROM all_trials WHERE arm IS NULL LIMIT 1").fetchone():
            arm = f"coalesce(arm, {_ARM})"
            columns += f" REPLACE ({arm} AS arm)"
    if table == "trials":
        # Of all rows: that of a trial that does not count has the same arm.
        connection.execute(
            f"""CREATE OR REPLACE VIEW settings AS
            SELECT arm, json_merge_patch(arm, '{json.dumps(dict.fromkeys(CHOICE))}')::VARCHAR AS setting
            FROM (SELECT DISTINCT {arm} AS arm FROM all_trials) WHERE json_valid(arm)"""
        )
    connection.execute(
        f"""CREATE OR REPLACE VIEW {table} AS
        WITH twice AS (SELECT hash({key}) AS h FROM all_{table} GROUP BY 1 HAVING count(*) > 1),
        superseded AS (
            SELECT hash(filename, file_row_number) AS h
            FROM (FROM all_{table} WHERE hash({key}) IN (FROM twice)
                  QUALIFY row_number() OVER (PARTITION BY {key} {_PRECEDENCE.get(table, "")}) > 1)
        )
        {columns} FROM all_{table}
        WHERE hash(filename, file_row_number) NOT IN (FROM superseded)"""
    )


def _is_sound(part: Place, table: str, content: Any = None) -> bool:
    """Whether a file is a part of this table; if not, one line on stderr says so.

    Args:
        content: of the part, if it was read already.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if isinstance(part, Remote) and content is None:
            content = pa.BufferReader(part.read_bytes())
        schema = pq.read_schema(part if content is None else content)
    except FileNotFoundError:  # merged into another meanwhile
        return False
    except (pa.ArrowException, OSError):
        why = "damaged"
    else:
        missing = [name for name in _REQUIRED[table] if name not in schema.names]
        other = [
            field.name
            for field in SCHEMAS[table]
            if field.name in schema.names and not _alike(schema.field(field.name).type, field.type)
        ]
        if not missing and not other:
            return True
        why = f"no {missing[0]} in it" if missing else f"{other[0]} is of another type"
    print(f"{part}: not a part of {table} ({why}): left aside; move it away", file=sys.stderr)
    return False


def _alike(one: Any, other: Any) -> bool:
    """Whether a column of the one type can stand for one of the other."""
    import pyarrow.types as types

    return bool(one == other or types.is_null(one) or all(map(types.is_temporal, (one, other))))


def named(where: Place) -> str:
    """The name by which DuckDB finds it."""
    return str(where) if isinstance(where, Path) else f"{where.scheme}://{where.path}"


def quoted(text: str) -> str:
    """A text as it stands between single quotes in SQL."""
    return text.replace("'", "''")
