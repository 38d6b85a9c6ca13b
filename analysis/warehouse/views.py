"""The views over parts: each trial once, whatever launches, retries and other programs left among them."""

import glob
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from sweep.config import CHOICE
from sweep.errors import BadInput
from sweep.store import parts
from sweep.store.places import Place, Remote, attempts, is_plain, place, read_all
from sweep.store.schema import KEYS, SCHEMAS

# Which of several rows with the same key is looked at, where they can differ.
_PRECEDENCE = {"trials": "ORDER BY (status = 'ok') DESC, (status <> 'stopped') DESC, finished_at DESC"}
# A folder named seed=7 is no column.
_OPTIONS = "union_by_name = true, hive_partitioning = false, filename = true, file_row_number = true"
# More parts than this, and smaller than this many bytes on average, are taken into memory.
_MANY, _SMALL = 300, 200_000
# Of an object store, less than this in all is taken into memory.
_FETCHED = 250_000_000
# How Parquet stores each type of ours, as `parquet_schema` of DuckDB says it, and the expression for that.
_STORED = "trim(concat_ws(' ', type, converted_type, regexp_extract(logical_type, 'isAdjustedToUTC=.')))"
_KINDS = {
    pa.string(): "BYTE_ARRAY UTF8",
    pa.int64(): "INT64",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "INT64 TIMESTAMP_MICROS isAdjustedToUTC=1",
}
# A config less seed and sparsity.
_ARM = """regexp_replace(config, '"seed":[0-9]+,"sparsity":[-+.0-9e]+,', '')"""


def create(connection: duckdb.DuckDBPyConnection, table: str, folder: Place, pattern: str) -> None:
    """Create the view of a table, of all parts that are sound.

    Args:
        pattern: of the names that its parts have within the folder.
    """
    connection.execute(f"SET VARIABLE pattern_{table} = '{quoted(pattern)}'")
    for last in attempts():
        try:
            return _view(connection, table, folder, pattern, last)
        except duckdb.IOException as error:
            if last:
                raise BadInput(f"{folder}: its parts cannot be read ({error}): try again") from None


