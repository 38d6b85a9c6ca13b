"""A launch of a study that asks a question: what it says before, how it runs, and the answer at its end."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from sweep import data
from sweep.data import TASKS
from sweep.engine import provenance
from sweep.engine.asker import Asker, columns
from sweep.engine.chosen import chosen
from sweep.engine.estimate import say_changes, say_parts
from sweep.engine.options import Ending, Options
from sweep.engine.progress import Progress, duration
from sweep.errors import BadInput
from sweep.plan import Job
from sweep.plan.cost import Costs
from sweep.questions.asked import Asked
from sweep.questions.planner import Answer, Measure
from sweep.reporter import conclude, note
from sweep.store import launches, results, running
from sweep.store.compaction import compact
from sweep.store.places import Place
from sweep.study import Study
from sweep.study.question import Question

# Workers that a preview reckons with where the launch says no number.
_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What a launch of a question goes by.

    Attributes:
        folder: of the study's results.
        known: libraries, further results to take over trials from.
        again: ids of trials that run again though they have a result.
        own: ids of trials whose results are not taken over.
        most: trials to run now, at most; None: as many as it takes.
    """

    folder: Place
    options: Options
    costs: Costs
    known: Sequence[Place] = ()
    again: Collection[str] = ()
    own: Collection[str] = ()
    most: int | None = None

    def preview(self, study: Study, console: Console) -> int:
        """Say what is known, and how many trials the question is expected to take."""
        study, question = with_measure(study, self.options)
        asker = self._asker(study, question, write=False)
        _say_known(console, study, asker)
        say_parts(console, study, self.folder, question.examples())
        workers = self.options.workers or _WORKERS
        expected = question.asked.planner.expected(asker.results, workers)
        more = f"{expected.low} to {expected.high}" if expected.low < expected.high else f"{expected.high}"
        grid = f"a grid that tells as much: {expected.grid}" if expected.grid else "no grid tells as much"
        conclude(
            console,
            f"about {expected.median} more trials: {more} in nine of ten simulated studies, of which "
            f"{expected.answered:.0%} have an answer ({expected.basis}); {grid}",
        )
        limit = asker.left
        trials = expected.median if limit is None else min(expected.median, limit)
        seconds = self._seconds(question, trials)
        if seconds is not None:
            wall = duration(seconds / workers)
            conclude(
                console,
                f"about {wall} for {trials} with {workers} workers; {duration(seconds)} of one worker",
            )
        note(
            console,
            expected={
                "trials": [expected.low, expected.median, expected.high],
                "answered": expected.answered,
                "grid": expected.grid,
                "basis": expected.basis,
                "most": limit,
                "workers": workers,
                "worker_seconds": seconds,
            },
        )
        return 0

    def run(self, study: Study, console: Console) -> int:
        """Run the trials that the question asks for, and say the answer.

        Returns:
            The exit code of the command.
        """
        study, question = with_measure(study, self.options)
        say_changes(console, study, self.folder)
        asker = self._asker(study, question, write=True)
        _say_known(console, study, asker)
        say_parts(console, study, self.folder, question.examples())
        hours = min(self.options.max_hours, question.max_hours or self.options.max_hours)
        if asker.conclude(spent=False):
            # The entry says that the study, as it is now, has its answer.
            entry = provenance.here(study.parts.values())
            launches.note_launch(self.folder, study.name, study.text, entry, study.about)
            return self._conclude(question, asker, Ending.FINISHED, False, console)
        options = replace(self.options, max_hours=hours)
        known = ({"status": "ok"} for _ in range(asker.measured))
        with Progress(study.name, None, known, console, answer=lambda: asker.progress) as progress:
            kind = chosen(options)
            ending = kind(study, self.folder, options, self.costs.roughly, progress, proposer=asker).run([])
        compact(self.folder)
        spent = ending is Ending.TIME and hours < self.options.max_hours
        return self._conclude(question, asker, ending, spent, console)

    def _asker(self, study: Study, question: Question, *, write: bool) -> Asker:
        """What asks for trials, once it has what others know of the first of them."""
        rows = results.finished(self.folder, columns(question))
        if write:
            running.clean(
                self.folder / running.FOLDER,
                lambda: running.trials(self.folder / running.FOLDER) - rows.keys(),
            )
        asker = Asker(
            study,
            question,
            {name: row for name, row in rows.items() if name not in self.again},
            self.folder,
            known=self.known,
            own=self.own,
            most=self.most,
            write=write,
        )
        asker.look_up()
        return asker

    def _seconds(self, question: Question, trials: int) -> float | None:
        """Seconds of so many trials of one worker; None: the data are not on this machine."""
        examples = question.examples()
        try:
            each = sum(self.costs.job(Job(trial)) for trial in examples) / len(examples)
        except BadInput:
            if not self.options.address:
                raise
            return None
        return trials * each

    def _conclude(
        self, question: Question, asker: Asker, ending: Ending, spent: bool, console: Console
    ) -> int:
        """Say the answer, or how far it is; the exit code."""
        on_test = question.asked.on_test_data
        needed = [*columns(question), *(on_test.columns if on_test else ())]
        rows = list(results.finished(self.folder, needed).values())
        failed = sum(row["status"] == "failed" for row in rows)
        answer = asker.conclude(spent=spent)
        note(
            console,
            results=str(self.folder),
            trials=asker.measured,
            ran=asker.ran,
            failed=failed,
            ending=ending.name.lower(),
            question=facts(question.asked, answer, asker.progress),
        )
        conclude(console, f"results: {self.folder}")
        if failed:
            conclude(console, f"{failed} trials failed: --retry-failed runs them again")
        if answer:
            conclude(console, answer.sentence)
            if on_test:
                said = on_test.answer(rows).sentence
                conclude(console, f"by test data of the same trials, which chose none of them: {said}")
        else:
            conclude(console, f"not over: {asker.progress}")
            conclude(console, f"{_why(ending)}; the same command goes on")
        if ending is Ending.INTERRUPTED:
            return 130
        return 1 if failed or ending is Ending.FAILURES else 0


