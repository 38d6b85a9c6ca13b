"""Ray Tune runs the packs: one Tune trial is one pack, on a worker that is kept for the next."""

import gc
import os
import re
import socket
import tempfile
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Ray reads these when it is imported.
# Rows go through our own writer: Tune's loggers and snapshots would cost more than short trials do.
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
# After an interrupt Tune's thread must not start a cluster of its own.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"

import ray
import torch
from ray import tune
from ray.tune.search import Searcher

from sweep.config import Trial
from sweep.errors import BadInput
from sweep.masking import Memory
from sweep.plan import Pack
from sweep.prefixes import Point, Shared, Store
from sweep.provenance import cores
from sweep.trial import Result, failure, from_canonical, run


def start(address: str | None, workers: int | None, gpus: float = 0) -> tuple[int, float]:
    """Connect to a Ray cluster, or start one here.

    Args:
        gpus: share of a GPU that each trial gets.

    Returns:
        How many trials can run at once, and each one's share of cores: all of one, or with a GPU of all.

    Raises:
        BadInput: there is no cluster at the address, or no GPU for the trials.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        try:
            # Ray itself would try an address where nothing listens for many minutes.
            if match := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address):
                socket.create_connection((match[1], int(match[2])), timeout=5).close()
            ray.init(address=address, **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"--address {address}: no Ray cluster there ({error}); leave it out to run here"
            ) from None
    else:
        # "local", not None: None would join whatever cluster happens to run on this machine.
        ray.init(address="local", num_cpus=workers or cores(), include_dashboard=False, **options)
    resources = ray.cluster_resources()
    cpus = int(resources.get("CPU", 1))
    room = min(cpus, int(resources.get("GPU", 0) / gpus)) if gpus else cpus
    if not room:
        raise BadInput(f"--gpus-per-trial {gpus:g}: there is no such GPU; leave it out to use CPUs")
    at_once = min(workers or room, room)
    return at_once, max(1, cpus // at_once) if gpus else 1


def loggers(name: str, study: str) -> list[tune.Callback]:
    """Tune's callback that logs to a service, by its name."""
    if name == "tensorboard":
        from ray.tune.logger import TBXLoggerCallback

        return [TBXLoggerCallback()]
    if name == "mlflow":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        return [MLflowLoggerCallback(experiment_name=study)]
    from ray.air.integrations.wandb import WandbLoggerCallback

    return [WandbLoggerCallback(project=study)]


def stop() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


@dataclass(frozen=True)
class Where:
    """Where workers find what they need, and what they run on; paths that every node has.

    Attributes:
        data_root: folder of the data sets.
        prefixes: folder of the states that trials leave behind for each other.
        gpus: share of a GPU for each worker; 0: none.
        cpus: cores for each worker.
    """

    data_root: str
    prefixes: str
    gpus: float = 0
    cpus: float = 1

    @property
    def device(self) -> str:
        """What trials run on."""
        return "cuda" if self.gpus else "cpu"

    @property
    def store(self) -> Store:
        """The states that trials leave behind for each other."""
        return Store(Path(self.prefixes), self.device)


# Trials that are over within so many seconds are reported together: a report takes about a thousandth of one.
_TOGETHER = 0.02

# How a worker does a trial; `sweep.trial.run`, unless the engine itself is what is being looked at.
Run = Callable[[Trial, Where, Shared], Result]


def run_trial(trial: Trial, where: Where, shared: Shared) -> Result:
    """Do a trial; once more, with the memory cleared, if a GPU had too little for it."""
    try:
        return run(trial, where.data_root, where.device, shared)
    except torch.OutOfMemoryError:
        pass  # not within the handler, whose traceback keeps all that was allocated
    shared.scores.clear()
    gc.collect()
    torch.cuda.empty_cache()
    return run(trial, where.data_root, where.device, shared)


