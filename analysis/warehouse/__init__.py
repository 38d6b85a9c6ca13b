"""Results as SQL views. Every trial is one row, and queries reach nothing else."""

from analysis.warehouse.headlines import ACCURACIES, Headline, headline
from analysis.warehouse.launches import files
from analysis.warehouse.queries import answer, ask, checked, query, retried, rows
from analysis.warehouse.union import Results
from analysis.warehouse.warehouse import (
    BASELINES,
    EACH,
    NO_PAIR,
    baseline,
    narrowed_studies,
    open,
    provisional,
    running,
    unfinished,
)

__all__ = [
    "ACCURACIES",
    "BASELINES",
    "EACH",
    "NO_PAIR",
    "Headline",
    "Results",
    "answer",
    "ask",
    "baseline",
    "checked",
    "files",
    "headline",
    "narrowed_studies",
    "open",
    "provisional",
    "query",
    "retried",
    "rows",
    "running",
    "unfinished",
]
