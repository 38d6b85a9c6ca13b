"""Ray Tune runs the packs: one Tune trial is one pack, on a worker that is kept for the next."""

import logging
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Ray reads these when it is imported.
# Rows go through our own writer: Tune's loggers and snapshots would cost more than short trials do.
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
# Of a worker that died a result says so; Tune would print its own trace over the progress.
os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
# After an interrupt Tune's thread must not start a cluster of its own.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"

import ray
import torch
from filelock import FileLock, Timeout
from ray import cloudpickle, tune
from ray._private.services import canonicalize_bootstrap_address
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError

from sweep import packing
from sweep.errors import BadInput
from sweep.plan import Pack
from sweep.source import Source, Supply
from sweep.store.provenance import cores
from sweep.study.identity import Trial
from sweep.trial import Result
from sweep.worker import Run, Where, Worker, run_trial

if TYPE_CHECKING:
    from sweep.stopping import Rule

# The start of the name of a launch's own folder, and the file in it that the launch has locked.
_SCRATCH, _HELD = "secateur-", ".lock"

# From canonical configs and the data root to the share of a GPU that each trial needs.
Measure = Callable[[Sequence[str], str], float]


def _deaths_of_all_kinds(
    failed: Callable[[Any, Any, Exception], None],
) -> Callable[[Any, Any, Exception], None]:
    """Tune would end over what it does not know: a worker that was killed because its node ran out of memory,
    or whose answer was lost with its node. To us they are workers that died."""

    def told(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        failed(self, tracked_actor_task, exception)

    return told


RayActorManager._actor_task_failed = _deaths_of_all_kinds(RayActorManager._actor_task_failed)


def connect(address: str | None, workers: int | None, gpu: bool) -> None:
    """Connect to a Ray cluster, or start one here.

    Args:
        gpu: whether trials run on GPUs.

    Raises:
        BadInput: there is no cluster at the address, or none can be started here.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        try:
            # Ray itself would try an address where nothing listens for many minutes, and end the process.
            at = address if address.startswith("ray://") else canonicalize_bootstrap_address(address) or ""
            if match := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", at):
                socket.create_connection((match[1], int(match[2])), timeout=5).close()
            ray.init(address=address, **options)
        except (OSError, ValueError, RuntimeError, RayError) as error:
            raise BadInput(
                f"--address {address}: no Ray cluster there ({error}); leave it out to run here"
            ) from None
    else:
        # "local", not None: None would join whatever cluster happens to run on this machine.
        here = cores() if gpu else workers or cores()
        try:
            ray.init(address="local", num_cpus=here, include_dashboard=False, **options)
        except Exception as error:  # a path, a port, memory, time: of whatever kind Ray has for it
            why = (str(error).splitlines() or [type(error).__name__])[0]
            remedy = "see that the machine has memory, time and room for it"
            if isinstance(error, OSError) and "AF_UNIX" in why:
                why = f"{tempfile.gettempdir()} is too long for the names of its sockets"
                remedy = "set RAY_TMPDIR to a short folder, such as /tmp,"
            raise BadInput(f"no Ray cluster starts here: {why}: {remedy} and launch again") from None
    # What becomes of a worker is said by results; Tune would say it over the progress.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def measured(trials: Sequence[Trial], data_root: str, measure: Measure = packing.measure) -> float:
    """The share of a GPU that each of these trials needs, measured on one of the cluster.

    Raises:
        BadInput: they cannot be run there.
    """
    apart = ray.remote(num_gpus=1, max_calls=1)(measure)  # its process ends, and its memory with it
    try:
        share: float = ray.get(apart.remote([trial.canonical for trial in packing.kinds(trials)], data_root))
    except RayError as error:
        why = str(getattr(error, "cause", error)).partition("\n")[0]
        raise BadInput(f"--gpus-per-trial auto: {why}; say a share, such as 0.25") from None
    return share


def room(address: str | None, workers: int | None, gpus: float = 0) -> tuple[int, float]:
    """How many trials can run at once, on a cluster as many as are asked for, and each one's share of cores.

    A share is all of one core, or with a GPU of all.

    Args:
        gpus: share of a GPU that each trial gets.

    Raises:
        BadInput: there is no GPU for the trials.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits, share = slots(nodes, gpus)
    if not fits and not (address and workers):
        what = f"--gpus-per-trial {gpus:g}: no node has such a GPU" if gpus else "no node has a CPU"
        raise BadInput(
            f"{what}; {'leave it out to use CPUs' if gpus else 'add one with cores'}, "
            "or on a cluster that grows say how far: --workers N"
        )
    # A cluster can grow: to see what it should grow to, its autoscaler must be asked for it.
    return workers if workers and address else min(workers or fits, fits), share


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


def stop() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


def lost() -> str | None:
    """Which process has died of a cluster that was started here, and Ray ends without it; None: none."""
    node = ray._private.worker._global_node
    dead = [name for name, _ in node.dead_processes()] if node else []
    return dead[0] if dead else None


def host(rule: "Rule") -> Any:
    """Start a judge of this cluster's trials; its handle. It takes no core."""
    from sweep.stopping import Judge

    return ray.remote(num_cpus=0)(Judge).remote(rule)


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
