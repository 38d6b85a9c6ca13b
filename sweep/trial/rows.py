"""Rows of results as a trial makes them, and whether what a file holds is such a row."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from sweep.store.schema import SCHEMAS

Row = dict[str, Any]


def are_rows(rows: Iterable[Any], table: str) -> bool:
    """Whether all rows are ones of a table as a recorder makes them, without the id of the trial.

    Raises:
        AttributeError: one is no mapping.
        TypeError: there are no rows to go through.
    """
    names = set(SCHEMAS[table].names) - {"trial_id"}
    return all(row.keys() == names and has_types(row, table) for row in rows)


def has_types(row: Mapping[str, Any], table: str) -> bool:
    """Whether a row has columns of a table alone, with values of their types."""
    columns = {field.name: field.type for field in SCHEMAS[table]}
    kinds = {pa.string(): (str,), pa.bool_(): (bool,), pa.list_(pa.int64()): (list,)}
    return all(
        name in columns and (value is None or type(value) in kinds.get(columns[name], (int, float)))
        for name, value in row.items()
    )
