"""The table of questions, in the order of the commands in the help.

A new question is one new file with its `QUESTION`, and one line here.
"""

from typing import Any

from analysis.questions import (
    accuracy,
    aggregate,
    asked,
    best,
    better,
    collapse,
    correlation,
    cost,
    crossover,
    curves,
    effect,
    layers,
    masks,
    regimes,
    scaling,
    seeds,
    variance,
)
from analysis.questions.question import Question

QUESTIONS: tuple[Question[Any], ...] = (
    crossover.QUESTION,
    correlation.QUESTION,
    best.QUESTION,
    collapse.QUESTION,
    accuracy.QUESTION,
    cost.QUESTION,
    layers.QUESTION,
    masks.QUESTION,
    curves.QUESTION,
    regimes.QUESTION,
    scaling.QUESTION,
    aggregate.QUESTION,
    better.QUESTION,
    effect.QUESTION,
    seeds.QUESTION,
    variance.QUESTION,
    asked.QUESTION,
)
