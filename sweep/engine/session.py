"""A session: runs trials on Ray and writes their results, to the end or until it is told to stop."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from sweep import plan
from sweep.engine import cluster, runner, starts, tune
from sweep.engine.incoming import Incoming
from sweep.engine.options import AUTO, TUNE, Ending, Options
from sweep.engine.progress import Progress
from sweep.engine.proposer import Proposer
from sweep.errors import ONE_LINE, BadInput
from sweep.plan import Job, Pack
from sweep.store import running
from sweep.store.lease import LaunchPart
from sweep.store.places import Place, absolute
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial import Result

# Seconds of work below which no pack is made: handing one over takes hundredths of a second.
_LEAST = 2.0
# Seconds that Tune may take to end its workers when it is told to stop.
_PATIENCE = 30.0


class Session:
    """One launch of a study: `run` runs its trials on Ray.

    Whatever has finished is on disk, however the session ends. `run` is called once, in the main thread;
    `ask` and `tell` are called by Tune's thread.
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
        part: LaunchPart | None = None,
        proposer: Proposer | None = None,
        run: runner.Run = runner.run_trial,
    ) -> None:
        """Begin; nothing runs yet.

        Args:
            folder: of the study's results.
            cost: expected seconds of a job.
            last: no later trial of the study needs the states that these trials save.
            counts: of trials, for the launch's entry in study.json; None: not known yet.
            part: as which results are written, beside other parts; None: by this launch alone.
            proposer: proposes more trials while others run; None: only those given to `run`.
            run: how a worker runs a trial.
        """
        self.study, self.folder, self.options = study, folder, options
        self.cost, self.progress, self.last, self.proposer = cost, progress, last, proposer
        self._run = run
        self._incoming = Incoming(study, folder, progress, counts, options.log, part)
        self._errors: list[BaseException] = []
        # Set while Tune's thread does not run. An interrupt of Thread.join would mark a running thread as
        # ended (bpo-45274); shutting Ray down under it ends the process.
        self._idle = threading.Event()
        self._idle.set()
        self._stop = threading.Event()  # tells Tune's thread to end

    def run(self, trials: Sequence[Trial]) -> Ending:
        """Run trials, and those that the proposer proposes.

        Raises:
            BadInput: there is no such cluster, this process uses one already, or results can no longer be
                written.
            StoreError: an object store does not answer.
        """
        cluster.check_unconnected()
        deadline = time.monotonic() + self.options.max_hours * 3600
        try:
            self._open(trials)
            ending = self._watch(deadline)
        except KeyboardInterrupt:
            ending = Ending.INTERRUPTED
        except BaseException:
            self._close(Ending.INTERRUPTED)
            raise
        return self._close(ending)

    def ask(self) -> Pack | None:
        """Another pack from the proposer, whose states are claimed; None: none until another result."""
        pack = self.proposer.ask() if self.proposer else None
        if pack and self._incoming.claims:
            self._incoming.claims.keep(pack.saves)
        return pack

    def tell(self, result: Result) -> None:
        """Write a trial's result; tell the proposer of it once it is on disk."""
        self._incoming.add(result)
        if self.proposer and self._incoming.flush():
            self.proposer.tell(result)

    def _open(self, trials: Sequence[Trial]) -> None:
        """Connect to Ray, note the launch, plan the packs and start the thread that runs them."""
        options = self.options
        # Not in Tune's thread: Ray's processes end with the thread that started them.
        cluster.connect(options.address, options.workers, gpu=bool(options.gpus))
        if cluster.of_environment(options.address):
            self.progress.say(
                f"on the Ray cluster at {options.address}, as RAY_ADDRESS says; --address local runs here"
            )
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has installed a handler of its own
        share = self._gpu_share(trials)
        at_once, cores = cluster.capacity(options.address, options.workers, share)
        self._incoming.note_launch()
        root = self.folder.parent
        kinds = self.proposer.examples() if self.proposer else trials
        starts.send(self.study, kinds, root)
        packs = plan.packs(trials, at_once, self.cost, _LEAST)
        jobs = [job for pack in packs for job in pack.jobs]
        judge = self.proposer.judge() if self.proposer else None
        where = runner.where_of(
            self.study,
            self.folder,
            options,
            kinds,
            share,
            cpus=cores,
            seconds=options.trial_seconds,
            judge=cluster.start_judge(judge) if judge else None,
        )
        self._incoming.claim(where.store, jobs)
        if self.proposer:
            self.proposer.begin(at_once)
        self.progress.begin(at_once, {job.trial.id: self.cost(job) for job in jobs})
        # In a thread Tune installs no handlers of signals; its own would wait for running trials to end.
        work = partial(self._execute, packs, where, at_once)
        self._idle.clear()
        threading.Thread(target=work, name=TUNE, daemon=True).start()

    def _gpu_share(self, trials: Sequence[Trial]) -> float:
        """The share of a GPU for each trial, measured where it is `AUTO`."""
        options = self.options
        if options.gpus != AUTO:
            return options.gpus
        cluster.capacity(options.address, options.workers, 1.0)  # raises where there is no GPU
        kinds = self.proposer.examples() if self.proposer else trials
        share = cluster.measured(kinds, absolute(options.data_root), [*self.study.parts.values()])
        self.progress.say(f"by its memory each trial gets {share:.3g} of a GPU")
        return share

    def _execute(self, packs: Sequence[Pack], where: runner.Where, at_once: int) -> None:
        """Run packs to their end, in Tune's thread; an error is kept for the main thread."""
        try:
            tune.execute(
                packs,
                where,
                workers=at_once,
                tell=self.tell,
                ask=self.ask if self.proposer else None,
                retries=self.options.retries,
                again=running.trials(self.folder / running.FOLDER),
                run=self._run,
                stop=self._stop,
            )
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._idle.set()

    def _watch(self, deadline: float) -> Ending:
        """Wait until Tune's thread ends, results cannot be written, Ray dies or a limit is reached."""
        while not self._idle.wait(0.1) and not self._incoming.broken:
            if name := cluster.dead_process():
                # Ray would end this process a minute later, with lines of its own.
                died = BadInput(f"Ray's {name} died: what is finished is kept, launch again to go on")
                self._errors.insert(0, died)
                break
            if time.monotonic() > deadline:
                return Ending.TIME
            if self._incoming.failed >= self.options.max_failures:
                return Ending.FAILURES
        return Ending.FINISHED

    def _close(self, ending: Ending) -> Ending:
        """Write what has arrived, leave Ray, and raise the error that ended Tune."""
        # A second signal must not lose the results that are being written.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        try:
            self._incoming.close()
        finally:
            if self.options.stays:
                self._stop.set()
                self._idle.wait(_PATIENCE)
            if self._idle.is_set():
                cluster.stop()
        self._incoming.end_log(interrupted=ending is Ending.INTERRUPTED)
        if ending is Ending.FINISHED and self._errors:
            # Tune wraps the exceptions of callbacks.
            raise next((e for e in _causes(self._errors[0]) if isinstance(e, ONE_LINE)), self._errors[0])
        if ending is Ending.FINISHED and self.last:
            self._incoming.clean()
        return ending


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it was raised from."""
    while error:
        yield error
        error = error.__cause__ or error.__context__
