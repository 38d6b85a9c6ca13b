"""How accurate is each criterion at each sparsity? The means alone, from queries/accuracy.sql."""

from analysis.questions.labelled import labelled, named_rows
from analysis.questions.question import Question

QUESTION = Question(
    name="accuracy",
    help="How accurate is each criterion at each sparsity?",
    answer=labelled("accuracy"),
    rows=named_rows,
    compares_criteria=True,
)
