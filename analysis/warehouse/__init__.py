"""Results as SQL views, where every trial is one row, and nothing outside them is within reach."""

from analysis.warehouse.warehouse import (
    BASELINES,
    EACH,
    NO_PAIR,
    again,
    answer,
    ask,
    baseline,
    checked,
    files,
    left,
    open,
    provisional,
    query,
    rows,
    running,
    unfinished,
)

__all__ = [
    "BASELINES",
    "EACH",
    "NO_PAIR",
    "again",
    "answer",
    "ask",
    "baseline",
    "checked",
    "files",
    "left",
    "open",
    "provisional",
    "query",
    "rows",
    "running",
    "unfinished",
]
