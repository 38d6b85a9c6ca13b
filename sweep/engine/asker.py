"""Which trials a question runs next: between its planner and the engine's trials."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sweep.engine import reuse
from sweep.plan import OneByOne, Pack, trains_alone
from sweep.questions.planner import Answer, Decision, Wanted
from sweep.store import results
from sweep.store.places import Place
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.study.question import Question
from sweep.trial import Result

# Trials that are looked up at once in the results of other studies.
_LOOKED_UP = 64


class Asker:
    """Asks a planner for trials, gives the engine these trials, and tells the planner what they gave.

    What other studies have measured is taken over, and not run. It is a `sweep.engine.proposer.Proposer`: the
    engine calls `ask` and `tell` in one thread.

    Attributes:
        ran: trials that this study has run, those under way among them.
        results: what is measured, as planners take it.
        taken: where results were taken over from → how many.
        progress: the answer so far, in a few words.
    """

    def __init__(
        self,
        study: Study,
        question: Question,
        rows: Mapping[str, results.Row],
        folder: Place,
        *,
        known: Sequence[Place] = (),
        own: Collection[str] = (),
        most: int | None = None,
        write: bool = True,
    ) -> None:
        """Begin with the results at hand.

        Args:
            rows: trial_id → result, of trials that do not run again; with the columns of `columns`.
            folder: of the study's results.
            known: libraries, further results to take over trials from.
            own: ids of trials whose results are not taken over.
            most: trials to run now, at most; None: as many as it takes.
            write: whether results that are taken over are written into the folder.
        """
        self.question, self.taken = question, dict[str, int]()
        self._study, self._folder, self._known, self._write = study, folder, known, write
        own_rows = self._own(rows.values())
        self.results = question.asked.measured(own_rows)
        self.ran = sum(row["source"] is None for row in own_rows)
        self._until = None if most is None else self.ran + most
        self._workers, self._packs = 1, 0
        self._jobs = OneByOne()
        self._slots = 1 if all(map(trains_alone, question.examples())) else len(question.arms)
        self._running: dict[str, Wanted] = {}
        elsewhere = reuse.ids(folder, known)
        self._elsewhere = elsewhere.difference(rows, own)
        self.progress = ""
        self._decide()

    def begin(self, workers: int) -> None:
        """So many trials run at once."""
        self._workers = workers

    def ask(self) -> Pack | None:
        """The next trials to run, as a pack; None: there are none until another result is told."""
        wanted = self.look_up(self._slots * self._workers).wanted
        trials = {each: self.question.trial(each) for each in wanted[: 1 if self._slots == 1 else None]}
        if not trials:
            return None
        # One worker trains the dense network of several trials once.
        trunk = trials[wanted[0]].config.trunk
        together = {each: trial for each, trial in trials.items() if trial.config.trunk == trunk}
        self._running |= {trial.id: each for each, trial in together.items()}
        self.ran += len(together)
        self._packs += 1
        return Pack(self._packs, tuple(map(self._jobs.job, together.values())))

    def tell(self, result: Result) -> None:
        """Take the result of a trial that was asked for."""
        row = result.trial
        if wanted := self._running.pop(row["trial_id"], None):
            self._take(wanted, row)
        self._decide()

    def examples(self) -> list[Trial]:
        """A trial of each arm at each sparsity that the question names."""
        return self.question.examples()

    def judge(self) -> partial[Any] | None:
        """None: no trial is stopped early."""
        return None

    def look_up(self, workers: int = _LOOKED_UP) -> Decision:
        """What the planner wants for so many workers, of trials that no other study has.

        What others have of them is taken over first.
        """
        while True:
            decision = self._decide(workers)
            wanted = {trial.id: (each, trial) for each, trial in self._trials(decision.wanted)}
            there = self._elsewhere.intersection(wanted)
            if not there:
                return decision
            self._elsewhere -= there
            self._take_over({name: wanted[name] for name in there})

    def conclude(self, *, spent: bool) -> Answer | None:
        """The answer; None: the question goes on.

        Args:
            spent: nothing more will run, as the time of the question is over.
        """
        budget = 0 if spent else self._left(self.question.trials)
        return self.question.asked.planner.plan(self.results, frozenset(), 1, budget).answer

    @property
    def measured(self) -> int:
        """Number of trials of the question that have ended."""
        return sum(map(len, self.results.values()))

    @property
    def left(self) -> int | None:
        """How many trials may still be started; None: as many as it takes."""
        limits = (self._left(self.question.trials), self._left(self._until))
        return min((limit for limit in limits if limit is not None), default=None)

    def _decide(self, workers: int = 1) -> Decision:
        """What the planner says now."""
        running = frozenset(self._running.values())
        decision = self.question.asked.planner.plan(self.results, running, workers, self.left)
        self.progress = decision.progress
        return decision

    def _left(self, limit: int | None) -> int | None:
        """How many trials may still be started."""
        return None if limit is None else max(0, limit - self.ran)

    def _trials(self, wanted: Iterable[Wanted]) -> list[tuple[Wanted, Trial]]:
        return [(each, self.question.trial(each)) for each in wanted]

    def _own(self, rows: Iterable[results.Row]) -> list[results.Row]:
        """The rows whose trial is the very one that the question would run."""
        asked = self.question.asked
        found = [(row, asked.wanted(row)) for row in rows]
        return [row for row, wanted in found if wanted and self.question.trial(wanted).id == row["trial_id"]]

    def _take(self, wanted: Wanted, row: results.Row) -> None:
        number = self.question.asked.number(row)
        self.results.setdefault((wanted.arm, wanted.place), {})[wanted.seed] = number

    def _take_over(self, wanted: Mapping[str, tuple[Wanted, Trial]]) -> None:
        """Take over what others have of wanted trials."""
        trials = [trial for _, trial in wanted.values()]
        for found in reuse.find(self._study, trials, self._folder, self._known):
            if self._write:
                reuse.take_over(found, self._folder)
            self.taken[found.source] = self.taken.get(found.source, 0) + len(found.trials)
            for row in found.trials.select(columns(self.question)).to_pylist():
                self._take(wanted[row["trial_id"]][0], row)


def columns(question: Question) -> list[str]:
    """The columns of `trials` that an asker needs."""
    return list(dict.fromkeys([*question.asked.telling, "source", *results.SHOWN]))
