"""What did each mean accuracy cost, and what is an hour worth? From queries/cost.sql."""

from dataclasses import replace

import duckdb

from analysis.questions.labelled import Labelled, labelled, named_rows
from analysis.questions.question import Question
from analysis.warehouse import headline


def answer(connection: duckdb.DuckDBPyConnection) -> Labelled:
    """The costs beside means in the headline's own unit; an hour has no worth where lower is better."""
    measured = headline(connection)
    found = labelled("cost")(connection)
    if measured.sign > 0:
        return found
    own = [
        row | {"test_accuracy": measured.own(row["test_accuracy"]), "accuracy_per_hour": None}
        for row in found.rows
    ]
    return replace(found, rows=own)


QUESTION = Question(
    name="cost",
    help="What did each answer cost in CPU- and GPU-hours, and what is an hour worth?",
    answer=answer,
    rows=named_rows,
    about_accuracy=True,
)
