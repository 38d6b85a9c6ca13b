"""Ray Tune runs the packs: one Tune trial is one pack, on a worker that is kept for the next."""

import gc
import os
import re
import socket
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from ray.exceptions import RayError

from sweep import memory
from sweep.config import Trial
from sweep.errors import BadInput
from sweep.masking import Memory
from sweep.plan import Pack
from sweep.prefixes import Point, Shared, Store
from sweep.provenance import cores
from sweep.source import Source, Supply
from sweep.stages import AfterEpoch
from sweep.storage import place
from sweep.trial import Result, failure, from_canonical, run

if TYPE_CHECKING:
    from sweep.stopping import Rule


def start(address: str | None, workers: int | None, gpus: float = 0) -> tuple[int, float]:
    """Connect to a Ray cluster, or start one here.

    Args:
        gpus: share of a GPU that each trial gets.

    Returns:
        How many trials can run at once, on a cluster as many as are asked for, and each one's share of cores:
        all of one, or with a GPU of all.

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
        here = cores() if gpus else workers or cores()
        ray.init(address="local", num_cpus=here, include_dashboard=False, **options)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room, share = slots(nodes, gpus)
    if not room and not (address and workers):
        what = f"--gpus-per-trial {gpus:g}: no node has such a GPU" if gpus else "no node has a CPU"
        raise BadInput(
            f"{what}; {'leave it out to use CPUs' if gpus else 'add one with cores'}, "
            "or on a cluster that grows say how far: --workers N"
        )
    # A cluster can grow: to see what it should grow to, its autoscaler must be asked for it.
    return workers if workers and address else min(workers or room, room), share


def slots(nodes: Sequence[Mapping[str, float]], gpus: float) -> tuple[int, float]:
    """How many trials have room on nodes at once, and how many cores each can have wherever it is.

    Args:
        nodes: resources of each, as Ray has them.
        gpus: share of a GPU that each trial gets; one that does not divide a GPU leaves a rest of each.
    """
    if not gpus:
        return sum(int(node.get("CPU", 0)) for node in nodes), 1
    rooms = [
        (
            int(node["GPU"]) * int(1 / gpus + 1e-9) if gpus <= 1 else int(node["GPU"] / gpus),
            node.get("CPU", 0),
        )
        for node in nodes
        if node.get("GPU")
    ]
    # On a node with fewer cores than it has room for by its GPUs, the cores count.
    fits = [(min(room, int(cpus)), cpus) for room, cpus in rooms if room and cpus >= 1]
    if not fits:
        return 0, 1
    return sum(room for room, _ in fits), min(int(cpus / room) for room, cpus in fits)


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
        judge: Ray's handle of a `sweep.stopping.Judge`, that stops poor trials; None: there is none.
    """

    data_root: str
    prefixes: str
    gpus: float = 0
    cpus: float = 1
    judge: Any = None

    @property
    def device(self) -> str:
        """What trials run on."""
        return "cuda" if self.gpus else "cpu"

    @property
    def store(self) -> Store:
        """The states that trials leave behind for each other."""
        return Store(place(self.prefixes), self.device)


# Trials that are over within so many seconds are reported together: a report takes about a thousandth of one.
_TOGETHER = 0.02

# Seconds that a trial waits for its judge, who may be starting or out of reach.
_PATIENCE = 10

# How a worker does a trial; `sweep.trial.run`, unless the engine itself is what is being looked at.
Run = Callable[[Trial, Where, Shared], Result]


def run_trial(trial: Trial, where: Where, shared: Shared) -> Result:
    """Do a trial; once more, with the memory cleared, if a GPU had too little for it."""
    after_epoch = _asking(where.judge, trial) if where.judge else None
    try:
        return run(trial, where.data_root, where.device, shared, after_epoch)
    except torch.OutOfMemoryError:
        pass  # not within the handler, whose traceback keeps all that was allocated
    shared.scores.clear()
    gc.collect()
    torch.cuda.empty_cache()
    return run(trial, where.data_root, where.device, shared, after_epoch)


def host(rule: "Rule") -> Any:
    """Start a judge of this cluster's trials; its handle. It takes no core."""
    from sweep.stopping import Judge

    return ray.remote(num_cpus=0)(Judge).remote(rule)


def _asking(judge: Any, trial: Trial) -> AfterEpoch:
    """Asks the judge about a trial; without an answer the trial goes on."""

    def after_epoch(epoch: int, accuracy: float, last: bool) -> bool:
        try:
            poor: bool = ray.get(judge.poor.remote(trial, epoch, accuracy, last), timeout=_PATIENCE)
        except RayError:
            return False
        return poor

    return after_epoch


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
    source = Source(packs, where.store, retries, more)
    with tempfile.TemporaryDirectory(prefix="secateur-") as scratch:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_Worker, run=run, where=where), {"cpu": where.cpus, "gpu": where.gpus}
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


class _Worker(tune.Trainable):
    """One process that does packs; a step is one trial, or as many as are over in no time."""

    def setup(self, config: dict[str, Any], run: Run, where: Where) -> None:
        # The first optimizer would import this, a second of the first trial's time.
        import torch._dynamo  # noqa: F401

        memory.keep()
        self.run, self.where = run, where
        self.scores: Memory = {}
        self.node = os.uname().nodename
        self.broken: Exception | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.pack, self.todo = new_config["pack"], deque(new_config["jobs"])
        self.config: dict[str, Any] = {}  # it would go back with every result
        return True

    def step(self) -> dict[str, Any]:
        if self.broken:
            raise self.broken
        found = [self.next()]
        began = time.monotonic()
        while self.todo and time.monotonic() < began + _TOGETHER:
            try:
                found.append(self.next())
            except torch.AcceleratorError as error:
                self.broken = error  # what was found before it comes first
                return {"found": found, "done": False}
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

    on_trial_error = on_trial_complete

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        while self.source.given_up:
            self.on_result(self.source.given_up.popleft())
