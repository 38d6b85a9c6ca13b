"""Estimates over seeds, the interval of a share of runs, and words for what the intervals are over."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.statistics.differences import Array, certain_both_ways
from analysis.warehouse import Headline
from sweep.means import ROUNDING, decimals

# Accuracies whose difference is this close to the margin are ties: decimal margins have rounding errors.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over seeds. `low` and `high` are None if it has no interval.

    Attributes:
        digits: number of decimals in its text, where it has no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None
    digits: int = 3

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.{self.digits}f}"
        half = (self.high - self.low) / 2
        digits = decimals(half) if half > ROUNDING else self.digits
        value, low, high = (f"{one:.{digits}f}" for one in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def columns(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """An estimate and its interval as three columns; None for no estimate."""
    number = (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), number, strict=True))


def wins(one: Array, other: Array, margin: float = 0.0) -> Array:
    """For each pair of runs: 1 if the first is better by more than the margin, ½ if exactly by it, else 0.

    Args:
        one, other: accuracies of runs, of shapes (m,) and (n,).

    Returns:
        Shape (m, n).
    """
    beyond = one[:, None] - other - margin
    return (beyond > _EQUAL) + 0.5 * (np.abs(beyond) <= _EQUAL)


def score_interval(share: float, size: float, reach: float) -> Estimate:
    """A share with its score interval (Wilson 1927), for a sample size that need not be whole (Mee 1990).

    Args:
        share: in [0, 1].
        size: effective sample size: share · (1 − share) / variance.
        reach: half width of the interval in standard errors.
    """
    spread = reach**2 / size
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread) / (1 + spread) * math.sqrt(share * (1 - share) + spread / 4)
    return Estimate(share, middle - half if share > 0 else 0.0, middle + half if share < 1 else 1.0)


def number(value: float | None) -> float | None:
    """A number for a column of an answer: None in place of NaN."""
    return None if value is None or math.isnan(value) else value


def with_lost(row: Mapping[str, Any], headline: Headline) -> Mapping[str, Any]:
    """A row of queries/cells.sql, with each lost trial as one that finished with `headline.of_lost`."""
    if not row["lost"]:
        return row
    seeds = [*row["seeds"], *row["lost_seeds"]]
    guesses = [headline.of_lost(row["arm"])] * row["lost"]
    return {**row, "lost": 0, "seeds": seeds, "accuracies": [*row["accuracies"], *guesses]}


def held(estimate: Estimate | None, p: float, guessed: Estimate | None, p_guessed: float) -> float:
    """The p-value of a probability of ½, by `certain_both_ways`. An estimate may be None."""
    if estimate is None or guessed is None:
        return p
    return certain_both_ways(estimate.value - 0.5, p, guessed.value - 0.5, p_guessed)


def over(arms: Iterable[str]) -> str:
    """What the intervals are over, in words: seeds, and whether each seed has its own split.

    Args:
        arms: the trials' configs without seed and sparsity, as JSON.
    """
    moves = {json.loads(arm).get("split_seed") == "seed" for arm in dict.fromkeys(arms)}
    if moves == {True}:
        return "seeds, each with a split of its own into training and validation data; one test set"
    if True in moves:
        return "seeds, of which some arms draw a split each and some have one for all; one test set"
    return "seeds; one split into training and validation data, one test set"
