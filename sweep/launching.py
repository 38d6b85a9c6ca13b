"""A launch of a study, from its trials to its summary: for the command and for Python."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace

import torch
from rich.console import Console

from sweep import plan
from sweep.engine import reuse, starts
from sweep.engine.chosen import chosen
from sweep.engine.estimate import say_changes, say_division, say_estimate, say_parts, say_plan, summary
from sweep.engine.incoming import entry, note
from sweep.engine.options import Ending, Options
from sweep.engine.preflight import check_launch
from sweep.engine.progress import Progress
from sweep.errors import BadInput
from sweep.plan.cost import Costs
from sweep.plan.division import divide
from sweep.store import launches, marks, results, running, states
from sweep.store.compaction import compact
from sweep.store.lease import Busy, LaunchPart
from sweep.store.matching import matching
from sweep.store.places import Place
from sweep.store.writer import send
from sweep.study import Study
from sweep.study.identity import Trial


@dataclass(frozen=True)
class Again:
    """Which trials run again though they have a result.

    Attributes:
        rerun: those for whose results this condition in SQL holds; None: none.
        failed: those that failed.
    """

    rerun: str | None = None
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What a launch of a study is to do.

    Attributes:
        results_root: folder of the studies' folders of results.
        options: how trials are run.
        libraries: more folders of results, to take over trials from.
        again: trials that run again.
        most: trials to run, at most; None: all.
        part: its number, from 1 on, and how many parts there are, where this launch is to run one of several
            parts of the study at once; None: it runs the whole study.
        download: get data sets that are missing.
        dry_run: say what would run, and stop.
    """

    results_root: Place
    options: Options
    libraries: Sequence[Place] = ()
    again: Again = field(default_factory=Again)
    most: int | None = None
    part: tuple[int, int] | None = None
    download: bool = False
    dry_run: bool = False

    def run(self, study: Study, console: Console) -> int:
        """Run the trials of a study that have no result yet, and print what a launch prints.

        Returns:
            The exit code of the command.

        Raises:
            BadInput: the study or an option cannot be run.
            StoreError: an object store does not answer.
        """
        folder, options = self.results_root / study.name, self.options
        for line in self._check(study, study.question.examples() if study.question else study.trials()):
            console.out(line, highlight=False)
        own, part = self._own(study, console)
        with nullcontext() if self.dry_run else results.lock(folder, part):
            if not self.dry_run:
                send(folder)
            if not self.dry_run and part is None:
                compact(folder)
            if study.question:
                return self._ask(study, folder, console)
            todo = self._todo(own, folder, study)
            costs = _costs(folder, options)
            _say_todo(console, own, todo, folder)
            if self.dry_run:
                say_estimate(console, own, todo.to_run, costs, options)
                return 0
            if part is None:
                running.clean(folder / running.FOLDER, lambda: {trial.id for trial in todo.missing})
            ending = _run(own, todo, folder, options, costs, console, part=part)
            done = results.finished(folder)
        if part:
            _merge_parts(study, folder)
            count = sum(trial.id in done for trial in study.trials())
            console.out(f"{count:,} of the {len(study):,} trials of all parts have a result", highlight=False)
        return summary(console, own.trials(), done, folder, ending, limited=self.most is not None)

    def _own(self, study: Study, console: Console) -> tuple[Study, LaunchPart | None]:
        """The study with the trials of this part alone, and the part; None: there are no parts."""
        if self.part is None:
            return study, None
        if study.question:
            raise BadInput("--part: a question chooses its trials as results come: launch without --part")
        number, of = self.part
        division = divide(study.trials(), of, self.options.data_root)
        part, trials = LaunchPart(number, of, division.name), tuple(division.trials[number - 1])
        say_division(console, study, part, division)
        return replace(study, distinct=trials, count=len(trials)), part

    def unfinished(self, study: Study) -> bool:
        """Check a study as `run` does, and write nothing but data sets that are to be downloaded.

        Returns:
            Whether trials of the study are to run; of a question only the launch knows.

        Raises:
            BadInput: as `run`.
        """
        self._check(study, study.question.examples() if study.question else study.trials())
        if study.question:
            return True
        return bool(replace(self, dry_run=True)._todo(study, self.results_root / study.name, study).to_run)

    def _check(self, study: Study, trials: Sequence[Trial]) -> list[str]:
        """Check what is known to make trials of the study fail. A dry run runs no code of its parts.

        Returns:
            Lines to print about trained weights.

        Raises:
            BadInput: trials of the study are known to fail.
        """
        options, results_root = self.options, self.results_root
        if options.log:
            options.log.check(results_root)
        check_launch(study, trials, options, download=self.download, run_code=not self.dry_run)
        device = "cuda" if options.gpus else "cpu"
        if self.dry_run:
            starts.earlier(study, trials, results_root, device)
            return []
        return starts.check(study, trials, results_root, options.data_root, device)

    def _ask(self, study: Study, folder: Place, console: Console) -> int:
        """Run the trials that the study's question asks for, or say how many these will be."""
        # Its planners import SciPy, which no other study waits for.
        from sweep.asking import Asking

        again, own = self._again(folder, results.finished(folder))
        asking = Asking(
            folder=folder,
            options=self.options,
            costs=_costs(folder, self.options),
            known=self.libraries,
            again=again,
            own=own,
            most=self.most,
        )
        return asking.preview(study, console) if self.dry_run else asking.run(study, console)

    def _again(self, folder: Place, done: Mapping[str, results.Row]) -> tuple[set[str], set[str]]:
        """Ids of trials that run again though they have a result, and of those that are not taken over."""
        # What a person wants to have run again is not taken over; what failed is, where others have it.
        matched = set() if self.again.rerun is None else matching(folder, self.again.rerun)
        failed = {name for name, row in done.items() if self.again.failed and row["status"] == "failed"}
        return matched | failed, matched | marks.invalid(folder).until.keys()

    def _todo(self, study: Study, folder: Place, whole: Study) -> "_Todo":
        """What is to do in the folder of the study, once the results that others have are taken over.

        A dry run takes nothing over.

        Args:
            whole: the study with the trials of all parts.
        """
        trials, done = study.trials(), results.finished(folder)
        again, own = self._again(folder, done)
        missing = _missing(trials, done, again)
        lacking = _lacking(study, done, missing, folder)
        wanted = [t for t in missing if t.id not in own] if own else missing
        found = reuse.find(study, wanted, folder, self.libraries)
        for each in found:
            if not self.dry_run:
                reuse.take_over(each, folder)
            done |= each.done()
            again -= each.done().keys()
        if found:
            missing = _missing(missing, done, again)
        taken = {each.source: len(each.trials) for each in found}
        elsewhere = set(whole.distinct) - set(trials) if self.part else ()
        counts = {
            "trials": len(whole),
            "to_run": len(missing) + sum(trial.id not in done for trial in elsewhere),
        }
        return _Todo(trials, done, taken, missing, plan.first(missing, self.most), lacking, counts)


