"""An answer as a table in the terminal, or as CSV, JSON or Parquet, on stdout or in a file."""

import itertools
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sweep.errors import BadInput

# Rows of a table for people: beyond that it takes minutes to draw, and nobody reads it.
_SHOWN = 2_000
# Columns of a sentence, for which wide terminals are too wide.
_WIDEST = 100


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


def chosen(form: Format | None, out: Path | None) -> Format:
    """The format that was asked for, or else that of the file's name.

    Raises:
        BadInput: Parquet on stdout, or a file whose name says no format.
    """
    if form is None:
        if out is None:
            return Format.TABLE
        known = {"csv": Format.CSV, "parquet": Format.PARQUET, "json": Format.JSON, "txt": Format.TABLE}
        if (found := known.get(out.suffix.lstrip(".").lower())) is None:
            raise BadInput(
                f"--out {out}: which format? name it .csv, .json, .parquet or .txt, or give --format"
            )
        return found
    if form is Format.PARQUET and out is None:
        raise BadInput("--format parquet needs a file: give --out FILE.parquet")
    return form


def write(
    rows: Sequence[Mapping[str, Any]], form: Format, out: Path | None, columns: Sequence[str] = ()
) -> None:
    """Write rows, all with the same keys.

    Args:
        columns: their names, for when there is no row.
    """
    columns = list(rows[0]) if rows else list(columns)
    if form is Format.PARQUET:
        assert out is not None
        save(out, _parquet(rows, columns))
        return
    shown = rows[:_SHOWN] if form is Format.TABLE else rows
    text = {Format.TABLE: _table, Format.CSV: _csv, Format.JSON: _json}[form](shown, columns)
    if len(shown) < len(rows):
        text += f"and {len(rows) - len(shown):,} rows more: narrow with --where, or give --out FILE.csv\n"
    if out is None:
        sys.stdout.write(text)
    else:
        save(out, text.encode())


def told_apart(columns: Sequence[str]) -> list[str]:
    """Names of which each is there once: of two columns `seed` the second is `seed_1`, as DuckDB has it."""
    found: dict[str, None] = {}
    for column in columns:
        names = (f"{column}_{number}" if number else column for number in itertools.count())
        found[next(name for name in names if name not in found)] = None
    return list(found)


def save(target: Path, data: bytes) -> None:
    """Put a file in place; an earlier one is replaced only by the whole of it.

    Raises:
        BadInput: it cannot be written there.
    """
    temporary = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(target)
    except OSError as error:
        raise BadInput(f"{target}: {error.strerror}: choose another file") from None


def draw(table: Table) -> str:
    """A table as text: wide enough for every number; a terminal that is narrower wraps, it does not cut."""
    console = Console(width=1000, color_system=None)
    console.width = max(Console().width, console.measure(table).maximum)
    with console.capture() as captured:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def fold(text: str, indent: str = "  ") -> str:
    """A sentence for the terminal: lines end between words, and all but the first are indented."""
    width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 0)).columns)
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        numeric = rows and all(isinstance(row[column], int | float | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    return draw(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    # Square brackets would be markup to rich.
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("[", r"\[")


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _json(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    return json.dumps([{c: _finite(row[c]) for c in columns} for row in rows], indent=1, default=str) + "\n"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    data = io.BytesIO()
    try:
        pq.write_table(pa.Table.from_pydict({c: [row[c] for row in rows] for c in columns}), data)
    except (pa.ArrowException, OverflowError) as error:
        raise BadInput(f"no Parquet can hold that ({error}): cast it in the query, or write .csv") from None
    return data.getvalue()
