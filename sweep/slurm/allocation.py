"""The allocation that this process runs in: its job, its nodes and its end, from SLURM's environment."""

import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from sweep.errors import BadInput
from sweep.slurm import queue

# Ports of a cluster lie from here on, by the number of the job: above those of services, and below those that
# Linux gives out by itself (from 32768 on).
_FIRST_PORT, _LAST_PORT = 12_000, 32_000
# Ports of one node; `sweep.slurm.node` says what for.
PORTS = 10


@dataclass(frozen=True)
class Node:
    """A node of the allocation.

    Attributes:
        name: as SLURM names it.
        address: under which the other nodes reach it.
        cpus: of the allocation.
        port: the first of its `PORTS` ports.
    """

    name: str
    address: str
    cpus: int
    port: int


@dataclass(frozen=True)
class Allocation:
    """One run of a job.

    Attributes:
        job: number of the job; of one in an array, numbers of the array and of the job in it: `12_3`.
        restarts: how often the job has run before.
        ends: when its time is over, in seconds since 1970; infinite if its time has no limit.
    """

    job: str
    restarts: int
    ends: float

    @classmethod
    def here(cls) -> "Allocation":
        """The allocation of this batch script.

        Raises:
            BadInput: this process runs in none.
        """
        environment = os.environ
        if "SLURM_JOB_ID" not in environment:
            raise BadInput("this is no job of SLURM: submit it with sbatch, or launch with --slurm")
        # One job of an array: the last has the number of the array itself, by which SLURM shows all of them.
        task = environment.get("SLURM_ARRAY_TASK_ID")
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{task}" if task else environment["SLURM_JOB_ID"]
        end: float | None = float("nan")
        if environment.get("SLURM_JOB_END_TIME", "").isdecimal():  # from SLURM 23.02 on
            end = float(environment["SLURM_JOB_END_TIME"])
        elif found := queue.show(job):
            end = found.ends
        restarts = environment.get("SLURM_RESTART_COUNT", "")
        return cls(job, int(restarts) if restarts.isdecimal() else 0, end if end else float("inf"))

    def left(self) -> float:
        """Seconds to its end."""
        return self.ends - time.time()


def nodes(environment: Mapping[str, str]) -> list[Node]:
    """The nodes of an allocation, that of the batch script first.

    Raises:
        BadInput: SLURM does not answer.
    """
    names = queue.hosts(environment.get("SLURM_JOB_NODELIST", ""))
    cpus = dict(zip(names, cpus_per_node(environment.get("SLURM_JOB_CPUS_PER_NODE", "")), strict=False))
    first = environment.get("SLURMD_NODENAME", "")
    names.sort(key=lambda name: name != first)
    base = _base_port(environment.get("SLURM_JOB_ID", "0"), len(names))
    return [
        Node(name, _resolved(queue.address(name)), cpus.get(name, 1), base + number * PORTS)
        for number, name in enumerate(names)
    ]


def cpus_per_node(text: str) -> list[int]:
    """The CPUs of each node from SLURM's shorthand: `2(x3),1` are 2, 2, 2 and 1."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(cpus) for cpus, times in found for _ in range(int(times or 1))]


def _resolved(host: str) -> str:
    """The IPv4 address of a host, which Ray wants; the host itself if nobody knows its address."""
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host


def _base_port(job: str, count: int) -> int:
    """The first port of a job's cluster: jobs on one node get different ports, which nobody uses here."""
    room = _LAST_PORT - _FIRST_PORT - count * PORTS
    start = int(re.sub(r"\D", "", job) or 0) * PORTS * 7 % room
    for tried in range(0, room, PORTS):
        base = _FIRST_PORT + (start + tried) % room
        if all(_is_free(port) for port in range(base, base + PORTS)):
            return base
    return _FIRST_PORT


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
