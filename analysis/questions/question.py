"""What a question is: how the command line asks it, and what the report shows of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import duckdb

from analysis.charts import Figure
from analysis.page import Page

A = TypeVar("A")
Row = dict[str, Any]


def _nothing(_: Any) -> list[str]:
    return []


@dataclass(frozen=True, kw_only=True)
class Summary(Generic[A]):
    """A question's sentences in the summary, at the head of the report.

    Attributes:
        place: summaries stand by rising place.
        title: "": the sentences stand without one.
    """

    place: int
    title: str
    sentences: Callable[[A], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Section(Generic[A]):
    """What the report shows of a question.

    Attributes:
        find: computes the answer that is shown, once for the summary and the section.
        show: writes the section onto the page, its heading first; None: the question is only in the summary.
        place: sections stand by rising place; those with the same place in the order of the table.
    """

    find: Callable[[duckdb.DuckDBPyConnection], A]
    show: Callable[[Page, A], None] | None = None
    place: int = 100
    summary: Summary[A] | None = None


@dataclass(frozen=True, kw_only=True)
class Question(Generic[A]):
    """One question to the results.

    Attributes:
        name: of the command.
        help: the question itself, as the command's help text.
        answer: computes the answer from a connection. Its other parameters are the command's own arguments
            and options, declared with Typer; each must have a default.
        rows: the answer as rows with equal keys, for tables and files.
        sentences: the answer in words, printed below the table.
        files_only: columns that tables leave out, because they have no room for all.
        terminal: the text for a terminal, in place of table and sentences; None: there is none.
        charts: the charts of an answer by title; None: it has none.
        compares_criteria: the question needs trials of criteria. The oracle's masks are drawn, not chosen.
        about_accuracy: the question is about the accuracy columns, and so about any metric in their place.
        is_command: False: only the report asks it.
        section: None: the report does not show it.
    """

    name: str
    help: str
    answer: Callable[..., A]
    rows: Callable[[A], Sequence[Row]]
    sentences: Callable[[A], Sequence[str]] = _nothing
    files_only: tuple[str, ...] = ()
    terminal: Callable[[A], str] | None = None
    charts: Callable[[A], Mapping[str, Figure]] | None = None
    compares_criteria: bool = False
    about_accuracy: bool = False
    is_command: bool = True
    section: Section[Any] | None = None
