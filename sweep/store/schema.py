"""The Parquet schemas of results, and what makes two rows the same. `sweep.store.tables` has the columns."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sweep.store.tables import MARKS as _MARKS
from sweep.store.tables import TABLES, Column


def _schema(columns: Mapping[str, Column]) -> pa.Schema:
    return pa.schema({name: column.type for name, column in columns.items()})


MARKS = _schema(_MARKS)
SCHEMAS: dict[str, pa.Schema] = {name: _schema(columns) for name, columns in TABLES.items()}
# What makes two rows the same.
KEYS = {
    "trials": ("trial_id",),
    "curves": ("trial_id", "phase", "epoch"),
    "layers": ("trial_id", "layer"),
    "metrics": ("trial_id", "name", "split"),
    "masks": ("trial_id", "layer"),
}
# Tables whose rows may have megabytes: whoever opens results does not read all of them.
LARGE = frozenset({"masks"})


def is_timing(column: str) -> bool:
    """Whether a column is measured by a clock: another run of the same trial has other values."""
    return column.endswith("_seconds") or column in ("latency_ms", "speedup")


# The phases of a training in their order. The levels of iterative pruning are numbered: "level 1", "level 2".
_PHASES = ("dense", "level", "sparse", "retrain")


def in_training(row: Mapping[str, Any]) -> tuple[int, int, float]:
    """Where a row of `curves` stands among the epochs of its trial's training."""
    phase, _, level = row["phase"].partition(" ")
    return _PHASES.index(phase), int(level or 0), row["epoch"]


# Everything that lies beside a study in parts.
STORED = {**SCHEMAS, "marks": MARKS}
IDENTITIES = {**KEYS, "marks": ("mark", "trial_id", "source", "undone")}