@dataclass(frozen=True)
class _Todo:
    """What a launch has to do.

    Attributes:
        trials: all trials of the study.
        done: trial_id → result, of every trial that has one.
        taken: where results are taken over from → how many.
        missing: trials without a result, and those that are run again.
        to_run: the missing trials that this launch runs.
        lacking: how many finished trials stay without what the study keeps.
        counts: of trials of all parts, and of those without a result, for the launch's entry in study.json.
    """

    trials: Sequence[Trial]
    done: Mapping[str, results.Row]
    taken: Mapping[str, int]
    missing: Sequence[Trial]
    to_run: Sequence[Trial]
    lacking: int
    counts: Mapping[str, int]


def _lacking(study: Study, done: Mapping[str, results.Row], missing: Sequence[Trial], folder: Place) -> int:
    """How many trials with a success, that do not run again, are without what the study keeps."""
    if not study.keep or not done:
        return 0
    succeeded = {name for name, row in done.items() if row["status"] == "ok"}
    stay = {trial.id for trial in study.trials()} - {trial.id for trial in missing}
    return len((succeeded & stay) - study.keep.of(folder))


def _costs(folder: Place, options: Options) -> Costs:
    """What trials cost, from the results in a folder where there are any."""
    costs = Costs(
        options.data_root, torch.device("cuda" if options.gpus and torch.cuda.is_available() else "cpu")
    )
    costs.learn(results.costs(folder), bool(options.gpus))
    return costs


def _missing(trials: Sequence[Trial], done: Collection[str], again: Collection[str]) -> Sequence[Trial]:
    """The trials without a result, and those that run again."""
    if not done:  # without results no trial needs its id yet
        return trials
    return [trial for trial in trials if trial.id not in done or trial.id in again]


def _say_todo(console: Console, study: Study, todo: _Todo, folder: Place) -> None:
    """Say what has changed and what runs, and how much of it because a person marked results as invalid."""
    say_changes(console, study, folder)
    say_plan(console, study, todo.done, todo.to_run, todo.taken)
    marked = marks.invalid(folder).until
    again = sum(trial.id in marked and trial.id not in todo.done for trial in todo.missing) if marked else 0
    if again:
        marked_results = "1 result is" if again == 1 else f"{again:,} results are"
        console.out(f"{marked_results} marked as invalid and run again", highlight=False)
    if study.keep and todo.lacking:
        console.out(
            f"{todo.lacking:,} finished before {study.keep} were kept, and are not run again: "
            f'--rerun "{study.keep.lacking}" runs them',
            highlight=False,
        )
    say_parts(console, study, folder, todo.to_run)


def _run(
    study: Study,
    todo: _Todo,
    folder: Place,
    options: Options,
    costs: Costs,
    console: Console,
    *,
    part: LaunchPart | None,
) -> Ending:
    """Run the trials of a launch. A launch without trials to run is noted in study.json all the same."""
    if not todo.to_run:
        # The entry says that the study, as it is now, is finished: an earlier launch may have asked for more.
        note(folder, study, entry(study, todo.counts, part), part)
        return Ending.FINISHED
    kind = chosen(options)
    to_run = {trial.id for trial in todo.to_run}
    have = [trial for trial in todo.trials if trial.id in todo.done and trial.id not in to_run]
    total = len(have) + len(to_run)
    # One row at a time: the text of an arm is long, and many trials share it.
    rows = ({**todo.done[t.id], "arm": t.arm, "seed": t.config.seed} for t in have)
    with Progress(study.name, total, rows, console) as progress:
        last = total == len(todo.trials)
        session = kind(
            study, folder, options, costs.roughly, progress, last=last, counts=todo.counts, part=part
        )
        ending = session.run(todo.to_run)
    if part is None:
        compact(folder)
    return ending


def _merge_parts(study: Study, folder: Place) -> None:
    """Leave what a launch without parts leaves, if no other part runs."""
    with suppress(Busy), results.lock(folder, merges=True):
        launches.gather(folder)
        compact(folder)
        done = results.finished(folder)
        if all(trial.id in done for trial in study.trials()):
            states.release(folder.parent / states.PREFIXES, study.name)
            running.clean(folder / running.FOLDER)
