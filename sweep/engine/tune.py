"""Ray Tune runs the packs: one Tune trial is one pack, on a worker that is kept for the next."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout
from ray import cloudpickle, tune
from ray.exceptions import RayActorError

from sweep.engine import ray_patches  # noqa: F401
from sweep.engine.pack_queue import Source, Supply
from sweep.engine.worker import Run, Where, Worker, run_trial
from sweep.errors import BadInput
from sweep.plan import Pack
from sweep.trial import Result

if TYPE_CHECKING:
    pass

# The start of the name of a launch's own folder, and the file in it that the launch has locked.
_SCRATCH, _HELD = "secateur-", ".lock"


def execute(
    packs: Sequence[Pack],
    where: Where,
    *,
    workers: int,
    on_result: Callable[[Result], None],
    retries: int = 3,
    run: Run = run_trial,
    more: Callable[[], Pack | None] | None = None,
    loggers: Sequence[tune.Callback] = (),
    log_to: str | None = None,
) -> None:
    """Run all packs; `on_result` gets each trial's result, in this thread, as soon as it is finished.

    Args:
        retries: times that a trial is tried again whose worker died; it may be the trial that kills it.
        more: gives another pack when all are out; None: there is none until another result is in.
        loggers: Tune's own, that are told of every trial.
        log_to: folder for what loggers write.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    if loggers:  # which look at one trial a report
        packs = [replace(pack, brief=False) for pack in packs]
    source = Source(packs, where.store, retries, more)
    with _scratch() as scratch:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(Worker, run=run, where=where), {"cpu": where.cpus, "gpu": where.gpus}
            ),
            tune_config=tune.TuneConfig(
                search_alg=Supply(source, workers), num_samples=-1, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=log_to or scratch,
                callbacks=[_Deliver(source, on_result, bool(loggers)), *loggers],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()


@contextmanager
def _scratch() -> Iterator[str]:
    """A folder for what Tune writes; those of launches that were killed go first.

    Who has locked a folder's file is alive, wherever it counts its processes.
    """
    for old in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with suppress(OSError, Timeout):
            # A young one may not be locked yet.
            if old.stat().st_uid == os.getuid() and old.stat().st_mtime < time.time() - 60:
                with FileLock(old / _HELD, blocking=False):
                    shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as scratch, FileLock(Path(scratch) / _HELD):
        yield scratch


class _Deliver(tune.Callback):
    """Passes results on as they arrive; leaves their numbers to loggers, if there are any after it."""

    def __init__(self, source: Source, on_result: Callable[[Result], None], logged: bool) -> None:
        self.source, self.on_result, self.logged = source, on_result, logged

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles callbacks so as to restore an experiment; we go on from our own results instead.
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        found: list[Result] = result.pop("found")
        if self.logged:  # Tune goes through all of it several times
            last = found[-1].trial
            result |= {k: value for k, value in last.items() if isinstance(value, str | int | float)}
        for each in found:
            self.source.finished(each.trial["trial_id"])
            self.on_result(each)
        found.clear()  # Tune keeps each pack's last result

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        # Tune keeps its trials to the end, and saves them then: with all their jobs that is a kilobyte each.
        trial.config.clear()
        trial.evaluated_params.clear()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.source.failed(trial.trial_id, _unable(trial))
        self.on_trial_complete(iteration, trials, trial)
        self.on_step_end(iteration, trials)
        if why := self.source.hopeless():
            raise BadInput(f"no worker can begin a trial: {why}: mend that, and launch with --retry-failed")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        while self.source.given_up:
            self.on_result(self.source.given_up.popleft())


def _unable(trial: Any) -> str | None:
    """Why a worker could not begin what it was given; None if it died, or its GPU failed it."""
    try:
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # whatever the error is made of may not be on this machine
        return None
    if isinstance(error, RayActorError):
        return str(error) if error.actor_init_failed else None
    return None if isinstance(getattr(error, "cause", None), torch.AcceleratorError) else str(error)
