"""The headline of results: the metric that the accuracy columns of the view `trials` hold."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar

import duckdb

from analysis.warehouse.queries import rows
from analysis.warehouse.sources import quoted
from sweep.errors import BadInput
from sweep.means import Mean, mean_interval

E = TypeVar("E", float, float | None)

ACCURACY = "accuracy"
# The metric of a row's accuracy columns; rows from before there was the column hold accuracies.
_OWN = f"coalesce(headline, '{ACCURACY}')"
_SHOWN = ("val_accuracy", "test_accuracy")
_OK = "status = 'ok'"
_ENDED = f"{_OK} AND (test_accuracy IS NOT NULL OR val_accuracy IS NOT NULL)"
# Accuracy columns for which the table `metrics` has no value.
_OTHERS = (
    "pre_test_accuracy",
    "pre_test_accuracy_recalibrated",
    "best_val_accuracy",
    "test_accuracy_at_best_val",
    "test_accuracy_selected_on_test",
)


@dataclass(frozen=True)
class Headline:
    """The metric of an answer. Only accuracies have the bounds 0 and 1.

    Columns hold values of which higher is better: the negative of a metric of which lower is better. So a
    question computes with one orientation, and gives values back in the metric's own unit.

    Attributes:
        name: of the metric.
        sign: 1, or −1 where lower is better.
        worst, best: the worst and the best value of any finished trial, as the columns hold them.
        curves: the metric in the columns of the table `curves`, which has the headline metrics alone.
    """

    name: str = ACCURACY
    sign: int = 1
    worst: float = 0.0
    best: float = 1.0
    curves: str = ACCURACY

    @property
    def is_accuracy(self) -> bool:
        """Whether it is the accuracy of a classifier."""
        return self.name == ACCURACY

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds to which intervals of means are cut."""
        return (0.0, 1.0) if self.is_accuracy else (-math.inf, math.inf)

    @property
    def range(self) -> float:
        """The distance between the worst and the best value; 1 for accuracies and for equal values."""
        return 1.0 if self.is_accuracy else self.best - self.worst or 1.0

    @property
    def digits(self) -> int:
        """Number of decimals that tell values apart."""
        return 3 if self.is_accuracy else min(12, max(0, 3 - math.ceil(math.log10(self.range))))

    @property
    def sides(self) -> dict[int, str]:
        """The words for a certain sign of a difference."""
        return {1: "above", -1: "below"} if self.sign > 0 else {1: "better", -1: "worse"}

    @property
    def direction(self) -> str:
        """A sentence for metrics of which lower is better; "" for others."""
        return "" if self.sign > 0 else f" Of {self.name} lower is better."

    @property
    def guess(self) -> str:
        """The value that a lost run is taken to have, in words."""
        return "at chance" if self.is_accuracy else f"at the worst {self.name} of any trial"

    def named(self, text: str) -> str:
        """A text of this project with the metric's name in place of the word accuracy."""
        return text.replace(ACCURACY, self.name)

    def columns(self, answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows of an answer whose columns have the metric's name."""
        if self.is_accuracy:
            return [dict(row) for row in answers]
        return [
            {self.named(name).replace("at_chance", "at_worst"): value for name, value in row.items()}
            for row in answers
        ]

    def own(self, value: E) -> E:
        """A value of a column in the metric's own unit; None for None."""
        return value if value is None or self.sign > 0 else 0.0 - value

    def ends(self, low: E, high: E) -> tuple[E, E]:
        """The ends of an interval in the metric's own unit; None for no end."""
        if self.sign > 0 or low is None or high is None:
            return low, high
        return 0.0 - high, 0.0 - low

    def mean(self, mean: float | None, deviation: float | None, count: int, lost: int = 0) -> Mean:
        """A mean of column values with its 95 % Student-t interval, in the metric's own unit."""
        return self.unit(mean_interval(self.own(mean), deviation, count, lost))

    @property
    def about(self) -> str:
        """What the means of an answer are, in words."""
        if self.is_accuracy:
            return "Mean test accuracy ± 95 % Student-t interval over seeds, cut to 0 to 1."
        return f"Mean test {self.name} ± 95 % Student-t interval over seeds.{self.direction}"

    def unit(self, mean: Mean) -> Mean:
        """A mean or a difference of means with the bounds and digits of the metric."""
        least, most = (mean.least, mean.most) if self.is_accuracy else self.bounds
        return replace(mean, least=least, most=most, digits=self.digits)

    def of_lost(self, arm: str) -> float:
        """The value that a lost run of an arm is taken to have, as the columns hold it.

        It is the accuracy of guessing, or the worst value of any finished trial.
        """
        if not self.is_accuracy:
            return self.worst
        # The catalog of data sets imports torch, which takes a second.
        from sweep.data.catalog import chance

        return chance(json.loads(arm)["dataset"])


ACCURACIES = Headline()


def headline(connection: duckdb.DuckDBPyConnection) -> Headline:
    """The headline of all trials of a connection.

    Raises:
        BadInput: trials have several headlines.
    """
    plain = "SELECT getvariable('all_accuracies') AND getvariable('metric') IS NULL"
    if connection.execute(plain).fetchall() == [(True,)]:
        return ACCURACIES
    worst_and_best = (
        f"{of}({', '.join(f'{end}({name}) FILTER ({_OK} AND isfinite({name}))' for name in _SHOWN)})"
        for of, end in (("least", "min"), ("greatest", "max"))
    )
    names, metric, sign, worst, best = rows(
        connection,
        f"SELECT coalesce(list(DISTINCT {_OWN}) FILTER ({_ENDED}), []), getvariable('metric'), "
        f"getvariable('metric_sign'), {', '.join(worst_and_best)} FROM trials",
    )[0]
    if metric is None and len(names) > 1:
        named = ", ".join(sorted(names))
        raise BadInput(
            f"these trials have several headline metrics ({named}), which no answer mixes: choose one of "
            "them by --metric, or some trials by --study or --where"
        )
    name = metric or (names[0] if names else ACCURACY)
    curves = "headline metric" if len(names) > 1 else _label(*names or [ACCURACY])
    if name == ACCURACY:
        return replace(ACCURACIES, curves=curves)
    return Headline(_label(name), int(sign or 1), worst or 0.0, best or 0.0, curves)


def shown(connection: duckdb.DuckDBPyConnection, trials: str, metric: str) -> str:
    """The SQL of the view `trials` whose accuracy columns hold a metric.

    Finished trials that lack the metric are left out, with a line on stderr. So are lost trials of a study in
    which no trial has it; other lost trials are lost for the metric too.

    Args:
        trials: the SQL of the view with the columns as they were written.

    Raises:
        BadInput: no trial has the metric, or trials disagree on whether higher is better.
    """
    name, sign = _found(connection, trials, metric)
    own, text = f"{_OWN} = '{quoted(name)}'", quoted(name)
    split = "max(value) FILTER (split = '{0}') AS {0}"
    has = f"({own} OR measured.trial_id IS NOT NULL)"
    rows_of = f"""({trials}) AS trials LEFT JOIN (
            SELECT trial_id, {split.format("validation")}, {split.format("test")}
            FROM every_metrics WHERE name = '{text}' GROUP BY trial_id
        ) AS measured USING (trial_id)"""
    # By a window over studies: to look the studies up in a query of their own would read all parts again.
    sql = f"""
        SELECT trials.* REPLACE (
            CASE WHEN {own} THEN val_accuracy ELSE {sign} * measured.validation END AS val_accuracy,
            CASE WHEN {own} THEN test_accuracy ELSE {sign} * measured.test END AS test_accuracy,
            {", ".join(f"CASE WHEN {own} THEN {column} END AS {column}" for column in _OTHERS)}
        )
        FROM {rows_of}
        QUALIFY CASE WHEN {_OK} THEN {has} ELSE bool_or({_OK} AND {has}) OVER (PARTITION BY study) END"""
    connection.execute(f"SET VARIABLE metric = '{text}'")
    connection.execute(f"SET VARIABLE metric_sign = {sign}")
    [(ended, having)] = rows(
        connection,
        f"SELECT count(*) FILTER ({_OK}), count(*) FILTER ({_OK} AND {has}) FROM {rows_of}",
    )
    if having < ended:
        print(f"{ended - having:,} of {ended:,} finished trials have no {name}: left out", file=sys.stderr)
    return sql


def _found(connection: duckdb.DuckDBPyConnection, trials: str, metric: str) -> tuple[str, int]:
    """The name of a metric as the results have it, and 1, or −1 where lower is better."""
    directions: dict[str, set[bool]] = {}
    for name, higher in rows(
        connection,
        f"SELECT DISTINCT name, higher_is_better FROM every_metrics "
        f"SEMI JOIN ({trials}) AS trials USING (trial_id) "
        f"UNION SELECT DISTINCT {_OWN}, true FROM ({trials}) WHERE {_ENDED}",
    ):
        directions.setdefault(name, set()).add(higher)
    same = [name for name in directions if name == metric]
    same = same or sorted(name for name in directions if _label(name) == metric)
    if not same:
        near = get_close_matches(metric, directions, n=1, cutoff=0.5)
        nearest = f"did you mean {near[0]}? " if near else ""
        known = ", ".join(sorted(directions)) or "none"
        raise BadInput(f"--metric {metric}: no trial has it; {nearest}there are: {known}")
    if len(same) > 1:
        raise BadInput(f"--metric {metric}: of several codes; name one of: {', '.join(same)}")
    if len(directions[same[0]]) > 1:
        raise BadInput(
            f"--metric {metric}: of some trials higher is better and of others lower: narrow with --study or "
            "--where"
        )
    return same[0], 1 if directions[same[0]] == {True} else -1


def _label(name: str) -> str:
    """The name of a metric without the code that a metric of one's own is of."""
    return name.partition("@")[0]
