"""Results as SQL views. Every trial is one row, and queries reach nothing else."""

from analysis.warehouse.headlines import ACCURACIES, Headline, headline
from analysis.warehouse.launches import files
from analysis.warehouse.queries import answer, ask, checked, query, retried, rows
from analysis.warehouse.union import Places
from analysis.warehouse.warehouse import (
    BASELINES,
    EACH,
    NO_PAIR,
    baseline,
    count_unsound,
    narrowed_studies,
    open,
    provisional,
    questions,
    running,
    unfinished,
)

__all__ = [
    "ACCURACIES",
    "BASELINES",
    "EACH",
    "NO_PAIR",
    "Headline",
    "Places",
    "answer",
    "ask",
    "baseline",
    "checked",
    "count_unsound",
    "files",
    "headline",
    "narrowed_studies",
    "open",
    "provisional",
    "query",
    "questions",
    "retried",
    "rows",
    "running",
    "unfinished",
]
