"""The Ray cluster that trials run on: joined or started, how much room it has, and how it ends."""

import logging
import re
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ray
from ray._private.services import canonicalize_bootstrap_address
from ray.exceptions import RayError

from sweep.engine import gpu_share
from sweep.engine.provenance import cores
from sweep.errors import BadInput
from sweep.study.identity import Trial

# From canonical configs and the data root to the share of a GPU that each trial needs.
Measure = Callable[[Sequence[str], str], float]


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


def measured(trials: Sequence[Trial], data_root: str, measure: Measure = gpu_share.measure) -> float:
    """The share of a GPU that each of these trials needs, measured on one of the cluster.

    Raises:
        BadInput: they cannot be run there.
    """
    apart = ray.remote(num_gpus=1, max_calls=1)(measure)  # its process ends, and its memory with it
    try:
        share: float = ray.get(
            apart.remote([trial.canonical for trial in gpu_share.kinds(trials)], data_root)
        )
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


def host(judge: partial[Any]) -> Any:
    """Start a judge that all workers of the cluster can ask; its handle. The judge takes no core.

    Args:
        judge: its class, with what it is made from.
    """
    return ray.remote(num_cpus=0)(judge.func).remote(*judge.args)
