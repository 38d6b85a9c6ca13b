"""Schedules ranked by validation accuracy, with ties and Pareto fronts."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np

from analysis.statistics.differences import behind_best, certain, holm, paired, selected
from analysis.warehouse import ACCURACIES, Headline, ask, headline, running
from analysis.warehouse.arms import label
from sweep.config import CHOICE, WHEN
from sweep.means import Mean

Row = Mapping[str, Any]
_SCHEDULE = (*CHOICE, *WHEN)


@dataclass(frozen=True)
class Ranked:
    """A schedule at one sparsity. Accuracies are values of the headline, in its own unit.

    Attributes:
        rank: by mean validation accuracy; 1 is the best. Schedules without a finished trial come last.
        test: test accuracy with its plain interval. At rank 1 it is selected: validation accuracies of the
            same trials chose it.
        selected: at rank 1, the interval of its test accuracy, corrected for the choice among all
            candidates. None at other ranks and for a single seed.
        behind: the best schedule's validation accuracy minus this one's, paired by seed, with its interval.
            None for the best itself and if no seed finished in both. Where lower is better, this one's minus
            the best's.
        tied: not certainly worse than the best, corrected for the choice of the best among all candidates and
            for all places (settings and sparsities) of the answer. With a single seed, or in an unfinished
            study, all are tied.
        hours: mean time of a trial.
        on_density_front, on_cost_front: no schedule of this setting is as accurate at a lower density (cost)
            or more accurate at the same; by mean validation accuracy.
        density_front_tied, cost_front_tied: on that front, or not certainly worse than the best of those that
            are no denser (costlier).
        unfinished: how far an unfinished study is, in words; "" if it is done.
    """

    setting: str
    sparsity: float
    rank: int
    schedule: str
    validation: Mean
    test: Mean
    selected: tuple[float, float] | None
    behind: Mean | None
    tied: bool
    density: float
    hours: float | None
    on_density_front: bool
    on_cost_front: bool
    density_front_tied: bool
    cost_front_tied: bool
    unfinished: str = ""
    headline: Headline = ACCURACIES

    @property
    def quoted(self) -> str:
        """The test accuracy for a table. At rank 1 it is marked as selected."""
        if self.rank > 1 or self.nothing_finished:
            return str(self.test)
        lost = f" ({self.test.lost} lost)" if self.test.lost else ""
        value = f"{self.test.value:.{self.test.digits}f}"
        if self.test.equal:
            return f"{value} (equal, selected){lost}"
        if self.selected is None:
            return f"{value} (selected by a single seed){lost}"
        low, high = (f"{end:.{self.test.digits}f}" for end in self.selected)
        return f"{value} [{low}, {high}] (selected){lost}"

    @property
    def nothing_finished(self) -> bool:
        """No trial of the schedule has an accuracy."""
        return math.isnan(self.validation.value)


@dataclass(frozen=True)
class Place:
    """The schedules of one setting and sparsity, as rows of queries/best.sql.

    Attributes:
        candidates: those with an accuracy, the best first.
        others: those without.
    """

    candidates: list[Row]
    others: list[Row]
    headline: Headline = ACCURACIES

    @classmethod
    def of(cls, rows: Sequence[Row], headline: Headline = ACCURACIES) -> "Place":
        """The place of these rows."""
        finished = (row for row in rows if row["trials"])
        return cls(
            sorted(finished, key=lambda row: (-row["validation_accuracy"], row["arm"])),
            sorted((row for row in rows if not row["trials"]), key=lambda row: row["arm"]),
            headline,
        )

    @property
    def rows(self) -> list[Row]:
        """All schedules: the candidates, then the others."""
        return [*self.candidates, *self.others]

    @cached_property
    def behind(self) -> list[tuple[Mean | None, float]]:
        """For each candidate but the best, the difference from the best and its p-value."""
        every = self.candidates
        return [_behind(every[0], row, len(every), self.headline) for row in every[1:]]

    @property
    def smallest(self) -> float:
        """The smallest p-value; NaN if nothing could be tested."""
        return min((p for _, p in self.behind if not math.isnan(p)), default=math.nan)


def rank(connection: duckdb.DuckDBPyConnection) -> list[Ranked]:
    """Schedules (criterion, scope, iterations, prune epoch) of each setting by validation accuracy."""
    measured = headline(connection)
    answers = ask(connection, "best")
    unfinished = running(connection)
    labels = label((row["arm"] for row in answers), _SCHEDULE)
    groups: dict[str, dict[float, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        groups[labels[answer["arm"]].setting][answer["sparsity"]].append(answer)
    settings = {
        setting: {sparsity: Place.of(rows, measured) for sparsity, rows in sorted(by_sparsity.items())}
        for setting, by_sparsity in sorted(groups.items())
    }
    worse = certainly_worse([place for places in settings.values() for place in places.values()])
    ranked = []
    for setting, places in settings.items():
        every = [row for place in places.values() for row in place.rows]
        progress = next((unfinished[row["arm"]] for row in every if row["arm"] in unfinished), "")
        finished = [row for place in places.values() for row in place.candidates]
        density, cost = (_Front(finished, price, len(settings), measured) for price in ("density", "hours"))
        for sparsity, place in places.items():
            for index, row in enumerate(place.rows):
                compared = 0 < index < len(place.candidates)
                one = Ranked(
                    setting=setting,
                    sparsity=sparsity,
                    rank=index + 1,
                    schedule=labels[row["arm"]].name,
                    validation=_mean(row["validation_accuracies"], row["lost"], measured),
                    test=_mean(row["test_accuracies"], row["lost"], measured),
                    selected=selected_test(place.candidates, measured)
                    if place.candidates and not index
                    else None,
                    behind=place.behind[index - 1][0] if compared else None,
                    tied=bool(row["trials"]) and (bool(progress) or id(row) not in worse),
                    density=row["density"] if row["density"] is not None else 1 - sparsity,
                    hours=row["hours"],
                    on_density_front=density.has(row),
                    on_cost_front=cost.has(row),
                    density_front_tied=density.ties(row, provisional=bool(progress)),
                    cost_front_tied=cost.ties(row, provisional=bool(progress)),
                    unfinished=progress,
                    headline=measured,
                )
                ranked.append(one)
    return ranked


def certainly_worse(places: Sequence[Place]) -> set[int]:
    """The `id` of each row that is certainly worse than the best of its place.

    Holm's correction goes over the places, by the smallest p-value of each. The p-values are corrected for
    the choice of the best before that.
    """
    smallest = [place.smallest for place in places]
    worse = set()
    for place, least, corrected in zip(places, smallest, holm(smallest), strict=True):
        factor = sum(other >= least for other in smallest)
        for row, (_, p) in zip(place.candidates[1:], place.behind, strict=True):
            if certain(max(corrected, p * factor)):
                worse.add(id(row))
    return worse


def _mean(values: Sequence[float | None] | None, lost: int, headline: Headline) -> Mean:
    known = [value for value in values or () if value is not None]
    if not known:
        return headline.mean(None, None, 0, lost)
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return headline.mean(float(np.mean(known)), deviation, len(known), lost)


def _behind(best: Row, other: Row, candidates: int, headline: Headline) -> tuple[Mean | None, float]:
    """The paired difference of two rows, and the p-value of a difference of 0 (NaN: not tested)."""
    one, another = _by_seed(best), _by_seed(other)
    runs = [(one[seed], another[seed]) for seed in sorted(one.keys() & another.keys())]
    differences = [a - b for a, b in runs if a is not None and b is not None]
    if not differences:
        return None, math.nan
    lost = [(a, b) for a, b in runs if a is None or b is None]
    difference = paired(differences, lost, headline.of_lost(best["arm"]) if lost else 0.0)
    return headline.unit(difference.mean), behind_best(difference.p, candidates, difference.seeds)


def _by_seed(row: Row, column: str = "validation_accuracies") -> dict[int, float | None]:
    """Accuracy by seed; None for a lost trial."""
    return dict.fromkeys(row["lost_seeds"] or ()) | dict(zip(row["seeds"], row[column], strict=True))


def selected_test(candidates: Sequence[Row], headline: Headline = ACCURACIES) -> tuple[float, float] | None:
    """The interval of the best's test accuracy, corrected for the choice; None for a single seed."""
    values = [value for value in candidates[0]["test_accuracies"] if value is not None]
    found = selected(values, len(candidates), headline.bounds)
    return found and headline.ends(*found)