def renew(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views again: one that lists its parts, as beside a foreign one, misses what was merged."""
    for table in KEYS:
        [(results, pattern)] = connection.execute(
            f"SELECT getvariable('results'), getvariable('pattern_{table}')"
        ).fetchall()
        create(connection, table, place(results), pattern)


class _Merged(duckdb.IOException):
    """Parts were merged while they were looked at."""


def _view(connection: duckdb.DuckDBPyConnection, table: str, folder: Place, pattern: str, last: bool) -> None:
    found = parts.list_parts(folder, pattern)[::-1]

    def see_that_all_are_there() -> None:
        if not set(found) <= set(folder.glob(pattern)):
            raise _Merged("they are being merged")

    if isinstance(folder, Remote) and sum(part.size for part in found) < _FETCHED:
        # Every query would take many requests for each.
        _define(connection, table, None, _recoded(table, zip(found, read_all(found), strict=True)))
        return see_that_all_are_there()
    try:
        return _define_as_written(connection, table, folder, pattern, found)
    except (duckdb.Error, FileNotFoundError, parts.NotAPart) as error:
        # Merged meanwhile, maybe one that came after these were listed; or DuckDB does not find them by the
        # pattern, as at Google's. To look at each comes after: of a store that reads all of them.
        if isinstance(error, duckdb.IOException) and not last and set(found) != set(folder.glob(pattern)):
            raise
    plain, other = _told_apart(table, found)
    see_that_all_are_there()
    recoded = [*_recoded(table, other)]
    try:
        _define(connection, table, _listed(plain), recoded)
    except duckdb.Error as error:
        if not _is_damage(error):
            raise
        _define(connection, table, _listed(part for part in plain if _can_be_read(part, table)), recoded)


def _define_as_written(
    connection: duckdb.DuckDBPyConnection, table: str, folder: Place, pattern: str, found: Sequence[Any]
) -> None:
    """Define the views over parts that are all as a launch writes them; raises where one is not."""
    if not found:
        return _define(connection, table, None, ())
    if not _are_as_written(connection, table, found):
        raise parts.NotAPart("of other types")
    few = len(found) <= _MANY or isinstance(folder, Remote)
    if not few and sum(part.stat().st_size for part in found) < _SMALL * len(found):
        return _define(connection, table, _compacted(connection, table, found), ())
    now: set[Any] = set(folder.glob(pattern))
    if set(found) < now:
        if all(is_plain(part) for part in now):
            raise _Merged("there are new ones")
        raise parts.NotAPart("some are no plain files")
    everything = quoted(f"{glob.escape(named(folder))}/{pattern}")
    _define(connection, table, f"read_parquet('{everything}', {_OPTIONS})", ())


def _are_as_written(connection: duckdb.DuckDBPyConnection, table: str, found: Sequence[Any]) -> bool:
    """Whether every column of every part has the type that a launch writes; reads the ends of the files."""
    stored = connection.execute(
        f"""SELECT name, {_STORED}, count(*) FROM parquet_schema([{_names(found)}])
        WHERE num_children IS NULL GROUP BY ALL"""
    ).fetchall()
    types: dict[str, set[str]] = {}
    counts: Counter[str] = Counter()
    for name, kind, count in stored:
        types.setdefault(name, set()).add(kind)
        counts[name] += count
    return all(counts[name] == len(found) for name in parts.REQUIRED[table]) and all(
        types.get(field.name, {_KINDS[field.type]}) == {_KINDS[field.type]}
        for field in SCHEMAS[table]
        if field.type in _KINDS
    )


def _told_apart(table: str, found: Sequence[Any]) -> tuple[list[Any], list[tuple[Any, Path | bytes]]]:
    """Parts that DuckDB reads as they are meant, and others with what was read of them; names the rest."""
    plain, other = [], []
    for part in found:
        try:
            content = _content(part)
            if parts.fits(content, table):
                plain.append(part)
            else:
                other.append((part, content))
        except parts.NotAPart as why:
            parts.leave_aside(part, str(why))
        except FileNotFoundError:  # merged into another meanwhile
            continue
    return plain, other


def _content(part: Place) -> Path | bytes:
    return part.read_bytes() if isinstance(part, Remote) else part


def _recoded(table: str, found: Iterable[tuple[Any, Path | bytes | OSError]]) -> Iterator[pa.Table]:
    """The rows of parts, each with where it is, in the table's own types; says what is not a part."""
    for part, content in found:
        if isinstance(content, FileNotFoundError):  # merged into another meanwhile
            continue
        if isinstance(content, OSError):
            raise content
        try:
            rows = parts.read_rows(content, table)
        except parts.NotAPart as why:
            parts.leave_aside(part, str(why))
            continue
        numbers = pa.array(range(len(rows)), pa.int64())
        rows = rows.append_column("filename", pa.repeat(named(part), len(rows)))
        yield rows.append_column("file_row_number", numbers)


def leave_damaged(connection: duckdb.DuckDBPyConnection, error: duckdb.Error) -> bool:
    """Leave parts aside of which a query found a page that cannot be read; whether there are any.

    The end of a file says nothing of its pages, and nobody reads all of them before something is asked.

    Raises:
        duckdb.IOException: parts are just being merged.
    """
    if not _is_damage(error):
        return False
    [(results,)] = connection.execute("SELECT getvariable('results')").fetchall()
    folder, some = place(results), False
    for table in KEYS:
        names = connection.execute(
            f"SELECT filename FROM all_{table} EXCEPT SELECT filename FROM recoded_{table}"
        ).fetchall()
        found = [_part(folder, name) for (name,) in names]
        whole = [part for part in found if _can_be_read(part, table)]
        if len(whole) < len(found):
            some = True
            _define(connection, table, _listed(whole))
    return some


def _part(results: Place, name: str) -> Place:
    """The part that DuckDB calls by this name."""
    return replace(results, path=name.partition("://")[2]) if isinstance(results, Remote) else Path(name)


def _readable_arm(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    """The expression for an arm of `all_trials`, and the condition that it can be read."""
    arms = [arm for (arm,) in connection.execute("SELECT DISTINCT arm FROM all_trials").fetchall()]
    arm = "arm"
    if None in arms:
        # Results of before there was this column.
        arm = f"coalesce(arm, {_ARM})"
        arms = [arm for (arm,) in connection.execute(f"SELECT DISTINCT {arm} FROM all_trials").fetchall()]
    none = [[text] for text in arms if text is not None and parts.config(text) is None]
    connection.execute("CREATE OR REPLACE TABLE no_arms (arm VARCHAR)")
    if none:
        connection.executemany("INSERT INTO no_arms VALUES (?)", none)
    return arm, f"{arm} IS NOT NULL" + (f" AND {arm} NOT IN (FROM no_arms)" if none else "")


def _leave_rows(connection: duckdb.DuckDBPyConnection, table: str, every: str, sound: str) -> None:
    """Leave rows out of a view of all that no question can be asked of, and say how many.

    Rows are somebody else's: every question may take it that a trial has its columns, and an arm that can be
    read. What is usual, that there is none, costs a query nothing.
    """
    none = f"SELECT count(*) FROM all_{table} WHERE ({sound}) IS NOT TRUE"
    [(count,)] = connection.execute(none).fetchall()
    if count:
        connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS FROM ({every}) WHERE {sound}")
        [(results,)] = connection.execute("SELECT getvariable('results')").fetchall()
        parts.leave_rows_aside(results, count, table)


def _is_damage(error: duckdb.Error) -> bool:
    return type(error) in (duckdb.Error, duckdb.InvalidInputException, duckdb.IOException)


def _can_be_read(part: Place, table: str) -> bool:
    """Whether every page of a part can be read; if not, one line says so."""
    try:
        parts.read_rows(_content(part), table, ())
    except parts.NotAPart as why:
        parts.leave_aside(part, str(why))
        return False
    except FileNotFoundError:
        # Another has its rows, and would be missing from what is read instead.
        raise _Merged("they are being merged") from None
    return True


def _compacted(connection: duckdb.DuckDBPyConnection, table: str, found: Sequence[Path]) -> str:
    """Take many small parts into memory at once: opening each anew for every query would take seconds.

    Without looking through all of them for their columns first, which takes as long again: the newest part
    has every column, and older ones without some of them make this fail, for the slower way to be taken.
    """
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"CREATE OR REPLACE TABLE parts_{table} AS FROM read_parquet([{_names(found)}], "
        "hive_partitioning = false, filename = true, file_row_number = true)"
    )
    connection.execute("RESET preserve_insertion_order")
    return f"parts_{table}"


def _listed(found: Iterable[Place]) -> str | None:
    """What DuckDB reads some parts with; None for no part."""
    names = _names(found)
    return f"read_parquet([{names}], {_OPTIONS})" if names else None


def _names(found: Iterable[Place]) -> str:
    return ", ".join(f"'{quoted(glob.escape(named(part)))}'" for part in found)


def _define(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    source: str | None,
    recoded: Iterable[pa.Table] | None = None,
) -> None:
    """A view of all rows of a source, and one of each row once.

    Few rows are there twice, if any. Looking by the keys alone for those that do not count, and leaving them
    out of one pass over the others, is several times faster than sorting whole rows, and needs no memory.

    Args:
        recoded: rows that come besides, of parts that are not stored as ours are; None: the same as before.
    """
    key = ", ".join(KEYS[table])
    if recoded is not None:
        # Without a row the view would not know its columns.
        none = SCHEMAS[table].append(pa.field("filename", pa.string()))
        none = none.append(pa.field("file_row_number", pa.int64()))
        found = pa.concat_tables([none.empty_table(), *recoded], promote_options="permissive")
        connection.register("rows", found)
        connection.execute(f"CREATE OR REPLACE TABLE recoded_{table} AS FROM rows")
        connection.unregister("rows")
    every = f"FROM recoded_{table}" + (f" UNION ALL BY NAME FROM {source}" if source else "")
    connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS {every}")
    columns = "SELECT * EXCLUDE (filename, file_row_number)"
    sound = parts.SOUND[table]
    if table == "trials":
        arm, readable = _readable_arm(connection)
        sound += f" AND {readable}"
        columns += f" REPLACE ({arm} AS arm)"
        # Of all rows: that of a trial that does not count has the same arm.
        connection.execute(
            f"""CREATE OR REPLACE VIEW settings AS
            SELECT arm, json_merge_patch(arm, '{json.dumps(dict.fromkeys(CHOICE))}')::VARCHAR AS setting
            FROM (SELECT DISTINCT {arm} AS arm FROM all_trials)"""
        )
    _leave_rows(connection, table, every, sound)
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


def named(where: Place) -> str:
    """The name by which DuckDB finds it."""
    return str(where) if isinstance(where, Path) else f"{where.scheme}://{where.path}"


def quoted(text: str) -> str:
    """A text as it stands between single quotes in SQL."""
    return text.replace("'", "''")
