"""Columns of parts that other programs may have written, converted to the types of a table."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

_TEXT = (types.is_string, types.is_large_string, types.is_string_view)
_BYTES = (types.is_binary, types.is_large_binary, types.is_binary_view)


class NotAPart(Exception):
    """A file is no part of a table; the message says why."""


def alike(one: Any, ours: Any) -> bool:
    """Whether DuckDB reads a column of type `one` as it reads a column of our type."""
    if types.is_dictionary(one):
        one = one.value_type
    if types.is_string(ours):
        return any(is_text(one) for is_text in _TEXT) or types.is_null(one)
    if types.is_timestamp(ours) and types.is_timestamp(one):
        return bool(one.unit == ours.unit and one.tz)
    return bool(one == ours or types.is_null(one))


def converted(column: Any, field: pa.Field, length: int) -> Any:
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
        raise NotAPart(f"{field.name} is {column.type}: {reason(error)}") from None


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


def reason(error: Exception) -> str:
    """The first line of an error of Arrow's."""
    return (str(error).splitlines() or [type(error).__name__])[0]
