"""What did each mean accuracy cost, and what is an hour worth? From queries/cost.sql."""

from analysis.questions.labelled import labelled, named_rows
from analysis.questions.question import Question

QUESTION = Question(
    name="cost",
    help="What did each answer cost in CPU- and GPU-hours, and what is an hour worth?",
    answer=labelled("cost"),
    rows=named_rows,
)
