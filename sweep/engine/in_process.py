"""Trials run one after another in this process, without Ray: for debuggers and for a look at an error."""

import signal
import time
from bdb import BdbQuit
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from sweep import plan
from sweep.engine import starts
from sweep.engine.incoming import Incoming
from sweep.engine.options import Ending, Options
from sweep.engine.progress import Progress
from sweep.engine.proposer import Proposer
from sweep.engine.runner import Runner, where_of
from sweep.plan import Job, Pack
from sweep.store import running
from sweep.store.lease import LaunchPart
from sweep.store.places import Place
from sweep.study import Study
from sweep.study.identity import Trial


class InProcess:
    """One launch of a study: `run` runs its trials in this thread, in the order of the plan.

    Trials share states and scores as those of a worker do, and give the same results bit by bit. Whatever has
    finished is on disk, however `run` ends. Ctrl-C ends it, and so does quitting a debugger.
    """

    def __init__(
        self,
        study: Study,
        folder: Place,
        options: Options,
        cost: Callable[[Job], float],
        progress: Progress,
        *,
        last: bool = True,
        counts: Mapping[str, int] | None = None,
        proposer: Proposer | None = None,
        part: LaunchPart | None = None,
    ) -> None:
        """Begin; nothing runs yet. The arguments are those of `sweep.engine.session.Session`."""
        self._study, self._folder, self._options = study, folder, options
        self._cost, self._progress, self._last, self._proposer = cost, progress, last, proposer
        self._incoming = Incoming(study, folder, progress, counts, part=part)

    def run(self, trials: Sequence[Trial]) -> Ending:
        """Run trials, and those that the proposer proposes.

        Raises:
            BadInput: results can no longer be written.
            StoreError: an object store does not answer.
            Exception: what a trial raises, if the options say so.
        """
        deadline = time.monotonic() + self._options.max_hours * 3600
        try:
            ending = self._run(trials, deadline)
        except (KeyboardInterrupt, BdbQuit):
            ending = Ending.INTERRUPTED
        finally:
            self._close()
        if ending is Ending.FINISHED and self._last:
            self._incoming.clean()
        return ending

    def _run(self, trials: Sequence[Trial], deadline: float) -> Ending:
        """Run the trials until they are done, or a limit is reached."""
        options, root = self._options, self._folder.parent
        self._incoming.note_launch()
        kinds = self._proposer.examples() if self._proposer else trials
        starts.send(self._study, kinds, root)
        where = where_of(self._study, self._folder, options, kinds, 1.0 if options.gpus else 0.0)
        packs = plan.packs(trials, 1, self._cost)
        jobs = [job for pack in packs for job in pack.jobs]
        self._incoming.claim(where.store, jobs)
        self._progress.begin(1, {job.trial.id: self._cost(job) for job in jobs})
        again = running.trials(self._folder / running.FOLDER)
        raises = (BaseException,) if options.raise_errors else (KeyboardInterrupt, BdbQuit)
        runner = Runner(where, raises=raises)
        for number, job in self._jobs(packs):
            if self._incoming.broken:
                break
            if time.monotonic() > deadline:
                return Ending.TIME
            if self._incoming.failed >= options.max_failures:
                return Ending.FAILURES
            trial = job.trial
            result = runner.result(trial.canonical, job.path, job.saves, number, again=trial.id in again)
            self._incoming.add(result)
            if self._proposer and self._incoming.flush():
                self._proposer.tell(result)
        return Ending.FINISHED

    def _jobs(self, packs: Iterable[Pack]) -> Iterator[tuple[int, Job]]:
        """The jobs of packs, and of those that the proposer proposes, each with the number of its pack."""
        for pack in packs:
            yield from ((pack.number, job) for job in pack.jobs)
        while self._proposer and (proposed := self._proposer.ask()):
            if self._incoming.claims:
                self._incoming.claims.keep(proposed.saves)
            yield from ((proposed.number, job) for job in proposed.jobs)

    def _close(self) -> None:
        """Write what has arrived; a second Ctrl-C must not lose it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._incoming.close()
