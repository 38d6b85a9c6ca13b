"""A question simulated to its end: how many trials it takes if the results go on as a draw says."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from sweep.questions.planner import Answer, Expected, Planner, Results, Wanted

V = TypeVar("V")
# What a trial ends with.
Draw = Callable[[Wanted], V | None]
# A simulated study with more trials than this is taken to be endless.
_ENDLESS = 100_000


def simulated(
    planner: Planner[V], measured: Results[V], draw: Draw[V], workers: int, budget: int | None = None
) -> tuple[Answer, int, int]:
    """The answer, the number of trials that it took beside those measured, and of rounds of all workers.

    All trials of a round end before the next begins.
    """
    results = {cell: dict(values) for cell, values in measured.items()}
    trials = rounds = 0
    while True:
        left = _ENDLESS - trials if budget is None else budget - trials
        decision = planner.plan(results, frozenset(), workers, left)
        if decision.answer:
            return decision.answer, trials, rounds
        for trial in decision.wanted:
            results.setdefault((trial.arm, trial.place), {})[trial.seed] = draw(trial)
        trials += len(decision.wanted)
        rounds += 1


def expected(
    planner: Planner[V],
    measured: Results[V],
    workers: int,
    draws: Mapping[int, tuple[Draw[V], int | None]],
    basis: str,
) -> Expected:
    """The trials of simulated studies.

    Args:
        draws: by number, what trials end with, and the trials of the smallest grid for the same truth.
        basis: what the draws were made from, in words.
    """
    ends = [simulated(planner, measured, draw, workers)[:2] for draw, _ in draws.values()]
    grids = [grid for _, grid in draws.values() if grid is not None]
    low, median, high = np.quantile([trials for _, trials in ends], (0.05, 0.5, 0.95)).round().astype(int)
    answered = np.mean([answer.status in ("answered", "none") for answer, _ in ends])
    grid = int(np.median(grids)) if 2 * len(grids) > len(draws) else None
    return Expected(int(low), int(median), int(high), float(answered), grid, basis)


def pooled(groups: list[list[float]]) -> tuple[float, int]:
    """The common standard deviation of groups of numbers about their means, and its degrees of freedom."""
    freedom = sum(len(group) - 1 for group in groups if len(group) > 1)
    square = sum(float(np.var(group)) * len(group) for group in groups if len(group) > 1)
    return (square / freedom) ** 0.5 if freedom else 0.0, freedom
