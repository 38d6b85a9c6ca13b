"""What a search asks to be run, and what it has learned: between Optuna's trials and ours."""

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from statistics import fmean, stdev

import optuna
from optuna.samplers import GridSampler
from optuna.trial import TrialState, create_trial

from sweep.config import FIELDS, Config
from sweep.errors import BadInput
from sweep.plan import Job, Pack
from sweep.search.candidate import Candidate, Row
from sweep.search.stopping import Judge, Past, Rule
from sweep.study.identity import Trial
from sweep.study.space import OBJECTIVES, Search
from sweep.trial import Result
from sweep.trial.prefixes import Point, branch

_IDS = "trial_ids"
# Choices in a row that were known, or did not go together, after which the space counts as exhausted.
_FRUITLESS = 200


class Asker:
    """Turns Optuna's choices into trials, and their results into what Optuna is told.

    A schedule is tried with one seed first. If that is within two standard deviations between seeds of the
    best, it is measured with the other seeds as well: means decide, not one lucky seed.

    Args:
        known: all results at hand, by trial_id: what is among them is not run again, nor are trials that this
            search has stopped early.
        ran: trials that this search has run before.
        curves: validation accuracies along the retraining of what is known, for a search that stops trials.

    Attributes:
        warm: schedules that Optuna was told of before it was asked.
    """

    def __init__(
        self,
        search: Search,
        study: optuna.Study,
        known: Mapping[str, Row],
        ran: int = 0,
        curves: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.search, self.study, self.known, self.ran = search, study, dict(known), ran
        self.curves = dict(curves or {})
        self.warm = 0
        self.candidates: list[Candidate] = []
        self._again: deque[tuple[Candidate, Trial]] = deque()
        # Choices in a row that are looked at, and whether all of them were known when last asked.
        self._patience, self._exhausted = _FRUITLESS, False
        self._points: dict[Hashable, set[Point]] = {}
        self._warm_up()

    def _warm_up(self) -> None:
        """Tell Optuna what was measured before it was asked, and ask again what was left open."""
        told: dict[TrialState, set[str]] = {TrialState.COMPLETE: set(), TrialState.PRUNED: set()}
        for trial in self.study.get_trials(deepcopy=False, states=tuple(told)):
            told[trial.state].update(trial.user_attrs.get(_IDS, ()))
        found: dict[Config, Candidate] = {}
        for row in self.known.values():
            if candidate := self._candidate_of(row):
                key = replace(candidate.config, seed=0)
                found.setdefault(key, candidate).take(row)
        self.candidates += found.values()
        # Measured when the value between low and high was a sum of binary fractions, not the decimal.
        self._inexact = {
            frozenset(candidate.chosen.items()): config
            for config, candidate in found.items()
            if self.search.chosen(config) != candidate.chosen
        }
        settled = [c.chosen for c in found.values() if not c.rows or len(c.rows) >= self.search.seeds]
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
            if (params := self.search.written(trial.params)) not in settled:
                self.study.enqueue_trial(params)
        self.warm = sum(bool(candidate.rows) for candidate in found.values())
        for candidate in found.values():
            state = TrialState.COMPLETE if candidate.rows else TrialState.PRUNED
            if set(candidate.names) <= told[state]:
                continue
            self.study.add_trial(
                create_trial(
                    state=state,
                    params=candidate.chosen,
                    distributions=self.search.distributions(candidate.chosen),
                    values=self._values(candidate) if candidate.rows else None,
                    intermediate_values=self._along(candidate),
                    user_attrs={_IDS: candidate.names},
                    constraints=self._constraints(candidate) if candidate.rows else None,
                )
            )

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

    @property
    def over(self) -> bool:
        """Whether so many trials have been run that what is left would not do for one more schedule."""
        return self.ran + self.search.seeds > self.search.trials and not self._again

    def next(self) -> Pack | None:
        """The next trial to run; None: there is none, as long as nothing more is heard."""
        if self._again:
            return self._pack(*self._again.popleft())
        # What is under way may look best, and will then want its other seeds too.
        more = self.search.seeds - 1
        if self._exhausted:
            return None
        waiting = {name for each in self.candidates if not each.rows for name in each.waits}
        if self.ran + more * len(waiting) + 1 + more > self.search.trials:
            return None
        sampler = self.study.sampler
        if isinstance(sampler, GridSampler) and sampler.is_exhausted(self.study):
            return None
        for _ in range(self._patience):
            asked = self.study.ask()
            chosen = self.search.suggest(asked)
            try:
                config = self.search.make(chosen)
            except BadInput:
                # Values that do not go together: not a schedule at all.
                self.study.tell(asked, state=TrialState.FAIL)
                continue
            if Trial.of(config).id not in self.known:
                config = self._inexact.get(frozenset(chosen.items()), config)
            candidate = Candidate(chosen, config, asked)
            self.candidates.append(candidate)
            trial = candidate.trial(0)
            if self._under_way(trial):
                candidate.waits.add(trial.id)  # it is under way for another already
                continue
            if trial.id not in self.known:
                self._patience = _FRUITLESS
                return self._pack(candidate, trial)
            candidate.take(self.known[trial.id])
            self._decide(candidate)
            if self._again:
                return self._pack(*self._again.popleft())
        # Until more is known, and then for fewer: each choice is a line of the journal.
        self._exhausted, self._patience = True, max(1, self._patience // 2)
        return None

    def examples(self) -> list[Trial]:
        """A trial of every value that a dimension has, where it goes with the first values of the others."""
        found = {}
        for dimension in self.search.dimensions:
            for value in dimension.values or (dimension.low, dimension.high):
                chosen = {d.name: d.values[0] if d.values else d.low for d in self.search.dimensions}
                chosen[dimension.name] = value
                with suppress(BadInput):
                    relevant = {d.name: chosen[d.name] for d in self.search.dimensions if d.matters(chosen)}
                    trial = Trial.of(self.search.make(relevant))
                    found[trial.id] = trial
        return list(found.values())

    def _pack(self, candidate: Candidate, trial: Trial) -> Pack:
        """A pack of one trial, that goes on from the nearest state of its dense training."""
        self.ran += 1
        candidate.waits.add(trial.id)
        point = branch(trial.config)
        if point is None:
            return Pack(self.ran, (Job(trial),))
        known = self._points.setdefault(trial.config.trunk, set())
        before = (p for p in known if p.epoch is not None and p.epoch <= point.position)
        path = sorted(before, key=attrgetter("position"))
        known.add(point)
        return Pack(self.ran, (Job(trial, None, (*path, point), (point,)),))

    def found(self, result: Result) -> None:
        """A trial has its result."""
        row = result.trial
        self._exhausted = False
        self.known[row["trial_id"]] = row
        self.curves[row["trial_id"]] = [
            epoch["val_accuracy"] for epoch in result.curves if epoch["phase"] == "retrain"
        ]
        for candidate in self.candidates:
            if row["trial_id"] in candidate.waits:
                candidate.waits.discard(row["trial_id"])
                candidate.take(row)
                if not candidate.waits:
                    self._decide(candidate)

    def _decide(self, candidate: Candidate) -> None:
        """Tell Optuna what a schedule is worth, or measure it with more seeds first."""
        if candidate.asked is None:
            return
        trials = [candidate.trial(seed) for seed in range(self.search.seeds)]
        missing = [trial for trial in trials if trial.id not in candidate.rows]
        if missing and not candidate.lost and self._promising(candidate):
            for trial in missing:
                known = self.known.get(trial.id)
                if known and known["status"] != "stopped":
                    candidate.take(known)
                    continue
                if not self._under_way(trial):  # it may be for another that is the same schedule
                    self._again.append((candidate, trial))
                candidate.waits.add(trial.id)
        if not candidate.waits:
            self._tell(candidate, candidate.asked)

    def _under_way(self, trial: Trial) -> bool:
        return any(trial.id in each.waits for each in self.candidates)

    def _tell(self, candidate: Candidate, asked: optuna.Trial) -> None:
        if candidate.lost == "failed":
            self.study.tell(asked, state=TrialState.FAIL)
            return
        asked.set_user_attr(_IDS, candidate.names)
        for epoch, accuracy in self._along(candidate).items():
            asked.report(accuracy, epoch)
        if candidate.lost == "stopped":
            self.study.tell(asked, state=TrialState.PRUNED)
            return
        for name, value in self._constraints(candidate).items():
            asked.set_constraint(name, value)
        self.study.tell(asked, self._values(candidate))

    def _promising(self, candidate: Candidate) -> bool:
        others = [
            other for other in self.candidates if other is not candidate and other.rows and not other.waits
        ]
        if not others or not self._feasible(candidate):
            return self._feasible(candidate)
        spreads = [self._spread(other) for other in others if len(other.rows) > 1]
        best = max((other.mean("val_accuracy") for other in others if self._feasible(other)), default=0.0)
        return candidate.mean("val_accuracy") >= best - 2 * (fmean(spreads) if spreads else 0.0)

    @staticmethod
    def _spread(candidate: Candidate) -> float:
        return stdev(candidate.values("val_accuracy"))

    def _feasible(self, candidate: Candidate) -> bool:
        return all(value <= 0 for value in self._constraints(candidate).values())

    def _along(self, candidate: Candidate) -> dict[int, float]:
        """Epoch of retraining → validation accuracy, of its first seed, where the search stops trials."""
        return dict(enumerate(self.curves.get(candidate.trial(0).id, ()), 1)) if self.search.stop else {}

    def judge(self) -> partial[Judge] | None:
        """The judge that stops poor trials early, with all that is known to compare them with; None: none."""
        if not self.search.stop:
            return None
        trials = [candidate.trial(0) for candidate in self.candidates]
        past = [
            Past(trial, self.curves[trial.id], self.known[trial.id]["status"] == "ok")
            for trial in trials
            if trial.id in self.curves
        ]
        seed = self.search.fixed.get("seed", FIELDS["seed"].default)
        return partial(Judge, Rule(self.search.stop, self.search.stop_after, seed, past))

    def _values(self, candidate: Candidate) -> list[float]:
        return [candidate.mean(OBJECTIVES[name][0]) for name in self.search.objectives]

    def _constraints(self, candidate: Candidate) -> dict[str, float]:
        """At most 0 each where a schedule is an answer."""
        found = {}
        if self.search.min_accuracy:
            found["accuracy"] = self.search.min_accuracy - candidate.mean("val_accuracy")
        if self.search.no_collapse:
            found["collapsed layers"] = candidate.mean("collapsed_layers")
        return found

    def best(self) -> list[Candidate]:
        """The best schedule of those measured with all seeds; of several objectives all that none beats."""
        whole = [
            each
            for each in self.candidates
            if len(each.rows) >= self.search.seeds and not each.waits and self._feasible(each)
        ]
        signs = [1 if OBJECTIVES[name][1] else -1 for name in self.search.objectives]

        def worth(candidate: Candidate) -> list[float]:
            return [sign * value for sign, value in zip(signs, self._values(candidate), strict=True)]

        def beaten(one: list[float], other: list[float]) -> bool:
            return all(b >= a for a, b in zip(one, other, strict=True)) and one != other

        front: dict[str, Candidate] = {}
        for each in whole:
            if not any(beaten(worth(each), worth(other)) for other in whole):
                front.setdefault(Trial.of(each.config).id, each)
        return sorted(front.values(), key=worth, reverse=True)
