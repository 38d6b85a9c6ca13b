"""Which schedule is best at each sparsity, and which cannot be told from it?"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from analysis.labels import CHOICE, label
from analysis.statistics import Resampled, holm
from analysis.warehouse import ask
from sweep.means import LEVEL, Mean, mean_interval

_SCHEDULE = (*CHOICE, "prune_epoch")


@dataclass(frozen=True)
class Ranked:
    """A schedule at one sparsity.

    Attributes:
        rank: by mean validation accuracy, 1 the best.
        behind: the best's validation accuracy less this one's, paired by seed, with its interval; None for
            the best itself and where no seed finished in both.
        tied: cannot be told from the best (Holm over all that are compared with it). With a single seed
            nothing can.
        hours: of a trial, on average.
        on_density_front, on_cost_front: nothing in this setting is as accurate at a lower density (cost) or
            more accurate at the same; by validation accuracy.
    """

    setting: str
    sparsity: float
    rank: int
    schedule: str
    validation: Mean
    test: Mean
    behind: Mean | None
    tied: bool
    density: float
    hours: float | None
    on_density_front: bool
    on_cost_front: bool


def rank(connection: duckdb.DuckDBPyConnection) -> list[Ranked]:
    """Schedules (criterion, scope, iterations, prune epoch) by validation accuracy, in each setting."""
    answers = [row for row in ask(connection, "best") if row["trials"]]
    labels = label((row["arm"] for row in answers), _SCHEDULE)
    places: dict[str, dict[float, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in answers:
        places[labels[row["arm"]].setting][row["sparsity"]].append(row)
    found = []
    for setting in sorted(places):
        everything = [row for rows in places[setting].values() for row in rows]
        density = _front(everything, "density")
        cost = _front(everything, "hours")
        for sparsity, rows in sorted(places[setting].items()):
            ordered = sorted(rows, key=lambda row: (-row["validation_accuracy"], row["arm"]))
            behind = [_behind(ordered[0], row) for row in ordered[1:]]
            adjusted = holm([p for _, p in behind])
            for place, row in enumerate(ordered):
                values = row["validation_accuracies"]
                difference, tied = None, True
                if place:
                    difference = behind[place - 1][0]
                    tied = not adjusted[place - 1] < 1 - LEVEL
                found.append(
                    Ranked(
                        setting,
                        sparsity,
                        place + 1,
                        labels[row["arm"]].name,
                        mean_interval(
                            row["validation_accuracy"],
                            float(np.std(values, ddof=1)) if len(values) > 1 else None,
                            row["trials"],
                            row["lost"],
                        ),
                        mean_interval(
                            row["test_accuracy"], row["test_deviation"], row["trials"], row["lost"]
                        ),
                        difference,
                        tied,
                        row["density"] if row["density"] is not None else 1 - sparsity,
                        row["hours"],
                        id(row) in density,
                        id(row) in cost,
                    )
                )
    return found


def _behind(best: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Mean | None, float]:
    """The paired difference, and the p-value of there being none (NaN where it cannot be known)."""
    one, another = (dict(zip(r["seeds"], r["validation_accuracies"], strict=True)) for r in (best, other))
    both = sorted(one.keys() & another.keys())
    if not both:
        return None, math.nan
    mean, half, p = Resampled(np.array([[one[seed] - another[seed]] for seed in both])).at(0)
    return Mean(mean, None if math.isnan(half) else half), p


def _front(rows: Sequence[Mapping[str, Any]], price: str) -> set[int]:
    """The ids of the rows that no other beats: the Pareto front of validation accuracy against a price."""
    priced = [row for row in rows if row[price] is not None]
    front, best = set(), -math.inf
    for row in sorted(priced, key=lambda row: (row[price], -row["validation_accuracy"])):
        if row["validation_accuracy"] > best:
            best = row["validation_accuracy"]
            front.add(id(row))
    return front


def rows(found: Sequence[Ranked]) -> list[dict[str, Any]]:
    """One row a schedule and sparsity, as numbers: for files."""
    return [
        {
            "setting": one.setting,
            "sparsity": one.sparsity,
            "rank": one.rank,
            "schedule": one.schedule,
            "validation_accuracy": one.validation.value,
            "validation_half_width": one.validation.half_width,
            "test_accuracy": one.test.value,
            "test_half_width": one.test.half_width,
            "behind": one.behind.value if one.behind else None,
            "behind_half_width": one.behind.half_width if one.behind else None,
            "tied": one.tied,
            "density": one.density,
            "hours": one.hours,
            "on_density_front": one.on_density_front,
            "on_cost_front": one.on_cost_front,
        }
        for one in found
    ]


def sentences(found: Sequence[Ranked]) -> list[str]:
    """The best of each sparsity, and how many are tied with it."""
    said = []
    alike: dict[tuple[str, float], list[Ranked]] = defaultdict(list)
    for one in found:
        alike[one.setting, one.sparsity].append(one)
    for one, *others in alike.values():
        ties = [other.schedule for other in others if other.tied]
        shown = ", ".join(ties[:5]) + (f" and {len(ties) - 5} more" if len(ties) > 5 else "")
        rest = f"; tied with it: {shown}" if ties else "; better than all others" if others else ""
        said.append(
            f"{one.setting}, sparsity {one.sparsity:g}: {one.schedule}, test accuracy {one.test}{rest}"
        )
    return said
