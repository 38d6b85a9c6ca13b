"""The Ray cluster that trials run on: joining or starting it, its capacity, and leaving it."""

import logging
import os
import re
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from sweep.engine import SAID, gpu_share, ray_private, scratch
from sweep.engine.provenance import cores
from sweep.errors import BadInput
from sweep.parts import Part
from sweep.study.identity import Trial

# From canonical configs, the data root and parts of one's own to the share of a GPU that each trial needs.
Measure = Callable[[Sequence[str], str, Sequence[Part]], float]

_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
# Bytes of the object store of Ray, which holds results for moments and spills to disk; by default a third of
# the memory, for each launch. Where /dev/shm is smaller, Ray takes a file in its folder.
_STORE = 2**30

# What ends after the cluster that was started on this machine.
_afterwards = ExitStack()


def check_unconnected() -> None:
    """Check that this process uses no Ray cluster yet, which might be of somebody else's work.

    Raises:
        BadInput: it does.
    """
    if ray.is_initialized():
        raise BadInput("this process is connected to Ray already: call ray.shutdown() first")


def connect(address: str | None, workers: int | None, *, gpu: bool) -> None:
    """Join a Ray cluster, or start one on this machine.

    Args:
        address: of the cluster; None: start one.
        workers: trials at once; None: as many as there is room for.
        gpu: whether trials run on GPUs.

    Raises:
        BadInput: there is no cluster at the address, or none can be started on this machine.
    """
    if address:
        _join(address)
    else:
        _start(cores() if gpu else workers or cores())
    # Results say what happened to a worker; Tune would say it over the progress.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def of_environment(address: str | None) -> bool:
    """Whether an address is that of RAY_ADDRESS, which a job of Ray has, and a profile may have."""
    return address is not None and address == os.environ.get("RAY_ADDRESS")


def _join(address: str) -> None:
    try:
        # Ray itself would try an address where nothing listens for many minutes, and end the process.
        head = address if address.startswith("ray://") else ray_private.head_of(address)
        if match := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", head):
            socket.create_connection((match[1], int(match[2])), timeout=5).close()
        ray.init(address=address, **_QUIET)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        named = "RAY_ADDRESS" if of_environment(address) else "--address"
        why = " ".join(str(error).split())
        raise BadInput(
            f"{named} {address}: no Ray cluster there ({why}); --address local runs here"
        ) from None


def _start(cpus: int) -> None:
    _see_to_token()
    # A folder for this cluster alone: /tmp/ray may be another user's.
    folder = _afterwards.enter_context(scratch.folder(ray_private.SOCKET_NAME))
    try:
        # "local", not None: None would join any cluster that happens to run on this machine.
        with scratch.owning(folder):
            ray.init(
                address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=_STORE, **_QUIET
            )
    except Exception as error:  # a path, a port, memory or time; Ray has an exception of its own for each
        _afterwards.close()
        why = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "see that the machine has memory, time and room for it"
        if SAID:
            remedy += f", unset {', '.join(SAID)}"
        raise BadInput(f"no Ray cluster starts here: {why}: {remedy} and launch again") from None


def _see_to_token() -> None:
    """Give Ray's processes a token for each other, where Ray cannot keep one in the user's home."""
    home = Path("~").expanduser()
    kept = home / ".ray"
    if not os.access(kept if kept.exists() else home, os.W_OK):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def measured(
    trials: Sequence[Trial],
    data_root: str,
    parts: Sequence[Part] = (),
    measure: Measure = gpu_share.measure,
) -> float:
    """The share of a GPU that each of these trials needs, measured on one GPU of the cluster.

    Raises:
        BadInput: the trials cannot be run on that GPU.
    """
    # In a process of its own, which gives the GPU's memory back when it ends.
    remote = ray.remote(num_gpus=1, max_calls=1)(measure)
    try:
        share: float = ray.get(
            remote.remote([trial.canonical for trial in gpu_share.kinds(trials)], data_root, parts)
        )
    except RayError as error:
        why = str(getattr(error, "cause", error)).partition("\n")[0]
        raise BadInput(f"--gpus-per-trial auto: {why}; say a share, such as 0.25") from None
    return share


def capacity(address: str | None, workers: int | None, gpus: float = 0) -> tuple[int, float]:
    """How many trials run at once, and how many cores each of them gets.

    Trials at once are limited by `workers`. On a cluster `workers` is the number itself, as the cluster may
    grow. A trial on a CPU gets one core; trials on GPUs get equal shares of all cores.

    Args:
        gpus: share of a GPU for each trial.

    Raises:
        BadInput: no node has a GPU, or a core, for a trial.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    at_once, share = slots(nodes, gpus)
    if not at_once and not (address and workers):
        lack = f"--gpus-per-trial {gpus:g}: no node has such a GPU" if gpus else "no node has a CPU"
        raise BadInput(
            f"{lack}; {'leave it out to use CPUs' if gpus else 'add one with cores'}, "
            "or on a cluster that grows say how far: --workers N"
        )
    # An autoscaler adds nodes only for trials that wait for them.
    return workers if workers and address else min(workers or at_once, at_once), share


def slots(nodes: Sequence[Mapping[str, float]], gpus: float) -> tuple[int, float]:
    """How many trials fit on nodes at once, and how many cores each can have on any of them.

    Args:
        nodes: resources of each node, as Ray names them: `CPU`, `GPU`.
        gpus: share of a GPU for each trial. A share that does not divide 1 leaves a part of each GPU unused.
    """
    if not gpus:
        return sum(int(node.get("CPU", 0)) for node in nodes), 1
    by_gpus = [
        (
            int(node["GPU"]) * int(1 / gpus + 1e-9) if gpus <= 1 else int(node["GPU"] / gpus),
            node.get("CPU", 0),
        )
        for node in nodes
        if node.get("GPU")
    ]
    # A node with fewer cores than trials that fit on its GPUs runs one trial a core.
    fits = [(min(count, int(cpus)), cpus) for count, cpus in by_gpus if count and cpus >= 1]
    if not fits:
        return 0, 1
    return sum(count for count, _ in fits), min(int(cpus / count) for count, cpus in fits)


def stop() -> None:
    """Leave the cluster; a cluster that was started on this machine ends."""
    ray.shutdown()
    _afterwards.close()


def dead_process() -> str | None:
    """The name of a dead process without which Ray ends, of a cluster started on this machine; None: none."""
    return next(iter(ray_private.dead_processes()), None)


def start_judge(judge: partial[Any]) -> Any:
    """Start a judge that all workers can ask, as an actor without a core of its own; its handle.

    Args:
        judge: the judge's class, with its arguments.
    """
    return ray.remote(num_cpus=0)(judge.func).remote(*judge.args)
