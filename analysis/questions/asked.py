"""What did a study that asks a question find? The answer again, from the results alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from analysis.page import Page
from analysis.questions.question import Question, Row, Section, Summary
from analysis.warehouse import questions, rows
from analysis.warehouse.sources import quoted

if TYPE_CHECKING:  # planners import SciPy, which an analysis of a study without a question need not wait for
    from sweep.questions.asked import Asked
    from sweep.questions.planner import Answer

# Fields of the arms by which trials are found before their configs are read.
_FINDING = ("dataset", "model", "criterion")
_NOTE = (
    "Validation data decided which trials ran and when the question was over; test data chose none of them. "
    "The intervals hold at every look, over all sparsities, arms and seeds that were looked at."
)
_NONE = "No study here asks a question: a question: block in a study file does."


@dataclass(frozen=True)
class Found:
    """The answer to a study's question by one kind of data.

    Attributes:
        answer: None: the study.json of the study has been damaged.
        data: validation, which decided, or test.
        trials: number of trials of the question that have ended.
    """

    study: str
    kind: str
    data: str
    trials: int
    answer: "Answer | None"


def found(connection: duckdb.DuckDBPyConnection) -> list[Found]:
    """The answers to the questions of all studies with a trial."""
    return [
        one for study, content in questions(connection).items() for one in _found(connection, study, content)
    ]


def _found(connection: duckdb.DuckDBPyConnection, study: str, content: str) -> list[Found]:
    from sweep.questions.asked import Asked

    asked = Asked.parse(json.loads(content))
    if asked is None:
        return [Found(study, "", "", 0, None)]
    by_data = {"validation": asked, "test": asked.on_test_data}
    return [
        Found(study, asked.kind, name, _ended(one, trials), one.answer(trials))
        for name, one in by_data.items()
        if one is not None
        for trials in [_trials(connection, one)]
    ]


def _trials(connection: duckdb.DuckDBPyConnection, asked: "Asked") -> list[Row]:
    """The trials that may be of a question."""
    columns = [*asked.telling]
    named = {
        name: ", ".join(f"'{quoted(str(fields.get(name)))}'" for fields in asked.arms.values())
        for name in _FINDING
    }
    conditions = " AND ".join(f"{name} IN ({values})" for name, values in named.items())
    trials = rows(connection, f"SELECT {', '.join(columns)} FROM trials WHERE {conditions}")
    return [dict(zip(columns, row, strict=True)) for row in trials]


def _ended(asked: "Asked", trials: Sequence[Row]) -> int:
    return sum(map(len, asked.measured(trials).values()))


def answer_rows(answers: Sequence[Found]) -> list[Row]:
    """One row for each question and kind of data."""
    return [
        {
            "study": one.study,
            "question": one.kind,
            "data": one.data,
            "trials": one.trials,
            "status": one.answer.status if one.answer else "damaged",
            "answer": one.answer.sentence if one.answer else "",
            "numbers": json.dumps(one.answer.numbers if one.answer else {}),
        }
        for one in answers
    ]


def sentences(answers: Sequence[Found]) -> list[str]:
    """A sentence for each question and kind of data, and what holds."""
    said = [_said(one) for one in answers]
    return [*said, _NOTE] if said else [_NONE]


def _said(one: Found) -> str:
    if one.answer is None:
        return f"{one.study}: study.json is damaged; the same launch writes it again"
    by = "" if one.data == "validation" else f"by {one.data} data of the same trials: "
    return f"{one.study}: {by}{one.answer.sentence}"


def show(page: Page, answers: Sequence[Found]) -> None:
    """The report's section; nothing where no study asks."""
    if answers:
        page.heading("What did a study's question find?", _NOTE)
        page.sentences(map(_said, answers))


QUESTION = Question(
    name="asked",
    help="What did a study that asks a question find? From the results alone.",
    answer=found,
    rows=answer_rows,
    sentences=sentences,
    files_only=("answer", "numbers"),
    section=Section(
        find=found,
        show=show,
        place=5,
        summary=Summary(place=5, title="", sentences=lambda answers: [_said(one) for one in answers]),
    ),
)
