"""Parts of results as other programs leave them: which file counts as one, and its rows as our columns.

A results folder is Parquet, so people rewrite it. pandas turns whole numbers with gaps into reals and text
into another encoding of text, other tools write single precision or categories. A launch and an analysis ask
here which files are parts, so that both count the same trials.
"""

import json
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as types

from sweep.store.places import Place
from sweep.store.schema import KEYS, SCHEMAS

# What a row cannot be without.
REQUIRED: dict[str, Sequence[str]] = {**KEYS, "trials": ("trial_id", "status", "config")}
# What makes a row one that questions can be asked of, in SQL; of `trials` all but its arm.
SOUND = {
    "trials": " AND ".join(
        # Whether it is finite is asked besides: Parquet's statistics leave NaN out, and DuckDB believes them.
        (
            *(f"{name} IS NOT NULL" for name in (*REQUIRED["trials"], "seed")),
            "isfinite(sparsity) AND sparsity >= 0 AND sparsity < 1",
        )
    ),
    "curves": "trial_id IS NOT NULL AND isfinite(epoch) "
    "AND regexp_full_match(phase, 'dense|sparse|retrain|level [0-9]{1,9}')",
    "layers": "trial_id IS NOT NULL AND layer IS NOT NULL AND name IS NOT NULL",
}
# What a row of each table is of.
_OF = {"trials": "trial", "curves": "epoch", "layers": "layer"}
# What every config has, as text.
_NAMED = ("dataset", "model", "criterion")

# Rows that are decoded at once, of which only the columns that are wanted are kept.
_BATCH = 65_536
_TEXT = (types.is_string, types.is_large_string, types.is_string_view)
_BYTES = (types.is_binary, types.is_large_binary, types.is_binary_view)


class Foreign(Exception):
    """A file is no part of a table; says why."""


def found(folder: Place, pattern: str) -> list[Any]:
    """The parts of a table under a folder, by name; says what is called so and is no plain file.

    A pipe would be waited for, and a device never ends.
    """
    every: list[Any] = sorted(folder.glob(pattern), key=lambda part: (part.name, str(part)))
    plain = [part for part in every if not isinstance(part, Path) or part.is_file()]
    for part in every if len(plain) < len(every) else ():
        # One that is not there at all was merged meanwhile.
        if part not in plain and os.path.lexists(part):
            leave_aside(part, "no plain file")
    return plain


def fits(part: Path | bytes, table: str) -> bool:
    """Whether the columns of a part have just the types of the table; what DuckDB reads alike is the same.

    Looks at the end of the file alone: whether its pages can be read is seen by `rows`.

    Raises:
        Foreign: it is not a part of this table.
        FileNotFoundError: there is no such file.
    """
    try:
        schema = pq.read_schema(_file(part))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise Foreign(_reason(error)) from None
    _see_required(schema, table)
    ours = SCHEMAS[table]
    return all(
        _alike(schema.field(name).type, ours.field(name).type) for name in ours.names if name in schema.names
    )


