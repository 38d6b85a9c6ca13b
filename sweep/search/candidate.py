"""A schedule that a search considers, with its results."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import optuna

from sweep.config import Config
from sweep.means import UNBOUNDED, Mean
from sweep.study.identity import Trial

Row = Mapping[str, Any]
_ACCURACY = "accuracy"


@dataclass
class Candidate:
    """A schedule under consideration.

    Attributes:
        chosen: name of a dimension → value.
        config: of its trial with the study's own seed.
        optuna_trial: Optuna's trial of it; None: it was measured before Optuna chose it.
        rows: trial_id → row of `trials`, one a seed.
        running: ids of its trials that are under way.
        no_result: status of a trial of it that ended without a result, `failed` or `stopped`; None: none did.
    """

    chosen: dict[str, Any]
    config: Config
    optuna_trial: optuna.Trial | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    no_result: str | None = None

    def take(self, row: Row) -> None:
        """Take the row of a trial that has ended. A failed or stopped trial is no result."""
        if row["status"] in ("ok", "diverged"):
            self.rows[row["trial_id"]] = row
        else:
            self.no_result = row["status"]

    @property
    def trial_ids(self) -> list[str]:
        """IDs of the trials that its value is computed from; of a stopped schedule the stopped trial."""
        return sorted(self.rows) or [self.trial(0).id]

    def trial(self, offset: int) -> Trial:
        """Its trial with another seed: the study's seed plus an offset."""
        return Trial.of(replace(self.config, seed=self.config.seed + offset))

    def mean(self, column: str) -> float:
        """Mean of a column over seeds, as in `values`."""
        return fmean(self.values(column))

    def interval(self, column: str) -> Mean:
        """Mean of a headline metric over seeds with its 95 % interval; of accuracies it is cut to 0 and 1."""
        values = self.values(column)
        return Mean.of(values) if self.metric == _ACCURACY else Mean.of(values, UNBOUNDED)

    @property
    def metric(self) -> str:
        """The metric that the columns of accuracy hold."""
        return next((row["headline"] for row in self.rows.values() if row.get("headline")), _ACCURACY)

    def values(self, column: str) -> list[float]:
        """A column's value for each seed; 0 where it is NULL, as is the accuracy of a diverged trial."""
        return [row[column] or 0.0 for row in self.rows.values()]
