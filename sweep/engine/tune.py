"""Ray Tune runs the packs: one Tune trial is one pack, on a worker that is kept for the next pack."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from ray import cloudpickle, tune
from ray.exceptions import RayActorError

from sweep.engine import ray_patches  # noqa: F401
from sweep.engine.pack_queue import PackGenerator, PackQueue
from sweep.engine.worker import Run, Where, Worker, run_trial
from sweep.errors import BadInput
from sweep.plan import Pack
from sweep.trial import Result

# How a launch's scratch folder begins its name, and the file in the folder that the launch holds locked.
_SCRATCH, _LOCK = "secateur-", ".lock"


def execute(
    packs: Sequence[Pack],
    where: Where,
    *,
    workers: int,
    tell: Callable[[Result], None],
    ask: Callable[[], Pack | None] | None = None,
    retries: int = 3,
    again: Iterable[str] = (),
    run: Run = run_trial,
    loggers: Sequence[tune.Callback] = (),
    log_to: str | None = None,
) -> None:
    """Run packs to their end.

    Args:
        tell: gets each trial's result, in this thread, as soon as the trial is finished.
        ask: proposes another pack, in this thread, when no pack waits; its None means none until another
            result is told. None: there are no more packs.
        retries: how often a trial whose worker died is tried again; the trial may be what kills it.
        again: trial_ids of which an earlier try may have left a checkpoint.
        loggers: Tune's own callbacks, which see every trial.
        log_to: folder for the files of loggers.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    if loggers:  # a logger sees one trial of each report
        packs = [replace(pack, brief=False) for pack in packs]
    queue = PackQueue(packs, where.store, retries, ask, again)
    with _scratch() as scratch:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(Worker, run=run, where=where), {"cpu": where.cpus, "gpu": where.gpus}
            ),
            tune_config=tune.TuneConfig(
                search_alg=PackGenerator(queue, workers), num_samples=-1, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=log_to or scratch,
                callbacks=[_Deliver(queue, tell, logged=bool(loggers)), *loggers],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()


@contextmanager
def _scratch() -> Iterator[str]:
    """A scratch folder for Tune's files. The folders of killed launches are removed first.

    A folder whose file is locked belongs to a launch that runs, in whatever container.
    """
    for old in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with suppress(OSError, Timeout):
            # A folder younger than a minute may not be locked yet.
            if old.stat().st_uid == os.getuid() and old.stat().st_mtime < time.time() - 60:
                with FileLock(old / _LOCK, blocking=False):
                    shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as scratch, FileLock(Path(scratch) / _LOCK):
        yield scratch


class _Deliver(tune.Callback):
    """Tells results as they arrive, and puts their numbers into Ray's report for loggers."""

    def __init__(self, queue: PackQueue, tell: Callable[[Result], None], *, logged: bool) -> None:
        self.queue, self.tell, self.logged = queue, tell, logged

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles callbacks to restore an experiment; a launch goes on from its own results instead.
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        results: list[Result] = result.pop("results")
        if self.logged:  # not otherwise: Tune goes through all entries several times
            row = results[-1].trial
            result |= {k: value for k, value in row.items() if isinstance(value, str | int | float)}
        for each in results:
            self.queue.tell(each.trial["trial_id"])
            self.tell(each)
        results.clear()  # Tune keeps each pack's last report

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        # Tune keeps its trials to the end, and saves them then: each would be a kilobyte with its jobs.
        trial.config.clear()
        trial.evaluated_params.clear()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.queue.failed(trial.trial_id, _why_unable(trial))
        self.on_trial_complete(iteration, trials, trial)
        self.on_step_end(iteration, trials)
        if why := self.queue.hopeless():
            raise BadInput(f"no worker can begin a trial: {why}: mend that, and launch with --retry-failed")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        while self.queue.given_up:
            self.tell(self.queue.given_up.popleft())


def _why_unable(trial: Any) -> str | None:
    """Why a worker could not begin its pack; None if the worker died, or its GPU failed."""
    try:
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # the error may be of a class that this machine does not have
        return None
    if isinstance(error, RayActorError):
        return str(error) if error.actor_init_failed else None
    return None if isinstance(getattr(error, "cause", None), torch.AcceleratorError) else str(error)
