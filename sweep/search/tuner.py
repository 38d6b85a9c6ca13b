"""Which trial a search runs next: between Optuna's choices of schedules and the engine's trials."""

from collections import deque
from contextlib import suppress
from functools import partial
from statistics import fmean, stdev

from sweep.config import FIELDS
from sweep.errors import BadInput
from sweep.plan import OneByOne, Pack
from sweep.search import front
from sweep.search.candidate import Candidate
from sweep.search.history import History
from sweep.search.stopping import Judge, Past, Rule
from sweep.study.identity import Trial
from sweep.study.space import Search
from sweep.trial import Result

# Choices in a row without a new schedule after which the space counts as exhausted.
_FRUITLESS = 200


class Tuner:
    """Asks Optuna for schedules, gives the engine their trials, and tells Optuna what schedules are worth.

    A schedule is tried with one seed first. If its accuracy is within two standard deviations between seeds
    of the best mean, it is measured with the other seeds too: means decide, not one lucky seed.

    It is a `sweep.engine.proposer.Proposer`: the engine calls `ask` and `tell` in one thread.

    Attributes:
        ran: trials that this search has run, those under way among them.
        candidates: the schedules that were measured or chosen.
    """

    def __init__(self, search: Search, history: History, ran: int = 0) -> None:
        """Begin.

        Args:
            history: results at hand, whose trials are not run again.
            ran: trials that this search has run before.
        """
        self.search, self.history, self.ran = search, history, ran
        self.candidates = [*history.candidates]
        # Further seeds of promising candidates, to be run before other schedules.
        self._more_seeds: deque[tuple[Candidate, Trial]] = deque()
        # Choices in a row that may be fruitless; and whether all of them were when Optuna was last asked.
        self._patience, self._exhausted = _FRUITLESS, False
        self._jobs = OneByOne()

    def begin(self, workers: int) -> None:
        """Any number of trials may run at once."""

    @property
    def over(self) -> bool:
        """Whether the remaining trials cannot pay for another schedule with all its seeds."""
        return self.ran + self.search.seeds > self.search.trials and not self._more_seeds

    def ask(self) -> Pack | None:
        """The next trial to run, as a pack; None: there is none until another result is told."""
        if self._more_seeds:
            return self._pack(*self._more_seeds.popleft())
        if self._exhausted or not self._affordable() or self.history.exhausted:
            return None
        for _ in range(self._patience):
            candidate = self.history.ask()
            if candidate is None:
                continue
            self.candidates.append(candidate)
            trial = candidate.trial(0)
            if self._under_way(trial):  # for another candidate of the same config
                candidate.running.add(trial.id)
                continue
            if trial.id not in self.history.rows:
                self._patience = _FRUITLESS
                return self._pack(candidate, trial)
            candidate.take(self.history.rows[trial.id])
            self._decide(candidate)
            if self._more_seeds:
                return self._pack(*self._more_seeds.popleft())
        # Not again before another result, and then with fewer choices: each is a line of Optuna's journal.
        self._exhausted, self._patience = True, max(1, self._patience // 2)
        return None

    def tell(self, result: Result) -> None:
        """Take the result of a trial that was asked for, and tell Optuna of candidates that it completes."""
        self._exhausted = False
        self.history.add(result)
        trial_id = result.trial["trial_id"]
        for candidate in self.candidates:
            if trial_id in candidate.running:
                candidate.running.discard(trial_id)
                candidate.take(result.trial)
                if not candidate.running:
                    self._decide(candidate)

    def examples(self) -> list[Trial]:
        """A trial for every value of every dimension, beside the first values of the other dimensions."""
        examples = {}
        for dimension in self.search.dimensions:
            for value in dimension.values or (dimension.low, dimension.high):
                chosen = {d.name: d.values[0] if d.values else d.low for d in self.search.dimensions}
                chosen[dimension.name] = value
                with suppress(BadInput):  # values that do not go together
                    relevant = {d.name: chosen[d.name] for d in self.search.dimensions if d.matters(chosen)}
                    trial = Trial.of(self.search.make(relevant))
                    examples[trial.id] = trial
        return list(examples.values())

    def judge(self) -> partial[Judge] | None:
        """The judge that stops poor trials early, with all known curves; None: no trial is stopped."""
        if not self.search.stop:
            return None
        history = self.history
        trials = [candidate.trial(0) for candidate in self.candidates]
        past = [
            Past(trial, history.curves[trial.id], history.rows[trial.id]["status"] == "ok")
            for trial in trials
            if trial.id in history.curves
        ]
        seed = self.search.fixed.get("seed", FIELDS["seed"].default)
        return partial(Judge, Rule(self.search.stop, self.search.stop_after, seed, past))

    def best(self) -> list[Candidate]:
        """The answer: the best schedule, or the Pareto front of several objectives."""
        return front.best(self.search, self.candidates)

    def _affordable(self) -> bool:
        """Whether the remaining trials pay for another schedule with all its seeds.

        Every trial under way may look best, and then takes its other seeds too.
        """
        others = self.search.seeds - 1
        first = {name for each in self.candidates if not each.rows for name in each.running}
        return self.ran + others * len(first) + 1 + others <= self.search.trials

    def _pack(self, candidate: Candidate, trial: Trial) -> Pack:
        """A pack of one trial, which goes on from the nearest saved state of its dense training."""
        self.ran += 1
        candidate.running.add(trial.id)
        return Pack(self.ran, (self._jobs.job(trial),))

    def _decide(self, candidate: Candidate) -> None:
        """Measure a candidate with its other seeds if it is promising; else tell Optuna what it is worth."""
        if candidate.optuna_trial is None:
            return
        trials = [candidate.trial(offset) for offset in range(self.search.seeds)]
        missing = [trial for trial in trials if trial.id not in candidate.rows]
        if missing and not candidate.no_result and self._promising(candidate):
            for trial in missing:
                row = self.history.rows.get(trial.id)
                if row and row["status"] != "stopped":
                    candidate.take(row)
                    continue
                if not self._under_way(trial):  # as it may be for another candidate of the same config
                    self._more_seeds.append((candidate, trial))
                candidate.running.add(trial.id)
        if not candidate.running:
            self.history.tell(candidate)

    def _under_way(self, trial: Trial) -> bool:
        return any(trial.id in each.running for each in self.candidates)

    def _promising(self, candidate: Candidate) -> bool:
        """Whether a candidate, measured with one seed, may turn out best."""
        if not front.feasible(self.search, candidate):
            return False
        others = [
            other for other in self.candidates if other is not candidate and other.rows and not other.running
        ]
        if not others:
            return True
        accuracies = [other.values("val_accuracy") for other in others]
        spreads = [stdev(values) for values in accuracies if len(values) > 1]
        best = max(
            (other.mean("val_accuracy") for other in others if front.feasible(self.search, other)),
            default=0.0,
        )
        return candidate.mean("val_accuracy") >= best - 2 * (fmean(spreads) if spreads else 0.0)