class _Front:
    """The Pareto front of validation accuracy against a price.

    Args:
        rows: all candidates of a setting.
        price: the column `density` or `hours`.
        settings: number of settings of the answer, for the correction.
    """

    def __init__(self, rows: Sequence[Row], price: str, settings: int, headline: Headline) -> None:
        self._price, self._count, self._settings = price, len(rows), settings
        self._headline = headline
        self._members: list[Row] = []
        for row in sorted(
            (row for row in rows if row[price] is not None),
            key=lambda row: (row[price], -row["validation_accuracy"]),
        ):
            if not self._members or row["validation_accuracy"] > self._members[-1]["validation_accuracy"]:
                self._members.append(row)

    def has(self, row: Row) -> bool:
        """No row is as accurate at a lower price, or more accurate at the same price."""
        return any(row is member for member in self._members)

    def ties(self, row: Row, *, provisional: bool) -> bool:
        """The row is on the front, or not certainly worse than the most accurate row at no higher price.

        The p-value is corrected for the choice among all rows of the setting, and for the number of settings.

        Args:
            provisional: the study is unfinished, so nothing is certain.
        """
        if self.has(row) or not row["trials"] or row[self._price] is None:
            return self.has(row)
        affordable = [member for member in self._members if member[self._price] <= row[self._price]]
        _, p = _behind(affordable[-1], row, self._count, self._headline)
        return provisional or not certain(p * self._settings)
