"""How accurate is each criterion at each sparsity? The means alone, from queries/accuracy.sql."""

from dataclasses import replace
from typing import NamedTuple

import duckdb

from analysis.questions.labelled import Labelled, labelled, named_rows
from analysis.questions.question import Question, Row
from analysis.warehouse import Headline, headline


class Accuracies(NamedTuple):
    """What the command answers with.

    Attributes:
        headline: what the means are of.
    """

    means: Labelled
    headline: Headline


def answer(connection: duckdb.DuckDBPyConnection) -> Accuracies:
    """The means and medians in the own unit of the headline."""
    measured = headline(connection)
    found = labelled("accuracy", {"range": str(measured.range)})(connection)
    own = [row | {name: measured.own(row[name]) for name in ("mean", "median")} for row in found.rows]
    return Accuracies(replace(found, rows=own), measured)


def sentences(found: Accuracies) -> list[str]:
    """What the means are of."""
    about = found.headline
    return [f"mean, deviation and median are of test {about.name}.{about.direction}"]


def rows(found: Accuracies) -> list[Row]:
    """A row for each arm and sparsity."""
    return named_rows(found.means)


QUESTION = Question(
    name="accuracy",
    help="How accurate is each criterion at each sparsity?",
    answer=answer,
    rows=rows,
    sentences=sentences,
    compares_criteria=True,
    about_accuracy=True,
)