def rows(part: Path | bytes, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a part, with the table's own types; NULL in columns that the part does not have.

    Every page is read, also of columns that are not asked for: a part counts as a whole or not at all.

    Args:
        part: a file, or the whole content of one.
        columns: of the table; None for all of it and whatever else is in the part.

    Raises:
        Foreign: it is not a part of this table, a page is damaged, or a value is none of its column.
        FileNotFoundError: there is no such file.
    """
    ours = SCHEMAS[table]
    read: list[pa.Table] = []
    try:
        with pq.ParquetFile(_file(part)) as file:
            schema = file.schema_arrow
            _see_required(schema, table)
            for batch in file.iter_batches(_BATCH):
                content = {name: batch[name] for name in schema.names}
                for field in ours:
                    content[field.name] = _as(content.get(field.name), field, len(batch))
                read.append(
                    pa.table({name: content[name] for name in (content if columns is None else columns)})
                )
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise Foreign(_reason(error)) from None
    empty = ours.empty_table() if columns is None else ours.empty_table().select(columns)
    return pa.concat_tables([empty, *read], promote_options="default")


def config(text: str | None) -> dict[str, Any] | None:
    """The fields of a config or an arm, as its JSON in a row has them; None where a row has something else.

    Only that it can be read and compared is asked: fields may be of any version.
    """
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in _NAMED):
        return None
    plain = all(value is None or isinstance(value, str | int | float) for value in found.values())
    return found if plain else None


def are_trials(rows: pa.Table) -> pa.Array:
    """Which rows of `trials` are of a trial, whoever wrote them: a flag of each.

    `SOUND` says the same in SQL of all but the arm.

    Args:
        rows: with the columns that `SOUND` names, `arm` and `config`.
    """
    sparsity = rows["sparsity"]
    within = pc.and_kleene(pc.greater_equal(sparsity, 0.0), pc.less(sparsity, 1.0))
    told = [pc.is_valid(rows[name]) for name in (*REQUIRED["trials"], "seed")]
    # Of before there was this column, the config says it.
    arm = pc.coalesce(rows["arm"], rows["config"])
    known = pa.array([text for text in pc.unique(arm).to_pylist() if config(text)], pa.string())
    sound = pc.is_in(arm, value_set=known)
    for flags in (*told, pc.fill_null(within, False)):
        sound = pc.and_(sound, flags)
    return sound


def leave_rows_aside(place: object, count: int, table: str = "trials") -> None:
    """Say once, on stderr, that rows are left aside."""
    rows = "1 row" if count == 1 else f"{count:,} rows"
    _say(f"{place}: {rows} of no {_OF[table]}: left aside")


def leave_aside(part: object, reason: str) -> None:
    """Say once, on stderr, that a file is left aside."""
    _say(f"{part}: not a part of these results ({reason}): left aside; move it away")


@cache
def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _file(part: Path | bytes) -> Any:
    return pa.BufferReader(part) if isinstance(part, bytes) else part


def _see_required(schema: pa.Schema, table: str) -> None:
    if missing := [name for name in REQUIRED[table] if name not in schema.names]:
        raise Foreign(f"it has no column {missing[0]}")
    if twice := [name for name in schema.names if schema.names.count(name) > 1]:
        raise Foreign(f"it has the column {twice[0]} twice")


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _alike(one: Any, ours: Any) -> bool:
    """Whether DuckDB takes a column of the one type for what it takes ours for."""
    if types.is_dictionary(one):
        one = one.value_type
    if types.is_string(ours):
        return any(is_text(one) for is_text in _TEXT) or types.is_null(one)
    if types.is_timestamp(ours) and types.is_timestamp(one):
        return bool(one.unit == ours.unit and one.tz)
    return bool(one == ours or types.is_null(one))


def _as(column: Any, field: pa.Field, length: int) -> Any:
    """A column as values of our type that mean the same; NULLs where there is none.

    Raises:
        Foreign: one of its values does not mean anything there.
    """
    if column is None or column.null_count == length:
        return pa.nulls(length, field.type)
    if column.type == field.type:
        return column
    try:
        return _recast(column, field.type)
    except (pa.ArrowException, ValueError) as error:
        raise Foreign(f"{field.name} is {column.type}: {_reason(error)}") from None


def _recast(column: Any, ours: Any) -> Any:
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    found = column.type
    if types.is_string(ours) and not any(is_text(found) for is_text in (*_TEXT, *_BYTES)):
        raise ValueError("no text")
    if types.is_timestamp(ours):
        # Finer than a microsecond: nobody's clock. Without a zone: as Parquet means it, in UTC.
        return column.cast(ours, safe=False) if types.is_temporal(found) else column.cast(ours)
    if types.is_floating(found) and not types.is_floating(ours):
        # The gaps of a column of whole numbers or flags, as those write them who have no NULL.
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, found), column)
        if types.is_boolean(ours):
            return column.cast(pa.int8()).cast(ours)
    if types.is_floating(found) and found.bit_width < 64 and types.is_floating(ours):
        # 0.9 in single precision is 0.8999999761581421: the shortest decimal is what was meant.
        return column.cast(pa.float32()).cast(pa.string()).cast(ours)
    return column.cast(ours)
