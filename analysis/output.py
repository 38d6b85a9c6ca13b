"""Answers as a table for the terminal, or as CSV, JSON or Parquet, on stdout or in a file."""

import io
import itertools
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, TextIO

import duckdb

from analysis import tables
from analysis.warehouse import answer, retried
from sweep.errors import BadInput
from sweep.store.places import put

# The most rows of a table in the terminal: more would take minutes to draw.
_SHOWN = 2_000
# Rows in memory at once, of an answer that is written batch by batch.
_BATCH = 2_048
# Rows and their keys → text.
Table = Callable[[Sequence[Mapping[str, Any]], Sequence[str]], str]


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


def format_of(form: Format | None, out: Path | None) -> Format:
    """The given format, or else the format that the file's name says.

    Raises:
        BadInput: Parquet on stdout, or a file name without a known ending.
    """
    if form is None:
        if out is None:
            return Format.TABLE
        known = {"csv": Format.CSV, "parquet": Format.PARQUET, "json": Format.JSON, "txt": Format.TABLE}
        if (named := known.get(out.suffix.lstrip(".").lower())) is None:
            raise BadInput(
                f"--out {out}: which format? name it .csv, .json, .parquet or .txt, or give --format"
            )
        return named
    if form is Format.PARQUET and out is None:
        raise BadInput("--format parquet needs a file: give --out FILE.parquet")
    return form


def write(
    rows: Sequence[Mapping[str, Any]],
    form: Format,
    out: Path | None,
    columns: Sequence[str] = (),
    table: Table = tables.table,
) -> None:
    """Write rows with equal keys.

    Args:
        columns: the keys, in case there is no row.
        table: makes a table for people of the rows and the keys.
    """
    columns = list(rows[0]) if rows else list(columns)
    if form is Format.PARQUET:
        assert out is not None
        save(out, _parquet(rows, columns))
        return
    shown = rows[:_SHOWN] if form is Format.TABLE else rows
    text = {Format.TABLE: table, Format.CSV: _csv, Format.JSON: _json}[form](shown, columns)
    if len(shown) < len(rows):
        text += f"and {len(rows) - len(shown):,} rows more: narrow with --where, or give --out FILE.csv\n"
    if out is None:
        (sys.stdout if form is Format.TABLE else _data()).write(text)
    else:
        save(out, text.encode())


def unique_names(columns: Sequence[str]) -> list[str]:
    """Names without duplicates: of two columns `seed` the second becomes `seed_1`, as in DuckDB."""
    unique: dict[str, None] = {}
    for column in columns:
        names = (f"{column}_{number}" if number else column for number in itertools.count())
        unique[next(name for name in names if name not in unique)] = None
    return list(unique)


def stream(connection: duckdb.DuckDBPyConnection, sql: str, form: Format, out: Path | None) -> None:
    """Write the answer to a query batch by batch: a million trials do not fit into memory as rows.

    Raises:
        BadInput: DuckDB cannot answer, or the file cannot be written.
    """
    if form is Format.TABLE:
        columns, rows = answer(connection, sql)
        columns = unique_names(columns)
        write([dict(zip(columns, row, strict=True)) for row in rows], form, out, columns, tables.as_asked)
        return
    fill = {Format.CSV: _stream_csv, Format.JSON: _stream_json, Format.PARQUET: _stream_parquet}[form]

    def write_all(file: IO[bytes]) -> None:
        def from_the_start() -> None:
            file.seek(0)
            file.truncate()
            # `sql` computes a batch when it is read. `execute` would compute all of them first.
            fill(connection.sql(sql).to_arrow_reader(_BATCH), file)

        retried(connection, from_the_start)

    if out is not None:
        _save(out, write_all)
        return
    with tempfile.TemporaryFile() as file:
        write_all(file)
        file.seek(0)
        shutil.copyfileobj(io.TextIOWrapper(file, encoding="utf-8", newline=""), _data())


def _stream_csv(batches: Any, file: IO[bytes]) -> None:
    columns = unique_names(batches.schema.names)
    file.write(_csv([], columns).encode())
    for rows in _rows(batches, columns):
        file.write(_csv(rows, columns, head=False).encode())


def _stream_json(batches: Any, file: IO[bytes]) -> None:
    columns = unique_names(batches.schema.names)
    file.write(b"[")
    before = b""
    for rows in _rows(batches, columns):
        text = _json(rows, columns).removeprefix("[").removesuffix("\n]\n")
        file.write(before + text.encode())
        before = b","
    file.write(b"\n]\n" if before else b"]\n")


def _rows(batches: Any, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    import pyarrow.types as types

    # DuckDB returns sums of integers as decimals.
    kinds = zip(columns, batches.schema.types, strict=True)
    whole = [column for column, kind in kinds if types.is_decimal(kind) and not kind.scale]
    for batch in batches:
        if batch.num_rows:
            rows = batch.rename_columns(columns).to_pylist()
            for row in rows:
                row.update({column: int(row[column]) for column in whole if row[column] is not None})
            yield rows


def _stream_parquet(batches: Any, file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = unique_names(batches.schema.names)
    schema = pa.schema([field.with_name(name) for field, name in zip(batches.schema, names, strict=True)])
    try:
        with pq.ParquetWriter(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch.rename_columns(names))
    except pa.ArrowException as error:
        raise BadInput(f"no Parquet can hold that ({error}): cast it in the query, or write .csv") from None


def _data() -> TextIO:
    """Standard output for data: control characters are escaped only on a terminal."""
    out = sys.stdout
    raw: TextIO = getattr(out, "raw", out)
    return out if raw.isatty() else raw


def save(target: Path, data: bytes) -> None:
    """Write a file, and replace an earlier one only once it is complete. Links are not followed.

    Raises:
        BadInput: the file cannot be written there.
    """
    _save(target, lambda file: file.write(data))


def _save(target: Path, fill: Callable[[IO[bytes]], object]) -> None:
    try:
        put(target, fill, sync=False)
    except OSError as error:
        raise BadInput(f"{target}: {error.strerror}: choose another file") from None


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], head: bool = True) -> str:
    import csv

    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if head:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _json(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    return json.dumps([{c: _finite(row[c]) for c in columns} for row in rows], indent=1, default=str) + "\n"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = io.BytesIO()
    try:
        pq.write_table(pa.Table.from_pydict({c: [row[c] for row in rows] for c in columns}), data)
    except (pa.ArrowException, OverflowError) as error:
        raise BadInput(f"no Parquet can hold that ({error}): cast it in the query, or write .csv") from None
    return data.getvalue()