def with_measure(study: Study, options: Options) -> tuple[Study, Question]:
    """A study that asks, and its question, which knows what its numbers are as far as the data are here."""
    assert study.question
    config = study.question.examples()[0].config
    try:
        sizes = data.sizes(
            config.dataset, options.data_root, config.validation_fraction, config.arguments("dataset")
        )
        headline = TASKS[sizes.form.task].headline
        chance = 1 / sizes.classes if headline == "accuracy" else None
        grain = 1 / sizes.validation if headline == "accuracy" else 0.0
        measure = Measure(f"validation {headline}", grain=grain, chance=chance)
    except BadInput:  # they are where the workers are
        measure = Measure("validation accuracy")
    question = study.question.measuring(measure)
    # Of the plain class: a study from Python is made of values.
    return Study(**(vars(study) | {"question": question})), question


def facts(asked: Asked, answer: Answer | None, progress: str) -> dict[str, Any]:
    """An answer for programs."""
    said = {"status": answer.status, "answer": answer.sentence, **answer.numbers} if answer else {}
    return {"kind": asked.kind, "status": "goes on", "so_far": progress, **said}


def _say_known(console: Console, study: Study, asker: Asker) -> None:
    """Say what the question is about, and how many trials of it are measured."""
    question = asker.question
    counts = [f"{study.name}: {question.asked.kind} of {', '.join(question.arms)}"]
    counts.append(f"{asker.measured - sum(asker.taken.values())} trials with a result")
    counts += [f"{count} taken over from {source}" for source, count in asker.taken.items()]
    if question.trials is not None:
        counts.append(f"{question.trials} to run at most")
    console.out("; ".join(counts), highlight=False)
    note(console, study=study.name, with_result=asker.measured, taken_over=dict(asker.taken))


def _why(ending: Ending) -> str:
    return "--max-trials is reached" if ending is Ending.FINISHED else ending.value
