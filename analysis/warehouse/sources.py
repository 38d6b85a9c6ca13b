"""Parts of a table as DuckDB reads them: as they are, converted in memory, or not at all."""

import glob
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from sweep.store import parts
from sweep.store.places import Place, Remote
from sweep.store.schema import SCHEMAS

# A folder named seed=7 is not a column.
_OPTIONS = "union_by_name = true, hive_partitioning = false, filename = true, file_row_number = true"
# How Parquet stores each of our types, in the words of DuckDB's `parquet_schema`, and the expression for it.
_STORED = "trim(concat_ws(' ', type, converted_type, regexp_extract(logical_type, 'isAdjustedToUTC=.')))"
_KINDS = {
    pa.string(): "BYTE_ARRAY UTF8",
    pa.int64(): "INT64",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.binary(): "BYTE_ARRAY",
    pa.timestamp("us", tz="UTC"): "INT64 TIMESTAMP_MICROS isAdjustedToUTC=1",
}


class Merged(duckdb.IOException):
    """Parts were merged while they were read."""


def are_as_written(connection: duckdb.DuckDBPyConnection, table: str, found: Sequence[Any]) -> bool:
    """Whether every column of every part has the type that a launch writes; reads only the files' ends."""
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


def sorted_out(table: str, found: Sequence[Any]) -> tuple[list[Any], list[tuple[Any, Path | bytes]]]:
    """Parts whose values DuckDB reads as they are meant, and parts to convert, with their content.

    A part that is neither is named on stderr.
    """
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
        except FileNotFoundError:  # merged into another part meanwhile
            continue
    return plain, other


def _content(part: Place) -> Path | bytes:
    return part.read_bytes() if isinstance(part, Remote) else part


def converted(table: str, found: Iterable[tuple[Any, Path | bytes | OSError]]) -> Iterator[pa.Table]:
    """The rows of parts in the table's own types, with file name and row number.

    A part that cannot be read is named on stderr.

    Args:
        found: parts, each with its content or the error of reading it.
    """
    for part, content in found:
        if isinstance(content, FileNotFoundError):  # merged into another part meanwhile
            continue
        if isinstance(content, OSError):
            raise content
        try:
            rows = parts.read_rows(content, table)
        except parts.NotAPart as why:
            parts.leave_aside(part, str(why))
            continue
        numbers = pa.array(range(len(rows)), pa.int64())
        rows = rows.append_column("filename", pa.repeat(duckdb_name(part), len(rows)))
        yield rows.append_column("file_row_number", numbers)


def can_be_read(part: Place, table: str) -> bool:
    """Whether every page of a part can be read; if not, a line on stderr names the part.

    Raises:
        Merged: the part is gone.
    """
    try:
        parts.read_rows(_content(part), table, ())
    except parts.NotAPart as why:
        parts.leave_aside(part, str(why))
        return False
    except FileNotFoundError:
        # The merged part has its rows. The view does not list that one yet.
        raise Merged("they are being merged") from None
    return True


def compacted(connection: duckdb.DuckDBPyConnection, table: str, found: Sequence[Path]) -> str:
    """Load many small parts into a table in memory, and return its name.

    To open each of them for every query would take seconds. Their columns are not collected first, which
    would take as long again: the newest part has every column. Where an older one lacks some, this fails,
    and the caller takes the slower way.
    """
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"CREATE OR REPLACE TABLE parts_{table} AS FROM read_parquet([{_names(found)}], "
        "hive_partitioning = false, filename = true, file_row_number = true)"
    )
    connection.execute("RESET preserve_insertion_order")
    return f"parts_{table}"


def matching(patterns: Iterable[str]) -> str:
    """The SQL that reads all parts whose names match patterns."""
    everything = ", ".join(f"'{quoted(pattern)}'" for pattern in patterns)
    return f"read_parquet([{everything}], {_OPTIONS})"


def listed(found: Iterable[Place]) -> str | None:
    """The SQL that reads these parts; None for no part."""
    names = _names(found)
    return f"read_parquet([{names}], {_OPTIONS})" if names else None


def _names(found: Iterable[Place]) -> str:
    return ", ".join(f"'{quoted(glob.escape(duckdb_name(part)))}'" for part in found)


def duckdb_name(where: Place) -> str:
    """The name by which DuckDB finds a file or folder."""
    return str(where) if isinstance(where, Path) else f"{where.scheme}://{where.path}"


def quoted(text: str) -> str:
    """A text as it stands between single quotes in SQL."""
    return text.replace("'", "''")
