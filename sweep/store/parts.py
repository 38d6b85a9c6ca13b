"""Parts, the Parquet files of results: which files count as parts, and how their rows are read.

People rewrite results with other programs. pandas turns whole numbers with gaps into reals, and text into
another encoding of text; other tools write single precision or categories. Launches and analyses both use
this module, so that both count the same trials.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as types

from sweep.store.places import Place, attempts, is_plain, readable_all
from sweep.store.schema import IDENTITIES, STORED

# Pattern for the names of parts, in the folder of their table.
PART = "part-*.parquet"
# Columns that a part must have.
REQUIRED: dict[str, Sequence[str]] = {
    **IDENTITIES,
    "trials": ("trial_id", "status", "config"),
    "marks": ("mark", "trial_id", "undone"),
}
# The SQL condition for rows that can be analysed; for `trials`, the arm is checked elsewhere.
SOUND = {
    "trials": " AND ".join(
        # `isfinite` is needed: DuckDB relies on Parquet's statistics, which leave NaN out.
        (
            *(f"{name} IS NOT NULL" for name in (*REQUIRED["trials"], "seed")),
            "isfinite(sparsity) AND sparsity >= 0 AND sparsity < 1",
        )
    ),
    "curves": "trial_id IS NOT NULL AND isfinite(epoch) "
    "AND regexp_full_match(phase, 'dense|sparse|retrain|level [0-9]{1,9}')",
    "layers": "trial_id IS NOT NULL AND layer IS NOT NULL AND name IS NOT NULL",
    # NULL stands for a value that is not finite. Fourth powers of larger ones would not be finite either.
    "metrics": "trial_id IS NOT NULL AND split IN ('validation', 'test') AND higher_is_better IS NOT NULL "
    r"AND (value IS NULL OR abs(value) <= 1e60) AND length(name) <= 200 "
    r"AND regexp_full_match(name, '[^\pC\s]([^\pC]*[^\pC\s])?')",
}
# What a row of each table describes.
_SUBJECTS = {"trials": "trial", "curves": "epoch", "layers": "layer", "metrics": "metric", "marks": "mark"}
# Fields that every config has, with text as value.
_TEXT_FIELDS = ("dataset", "model", "criterion")
# Rows that are decoded at a time.
_BATCH = 65_536
_TEXT = (types.is_string, types.is_large_string, types.is_string_view)
_BYTES = (types.is_binary, types.is_large_binary, types.is_binary_view)


class NotAPart(Exception):
    """A file is no part of a table; the message says why."""


def are_of_one_study(folder: Place) -> bool:
    """Whether a folder holds the results of one study, and not a folder for each of several studies."""
    # A folder `trials` may also be that of a study with this name.
    return (folder / "study.json").exists() or bool([*(folder / "trials").glob(PART)])


def pattern(table: str, one_study: bool) -> str:
    """The pattern for the parts of a table, under the folder of one study or the folder of several."""
    return f"{table}/{PART}" if one_study else f"*/{table}/{PART}"


def list_parts(folder: Place, pattern: str = PART) -> list[Any]:
    """The parts under a folder, sorted by name.

    A name that matches but is no plain file (see `places.is_plain`) is left aside, with a line on stderr.
    """
    every: list[Any] = sorted(folder.glob(pattern), key=lambda part: (part.name, str(part)))
    plain = [part for part in every if is_plain(part)]
    for part in every if len(plain) < len(every) else ():
        # A part that no longer exists was merged after it was listed.
        if part not in plain and os.path.lexists(part):
            leave_aside(part, "no plain file")
    return plain


def fits(part: Path | bytes, table: str) -> bool:
    """Whether the columns of a part have the types of the table, or types that DuckDB reads as the same.

    Reads only the end of the file; `read_rows` finds out whether its pages can be read.

    Raises:
        NotAPart: the file is no part of this table.
        FileNotFoundError: the file does not exist.
    """
    try:
        schema = pq.read_schema(_file(part))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise NotAPart(_reason(error)) from None
    _check_columns(schema, table)
    ours = STORED[table]
    return all(
        _alike(schema.field(name).type, ours.field(name).type) for name in ours.names if name in schema.names
    )


def may_have(part: Path | bytes | pa.NativeFile, trials: pa.Array) -> bool:
    """Whether a part of `trials` names a success of some trials. Reads two columns, not the whole file.

    Args:
        trials: ids of trials.

    Raises:
        NotAPart: the file is no part of `trials`, or one of the two columns is damaged.
        FileNotFoundError: the file does not exist.
    """
    ours = [STORED["trials"].field(name) for name in ("trial_id", "status")]
    with _opened(part, "trials") as file:
        for batch in file.iter_batches(_BATCH, columns=[field.name for field in ours]):
            names, statuses = (_as(batch[field.name], field, len(batch)) for field in ours)
            if pc.any(pc.and_kleene(pc.is_in(names, trials), pc.equal(statuses, "ok"))).as_py():
                return True
    return False


def read_rows(
    part: Path | bytes, table: str, columns: Sequence[str] | None = None, only: pa.Array | None = None
) -> pa.Table:
    """The rows of a part, converted to the types of the table; NULL in columns that the part lacks.

    Every page is read, also of columns that are not returned: either all rows of a part count or none.

    Args:
        part: a file, or the content of one.
        columns: columns of the table to return; None for all of them, and the further columns of the part.
        only: ids of the trials whose rows to return; None: of all trials.

    Raises:
        NotAPart: the file is no part of this table, a page is damaged, or a value does not fit its column.
        FileNotFoundError: the file does not exist.
    """
    ours = STORED[table]
    read: list[pa.Table] = []
    with _opened(part, table) as file:
        for batch in file.iter_batches(_BATCH):
            content = {name: batch[name] for name in file.schema_arrow.names}
            for field in ours:
                content[field.name] = _as(content.get(field.name), field, len(batch))
            rows = pa.table({name: content[name] for name in (content if columns is None else columns)})
            read.append(rows if only is None else rows.filter(pc.is_in(content["trial_id"], only)))
    empty = ours.empty_table() if columns is None else ours.empty_table().select(columns)
    return pa.concat_tables([empty, *read], promote_options="default")


def read_all(
    folder: Place, pattern: str, table: str, columns: Sequence[str], only: pa.Array | None = None
) -> pa.Table:
    """All rows of the parts under a folder; tries again if a launch merged parts meanwhile.

    Args:
        pattern: of the parts' names within the folder.
        only: ids of the trials whose rows to return; None: of all trials.
    """
    for last in attempts():
        try:
            read = read_each(list_parts(folder, pattern), table, columns, only)
            none = STORED[table].empty_table().select(columns)
            return pa.concat_tables([none, *(rows for rows in read if rows is not None)])
        except FileNotFoundError:
            if last:
                raise
    raise AssertionError("unreachable")


def read_each(
    listed: Sequence[Place], table: str, columns: Sequence[str], only: pa.Array | None = None
) -> Iterator[pa.Table | None]:
    """The rows of each part; None, with a line on stderr, for a file that is damaged or no part."""
    for part, content in zip(listed, readable_all(listed), strict=True):
        if isinstance(content, OSError):
            raise content
        try:
            yield read_rows(content, table, columns, only)
        except NotAPart as why:
            leave_aside(part, str(why))
            yield None


def config(text: str | None) -> dict[str, Any] | None:
    """The fields of a config or an arm from its JSON in a row; None if the text is no such JSON.

    The fields may be those of any version.
    """
    try:
        fields = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not all(isinstance(fields.get(name), str) for name in _TEXT_FIELDS):
        return None
    plain = all(value is None or isinstance(value, str | int | float) for value in fields.values())
    return fields if plain else None


def are_trials(rows: pa.Table) -> pa.Array:
    """For each row of `trials`, whether it describes a trial; other programs may have written rows too.

    `SOUND` is the same condition in SQL, except for the arm.

    Args:
        rows: with the columns in `SOUND`, `arm` and `config`.
    """
    sparsity = rows["sparsity"]
    within = pc.and_kleene(pc.greater_equal(sparsity, 0.0), pc.less(sparsity, 1.0))
    present = [pc.is_valid(rows[name]) for name in (*REQUIRED["trials"], "seed")]
    # Rows from before there was the column `arm` have their config instead.
    arm = pc.coalesce(rows["arm"], rows["config"])
    valid = pa.array([text for text in pc.unique(arm).to_pylist() if config(text)], pa.string())
    sound = pc.is_in(arm, value_set=valid)
    for flags in (*present, pc.fill_null(within, False)):
        sound = pc.and_(sound, flags)
    return sound


def leave_rows_aside(place: object, count: int, table: str = "trials") -> None:
    """Print once, on stderr, that rows are left aside, because they describe nothing of this table."""
    rows = "1 row" if count == 1 else f"{count:,} rows"
    _print_once(f"{place}: {rows} of no {_SUBJECTS[table]}: left aside")


def leave_aside(part: object, reason: str) -> None:
    """Print once, on stderr, that a file is left aside."""
    _print_once(f"{part}: not a part of these results ({reason}): left aside; move it away")


@cache
def _print_once(line: str) -> None:
    print(line, file=sys.stderr)


@contextmanager
def _opened(part: Path | bytes | pa.NativeFile, table: str) -> Iterator[pq.ParquetFile]:
    """A part opened for reading; an error of Parquet in the block becomes `NotAPart`."""
    try:
        with pq.ParquetFile(_file(part)) as file:
            _check_columns(file.schema_arrow, table)
            yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise NotAPart(_reason(error)) from None


def _file(part: Path | bytes | pa.NativeFile) -> Any:
    return pa.BufferReader(part) if isinstance(part, bytes) else part


def _check_columns(schema: pa.Schema, table: str) -> None:
    if missing := [name for name in REQUIRED[table] if name not in schema.names]:
        raise NotAPart(f"it has no column {missing[0]}")
    if twice := [name for name in schema.names if schema.names.count(name) > 1]:
        raise NotAPart(f"it has the column {twice[0]} twice")


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _alike(one: Any, ours: Any) -> bool:
    """Whether DuckDB reads a column of type `one` as it reads a column of our type."""
    if types.is_dictionary(one):
        one = one.value_type
    if types.is_string(ours):
        return any(is_text(one) for is_text in _TEXT) or types.is_null(one)
    if types.is_timestamp(ours) and types.is_timestamp(one):
        return bool(one.unit == ours.unit and one.tz)
    return bool(one == ours or types.is_null(one))


def _as(column: Any, field: pa.Field, length: int) -> Any:
    """A column converted to the type of a field; NULLs if there is no column.

    Raises:
        NotAPart: a value has no meaning in this type.
    """
    if column is None or column.null_count == length:
        return pa.nulls(length, field.type)
    if column.type == field.type:
        return column
    try:
        return _recast(column, field.type)
    except (pa.ArrowException, ValueError) as error:
        raise NotAPart(f"{field.name} is {column.type}: {_reason(error)}") from None


def _recast(column: Any, ours: Any) -> Any:
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if types.is_string(ours) and not any(is_text(kind) for is_text in (*_TEXT, *_BYTES)):
        raise ValueError("no text")
    if types.is_timestamp(ours):
        # Digits below a microsecond are dropped. A time without a zone is in UTC, as Parquet defines it.
        return column.cast(ours, safe=False) if types.is_temporal(kind) else column.cast(ours)
    if types.is_floating(kind) and not types.is_floating(ours):
        # NaN is a gap in a column of whole numbers or flags, written by a program without NULL.
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        if types.is_boolean(ours):
            return column.cast(pa.int8()).cast(ours)
    if types.is_floating(kind) and kind.bit_width < 64 and types.is_floating(ours):
        # 0.9 in single precision is 0.8999999761581421; its shortest decimal, 0.9, is the value meant.
        return column.cast(pa.float32()).cast(pa.string()).cast(ours)
    return column.cast(ours)
