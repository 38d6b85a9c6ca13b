"""Results as SQL views. Every trial is one row, and queries reach nothing else."""

from analysis.warehouse.launches import files
from analysis.warehouse.warehouse import (
    BASELINES,
    EACH,
    NO_PAIR,
    answer,
    ask,
    baseline,
    checked,
    narrowed_studies,
    open,
    provisional,
    query,
    retried,
    rows,
    running,
    unfinished,
)

__all__ = [
    "BASELINES",
    "EACH",
    "NO_PAIR",
    "answer",
    "ask",
    "baseline",
    "checked",
    "files",
    "narrowed_studies",
    "open",
    "provisional",
    "query",
    "retried",
    "rows",
    "running",
    "unfinished",
]
