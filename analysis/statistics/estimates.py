"""What an estimate over seeds is, the interval of a share of runs, and the words for what it goes over."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.statistics.differences import Array, certain_both_ways, chance_of

# Accuracies that differ by less are equal: a margin is no exact binary number.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over seeds; None where it has none."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{interval}"


def columns(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """A number and its interval as columns of an answer; empty where there is none."""
    number = (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), number, strict=True))


def wins(one: Array, other: Array, margin: float = 0.0) -> Array:
    """Which runs are better than which by more than a margin: 1, or ½ where they differ by just that.

    Args:
        one, other: accuracies of runs.

    Returns:
        Runs of the one × runs of the other.
    """
    beyond = one[:, None] - other - margin
    return (beyond > _EQUAL) + 0.5 * (np.abs(beyond) <= _EQUAL)


def score_interval(share: float, size: float, reach: float) -> Estimate:
    """A share with its score interval (Wilson 1927), for a sample size that need not be whole (Mee 1990).

    Args:
        share: in [0, 1].
        size: runs that would make an ordinary share as uncertain as this one: share · (1 − share) / variance.
        reach: standard errors that the interval goes to each side.
    """
    spread = reach**2 / size
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread) / (1 + spread) * math.sqrt(share * (1 - share) + spread / 4)
    return Estimate(share, middle - half if share > 0 else 0.0, middle + half if share < 1 else 1.0)


def number(value: float | None) -> float | None:
    """A number as a column of an answer: NaN, where there is none, is empty."""
    return None if value is None or math.isnan(value) else value


def at_chance(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of queries/cells.sql in which each lost trial has finished with the accuracy of chance."""
    if not row["lost"]:
        return row
    seeds = [*row["seeds"], *row["lost_seeds"]]
    guesses = [chance_of(row["arm"])] * row["lost"]
    return {**row, "lost": 0, "seeds": seeds, "accuracies": [*row["accuracies"], *guesses]}


def held(estimate: Estimate | None, p: float, guessed: Estimate | None, p_guessed: float) -> float:
    """The p-value of a probability's being ½, by `certain_both_ways`; None: there is no probability."""
    if estimate is None or guessed is None:
        return p
    return certain_both_ways(estimate.value - 0.5, p, guessed.value - 0.5, p_guessed)


def over(arms: Iterable[str]) -> str:
    """What intervals go over, in words.

    Args:
        arms: the trials' configs less seed and sparsity, as JSON.
    """
    moves = {json.loads(arm).get("split_seed") == "seed" for arm in dict.fromkeys(arms)}
    if moves == {True}:
        return "seeds, each with a split of its own into training and validation data; one test set"
    if True in moves:
        return "seeds, of which some arms draw a split each and some have one for all; one test set"
    return "seeds; one split into training and validation data, one test set"
