"""The history of a search: all measured results, and Optuna's study, which is told of those in the space."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.samplers import GridSampler
from optuna.trial import TrialState, create_trial

from sweep.config import Config
from sweep.errors import BadInput
from sweep.search import front
from sweep.search.candidate import Candidate, Row
from sweep.study.identity import Trial
from sweep.study.space import Search
from sweep.trial import Result

_IDS = "trial_ids"


class History:
    """Results by trial, and the same as Optuna's trials, one a schedule.

    Attributes:
        study: Optuna's.
        rows: trial_id → row of `trials`, of all trials that are not run again.
        curves: trial_id → validation accuracy after each epoch of retraining.
        candidates: schedules that were measured before the search went on.
        warm: number of these with a result; the others were stopped early.
    """

    def __init__(
        self,
        search: Search,
        study: optuna.Study,
        rows: Mapping[str, Row],
        curves: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """Tell Optuna's study of the results that it does not have yet.

        Args:
            rows: trial_id → row of `trials`, of every study; also trials that this search has stopped early.
            curves: accuracies of these trials, for a search that stops trials early.
        """
        self.search, self.study, self.rows, self.curves = search, study, dict(rows), dict(curves or {})
        told: dict[TrialState, set[str]] = {TrialState.COMPLETE: set(), TrialState.PRUNED: set()}
        for trial in study.get_trials(deepcopy=False, states=tuple(told)):
            told[trial.state].update(trial.user_attrs.get(_IDS, ()))
        self.candidates = self._measured()
        self.warm = sum(bool(candidate.rows) for candidate in self.candidates)
        # Measured when the value between low and high was a sum of binary fractions, not the decimal.
        self._inexact: dict[frozenset[tuple[str, Any]], Config] = {
            frozenset(each.chosen.items()): each.config
            for each in self.candidates
            if search.chosen(each.config) != each.chosen
        }
        self._reopen()
        for candidate in self.candidates:
            state = TrialState.COMPLETE if candidate.rows else TrialState.PRUNED
            if not set(candidate.trial_ids) <= told[state]:
                self._tell_of(candidate, state)

    def _measured(self) -> list[Candidate]:
        """The schedules of the space that have results, each with all its seeds."""
        candidates: dict[Config, Candidate] = {}
        for row in self.rows.values():
            if candidate := self._candidate_of(row):
                candidates.setdefault(replace(candidate.config, seed=0), candidate).take(row)
        return list(candidates.values())

    def _candidate_of(self, row: Row) -> Candidate | None:
        """The schedule that a result belongs to; None: the search would never choose it."""
        if not self.search.could_hold(row):
            return None
        config = Trial.parse(row["config"]).config
        chosen = self.search.chosen(config)
        if chosen is None or row["status"] == "failed":
            return None
        try:
            made = self.search.make(chosen)
        except BadInput:
            return None
        if Trial.of(replace(made, seed=config.seed)).id != row["trial_id"]:
            return None
        return Candidate(self.search.written(chosen), made)

    def _reopen(self) -> None:
        """Have Optuna choose again the schedules that a killed search was measuring."""
        settled = [c.chosen for c in self.candidates if not c.rows or len(c.rows) >= self.search.seeds]
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
            if (chosen := self.search.written(trial.params)) not in settled:
                self.study.enqueue_trial(chosen)

    def _tell_of(self, candidate: Candidate, state: TrialState) -> None:
        """Tell Optuna of a schedule that it has not chosen."""
        self.study.add_trial(
            create_trial(
                state=state,
                params=candidate.chosen,
                distributions=self.search.distributions(candidate.chosen),
                values=front.values(self.search, candidate) if candidate.rows else None,
                intermediate_values=self._accuracies(candidate),
                user_attrs={_IDS: candidate.trial_ids},
                constraints=front.constraints(self.search, candidate) if candidate.rows else None,
            )
        )

    @property
    def exhausted(self) -> bool:
        """Whether the sampler has chosen every point of its grid."""
        sampler = self.study.sampler
        return isinstance(sampler, GridSampler) and sampler.is_exhausted(self.study)

    def ask(self) -> Candidate | None:
        """The schedule that Optuna chooses next; None: its values do not go together."""
        asked = self.study.ask()
        chosen = self.search.suggest(asked)
        try:
            config = self.search.make(chosen)
        except BadInput:
            self.study.tell(asked, state=TrialState.FAIL)
            return None
        if Trial.of(config).id not in self.rows:
            config = self._inexact.get(frozenset(chosen.items()), config)
        return Candidate(chosen, config, asked)

    def add(self, result: Result) -> None:
        """Take a trial's result."""
        trial_id = result.trial["trial_id"]
        self.rows[trial_id] = result.trial
        self.curves[trial_id] = _retraining(result.curves)

    def tell(self, candidate: Candidate) -> None:
        """Tell Optuna the value of a schedule that it chose, or that the schedule failed or was stopped."""
        asked = candidate.optuna_trial
        if asked is None:
            return
        if candidate.no_result == "failed":
            self.study.tell(asked, state=TrialState.FAIL)
            return
        asked.set_user_attr(_IDS, candidate.trial_ids)
        for epoch, accuracy in self._accuracies(candidate).items():
            asked.report(accuracy, epoch)
        if candidate.no_result == "stopped":
            self.study.tell(asked, state=TrialState.PRUNED)
            return
        for name, value in front.constraints(self.search, candidate).items():
            asked.set_constraint(name, value)
        self.study.tell(asked, front.values(self.search, candidate))

    def _accuracies(self, candidate: Candidate) -> dict[int, float]:
        """Epoch of retraining → validation accuracy with the first seed; empty unless trials are stopped."""
        return dict(enumerate(self.curves.get(candidate.trial(0).id, ()), 1)) if self.search.stop else {}


def _retraining(curves: Iterable[Row]) -> list[float]:
    return [epoch["val_accuracy"] for epoch in curves if epoch["phase"] == "retrain"]
