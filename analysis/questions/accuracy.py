"""How accurate is each criterion at each sparsity? The means alone, from queries/accuracy.sql."""

from dataclasses import replace

import duckdb

from analysis.questions.labelled import Labelled, labelled, named_rows
from analysis.questions.question import Question
from analysis.warehouse import headline


def answer(connection: duckdb.DuckDBPyConnection) -> Labelled:
    """The means and medians in the own unit of the headline."""
    measured = headline(connection)
    found = labelled("accuracy", {"range": str(measured.range)})(connection)
    own = [row | {name: measured.own(row[name]) for name in ("mean", "median")} for row in found.rows]
    return replace(found, rows=own)


QUESTION = Question(
    name="accuracy",
    help="How accurate is each criterion at each sparsity?",
    answer=answer,
    rows=named_rows,
    compares_criteria=True,
    about_accuracy=True,
)