def execute(
    packs: Sequence[Pack],
    where: Where,
    *,
    workers: int,
    on_result: Callable[[Result], None],
    retries: int = 3,
    run: Run = run_trial,
    more: Callable[[], Pack | None] = lambda: None,
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
    source = Source(packs, where, retries, more)
    with tempfile.TemporaryDirectory(prefix="secateur-") as scratch:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_Worker, run=run, where=where), {"cpu": where.cpus, "gpu": where.gpus}
            ),
            tune_config=tune.TuneConfig(
                search_alg=source, num_samples=-1, max_concurrent_trials=workers, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=log_to or scratch,
                callbacks=[_Deliver(source, on_result, bool(loggers)), *loggers],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()


class _Worker(tune.Trainable):
    """One process that does packs; a step is one trial, or as many as are over in no time."""

    def setup(self, config: dict[str, Any], run: Run, where: Where) -> None:
        self.run, self.where = run, where
        self.scores: Memory = {}
        self.node = os.uname().nodename
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.pack, self.todo = new_config["pack"], deque(new_config["jobs"])
        return True

    def step(self) -> dict[str, Any]:
        found = [self.next()]
        began = time.monotonic()
        while self.todo and time.monotonic() < began + _TOGETHER:
            found.append(self.next())
        return {"found": found, "done": not self.todo}

    def next(self) -> Result:
        canonical, path, saves = self.todo.popleft()
        trial = from_canonical(canonical)
        shared = Shared(
            self.where.store, tuple(Point(*p) for p in path), tuple(Point(*p) for p in saves), self.scores
        )
        try:
            result = self.run(trial, self.where, shared)
        except Exception as error:
            # After such an error a process cannot use its GPU again: it ends, and another takes the pack.
            if isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError):
                raise
            result = failure(trial, traceback.format_exc())
        result.trial |= {"pack": self.pack, "node": self.node}
        return result


class _Deliver(tune.Callback):
    """Passes results on as they arrive; leaves their numbers to loggers, if there are any after it."""

    def __init__(self, source: "Source", on_result: Callable[[Result], None], logged: bool) -> None:
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

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        while self.source.given_up:
            self.on_result(self.source.given_up.popleft())


class Source(Searcher):
    """Hands out packs in order, when what they need is there; takes back what a dead worker left undone."""

    def __init__(
        self,
        packs: Sequence[Pack],
        where: Where,
        retries: int,
        more: Callable[[], Pack | None] = lambda: None,
    ) -> None:
        super().__init__(metric="training_iteration", mode="max")
        self.store, self.retries, self.more = where.store, retries, more
        self.waiting = deque(packs)
        self.running: dict[str, Pack] = {}
        self.deaths: Counter[str] = Counter()
        self.given_up: deque[Result] = deque()
        self._left = {job.trial.id for pack in packs for job in pack.jobs}
        # Who leaves behind the state of a key.
        self._maker = {point.key: job.trial.id for pack in packs for job in pack.jobs for point in job.saves}

    def finished(self, trial_id: str) -> None:
        """A trial has its result."""
        self._left.discard(trial_id)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next pack that can begin, as a Tune trial's config."""
        pack = self._next()
        if pack:
            self.running[trial_id] = pack
            jobs = [(job.trial.canonical, job.path, job.saves) for job in pack.jobs]
            return {"pack": pack.number, "jobs": jobs}
        # While a pack is out its worker may still die, and the pack come back.
        return None if self.running or self.waiting else Searcher.FINISHED

    def _next(self) -> Pack | None:
        for place, pack in enumerate(self.waiting):
            if all(map(self._ready, pack.needs)):
                del self.waiting[place]
                return pack
        new = None if self.waiting else self.more()
        if new:
            self._left |= {job.trial.id for job in new.jobs}
        return new

    def _ready(self, key: str) -> bool:
        """Whether a state is there, or will never be: who needs it then trains by itself."""
        return self._maker.get(key) not in self._left or self.store.has(key)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A pack is done, or its worker died."""
        pack = self.running.pop(trial_id)
        missing = [job for job in pack.jobs if job.trial.id in self._left]
        if missing and error:
            running = missing[0].trial  # a pack's trials run in order
            self.deaths[running.id] += 1
            if self.deaths[running.id] > self.retries:
                died = failure(running, f"its worker died {self.deaths[running.id]} times while it ran")
                died.trial["pack"] = pack.number
                self.given_up.append(died)
                self.finished(running.id)
                missing = missing[1:]
        if missing:
            # In front: others may wait for what it leaves behind.
            self.waiting.appendleft(Pack(pack.number, tuple(missing)))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: what is done stands in the results."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""
