"""The driver: runs trials on Ray and writes what comes back, to the end or until it is told to stop."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sweep import plan
from sweep.engine import provenance
from sweep.engine.loggers import Logger
from sweep.engine.progress import Progress
from sweep.errors import ONE_LINE, BadInput
from sweep.plan import Job, Pack
from sweep.store import results
from sweep.store.places import Place, absolute
from sweep.store.states import Claims
from sweep.store.writer import Writer
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial import Result

if TYPE_CHECKING:
    from sweep.engine import worker

TUNE = "tune"  # the name of the thread that Tune runs in
_PREFIXES = ".prefixes"
# Seconds of work below which no pack is made: to hand one over takes some hundredths of one.
_LEAST = 2.0


AUTO: Final = "auto"
Gpus = float | Literal["auto"]


@dataclass(frozen=True)
class Options:
    """How a launch goes about it; nothing of this changes a result.

    Attributes:
        address: of a Ray cluster; None: one is started here.
        workers: trials at once; None: as many as there is room for.
        gpus: share of a GPU that each trial gets; `AUTO`: as much as its memory needs.
        max_hours, max_failures: what ends the launch early.
        retries: times that a trial is tried again whose worker died.
        log: what finished trials are also logged to.
    """

    data_root: str
    address: str | None = None
    workers: int | None = None
    gpus: Gpus = 0
    max_hours: float = math.inf
    max_failures: float = math.inf
    retries: int = 3
    log: Logger | None = None


class Ending(Enum):
    """Why a launch ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    TIME = "--max-hours is over"
    FAILURES = "--max-failures is reached"


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def drive(
    study: Study,
    trials: Sequence[Trial],
    folder: Place,
    options: Options,
    cost: Callable[[Job], float],
    progress: Progress,
    *,
    last: bool = True,
    run: "worker.Run | None" = None,
    judge: partial[Any] | None = None,
    more: Callable[[], Pack | None] | None = None,
    heard: Callable[[Result], None] | None = None,
    examples: Sequence[Trial] = (),
    counts: Mapping[str, int] | None = None,
) -> Ending:
    """Run the trials of a study. What is finished is on disk, however it ends.

    Args:
        cost: seconds that a trial is expected to take.
        last: the study then has no more trials that could go on from what these leave behind.
        run: what a worker does with a trial; None: runs it.
        judge: the class of what stops poor trials early, with what it is made from; None: nothing does.
        more: gives another pack when the trials are all out; None: there is none until more is heard.
        examples: trials of all kinds that there will be; by default `trials`.
        heard: is told each result once it is on disk, in the thread that asks for more.
        counts: of trials, for the launch's entry in study.json; None: how many is not known yet.

    Raises:
        BadInput: there is no such cluster, or results can no longer be written.
    """
    # Ray takes a second to import, which --dry-run and bad input need not wait for.
    from sweep.engine import cluster, tune, worker

    loggers = options.log.callbacks(study.name) if options.log else ()
    writer = Writer(folder, study.name)
    note = provenance.here() | dict(counts or {})
    launched = {"launched_at": datetime.fromisoformat(note["started_at"])}
    errors: list[BaseException] = []
    failed = 0
    claims: Claims | None = None

    def found(result: Result) -> None:
        nonlocal failed
        writer.add(result.trial | launched, result.curves, result.layers)
        progress.add(result.trial)
        failed += result.trial["status"] == "failed"
        if claims:
            claims.done(result.trial["trial_id"])
        if heard and writer.flush():
            heard(result)

    def another() -> Pack | None:
        pack = more() if more else None
        if pack and claims:
            claims.keep(pack.saves)
        return pack

    def work() -> None:
        try:
            tune.execute(
                packs,
                where,
                workers=at_once,
                on_result=found,
                retries=options.retries,
                loggers=loggers,
                run=run or worker.run_trial,
                more=another if more else None,
                log_to=absolute(folder / "log") if options.log and isinstance(folder, Path) else None,
            )
        except BaseException as error:
            errors.append(error)

    # Tune runs in a thread: there it leaves the signals alone, which would wait for running trials to end.
    thread = threading.Thread(target=work, name=TUNE, daemon=True)
    deadline = time.monotonic() + options.max_hours * 3600
    ending = Ending.FINISHED
    try:
        # Not in the thread: Ray's processes end with the thread that started them.
        cluster.connect(options.address, options.workers, bool(options.gpus))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has one of its own
        share = options.gpus
        if share == AUTO:
            cluster.room(options.address, options.workers, 1.0)  # that there is one
            share = cluster.measured(examples or trials, absolute(options.data_root))
            progress.say(f"by its memory each trial gets {share:.3g} of a GPU")
        at_once, cpus = cluster.room(options.address, options.workers, share)
        results.note_launch(folder, study.name, study.text, note)
        packs = plan.packs(trials, at_once, cost, _LEAST)
        where = worker.Where(
            absolute(options.data_root),
            absolute(folder.parent / _PREFIXES),
            share,
            cpus,
            cluster.host(judge) if judge else None,
        )
        claims = Claims(
            where.store,
            study.name,
            {
                job.trial.id: {point.key for point in job.path}
                for pack in packs
                for job in pack.jobs
                if job.path
            },
        )
        progress.begin(at_once, {job.trial.id: cost(job) for pack in packs for job in pack.jobs})
        thread.start()
        while thread.is_alive() and not writer.error and ending is Ending.FINISHED:
            thread.join(0.1)
            if not thread.is_alive():
                break
            if dead := cluster.lost():
                # It would end the process itself, after a minute and with lines of its own.
                died = BadInput(f"Ray's {dead} died: what is finished is kept, launch again to go on")
                errors.insert(0, died)
                break
            if time.monotonic() > deadline:
                ending = Ending.TIME
            elif failed >= options.max_failures:
                ending = Ending.FAILURES
    except KeyboardInterrupt:
        ending = Ending.INTERRUPTED
    # A second signal must not lose what the first one is saving.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        writer.close()
    finally:
        if not thread.is_alive():
            cluster.stop()
    if ending is Ending.FINISHED and errors:
        # Tune wraps what comes of a callback.
        raise next((error for error in _behind(errors[0]) if isinstance(error, ONE_LINE)), errors[0])
    if ending is Ending.FINISHED and claims and last:
        claims.close()
    return ending
