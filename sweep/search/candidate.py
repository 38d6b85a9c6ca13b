"""A schedule that a search considers, and what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import optuna

from sweep.config import Config
from sweep.means import Mean
from sweep.study.identity import Trial

Row = Mapping[str, Any]


@dataclass
class Candidate:
    """A schedule under consideration.

    Attributes:
        chosen: the values of its dimensions.
        asked: Optuna's trial of it; None: it was known before it was asked for.
        rows: its results, by trial_id: one a seed.
        waits: trials of it that are under way.
        lost: what else became of a trial of it: failed, or stopped.
    """

    chosen: dict[str, Any]
    config: Config
    asked: optuna.Trial | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    waits: set[str] = field(default_factory=set)
    lost: str | None = None

    def take(self, row: Row) -> None:
        """A trial of it has ended. What failed or was stopped is no result."""
        if row["status"] in ("ok", "diverged"):
            self.rows[row["trial_id"]] = row
        else:
            self.lost = row["status"]

    @property
    def names(self) -> list[str]:
        """The trials that say what it is worth; of one that was stopped, that one."""
        return sorted(self.rows) or [self.trial(0).id]

    def trial(self, seed: int) -> Trial:
        """Its trial with the seed that is so many after the study's."""
        return Trial.of(replace(self.config, seed=self.config.seed + seed))

    def mean(self, column: str) -> float:
        """Mean over its seeds; one that diverged has no accuracy at all."""
        return fmean(self.values(column))

    def interval(self, column: str) -> Mean:
        """The same with its interval."""
        return Mean.of(self.values(column))

    def values(self, column: str) -> list[float]:
        """Of each of its seeds; accuracy 0 of one that diverged."""
        return [row[column] or 0.0 for row in self.rows.values()]
