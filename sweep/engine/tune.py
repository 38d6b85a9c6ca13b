"""Ray Tune runs the packs: one Tune trial is one pack, on a worker that is kept for the next pack."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ray import tune
from ray.exceptions import RayActorError

from sweep.engine import ray_private, scratch
from sweep.engine.pack_queue import PackGenerator, PackQueue
from sweep.engine.runner import Run, Where, run_trial
from sweep.engine.worker import Worker
from sweep.errors import BadInput
from sweep.plan import Pack
from sweep.trial import Result


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
    stop: threading.Event | None = None,
) -> None:
    """Run packs to their end.

    Args:
        tell: gets each trial's result, in this thread, as soon as the trial is finished.
        ask: proposes another pack, in this thread, when no pack waits; its None means none until another
            result is told. None: there are no more packs.
        retries: how often a trial whose worker died is tried again; the trial may be what kills it.
        again: trial_ids of which an earlier try may have left a checkpoint.
        stop: ends the packs early once it is set, with an exception; running trials are lost.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    queue = PackQueue(packs, where.store, retries, ask, again)
    with scratch.folder() as folder:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(Worker, run=run, where=where), {"cpu": where.cpus, "gpu": where.gpus}
            ),
            tune_config=tune.TuneConfig(
                search_alg=PackGenerator(queue, workers), num_samples=-1, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=str(folder),
                callbacks=[_Deliver(queue, tell, stop)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
                # By default, in a notebook, it is one that clears what the cell has printed.
                progress_reporter=tune.CLIReporter(),
            ),
        ).fit()


class _Deliver(tune.Callback):
    """Tells results as they arrive."""

    def __init__(
        self, queue: PackQueue, tell: Callable[[Result], None], stop: threading.Event | None = None
    ) -> None:
        self.queue, self.tell, self.stop = queue, tell, stop

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles callbacks to restore an experiment; a launch goes on from its own results instead.
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        results: list[Result] = result.pop("results")
        for each in results:
            self.queue.tell(each.trial["trial_id"])
            self.tell(each)
        results.clear()  # Tune keeps each pack's last report

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        ray_private.forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.queue.failed(trial.trial_id, _why_unable(trial))
        self.on_trial_complete(iteration, trials, trial)
        self.on_step_end(iteration, trials)
        if why := self.queue.hopeless():
            raise BadInput(f"no worker can begin a trial: {why}: mend that, and launch with --retry-failed")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        while self.queue.given_up:
            self.tell(self.queue.given_up.popleft())
        if self.stop and self.stop.is_set():
            raise RuntimeError("told to stop")  # Tune ends its workers when a callback fails


def _why_unable(trial: Any) -> str | None:
    """Why a worker could not begin its pack; None if the worker died, or its GPU failed."""
    error = ray_private.error_of(trial)
    if error is None:
        return None
    if isinstance(error, RayActorError):
        return str(error) if error.actor_init_failed else None
    return None if isinstance(getattr(error, "cause", None), torch.AcceleratorError) else str(error)
