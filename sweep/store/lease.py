"""A lock for a study in an object store, where files cannot be locked: one launch writes at a time.

Each launch writes a lock object of its own and rewrites it every few seconds (the heartbeat). A launch that
finds the live lock of another stops. This needs only listings consistent with earlier writes. Two launches at
once would repeat work but lose no result. So a launch goes on if its lock object is lost, for instance
because the store was unreachable for a long time.
"""

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from sweep.errors import BadInput
from sweep.store.places import Remote, small

# Seconds between heartbeats, and seconds without one after which a launch on another machine counts as dead.
BEAT, DEAD = 5.0, 20.0
# Bytes of the largest object that can be a launch's lock.
_LARGEST = 10_000


@contextmanager
def hold(folder: Remote) -> Iterator[None]:
    """Hold a study's results for writing.

    A dead lock from this machine is detected at once; from another, after 20 seconds without a heartbeat.

    Raises:
        BadInput: another launch holds them.
        StoreError: the store does not answer.
    """
    own = folder / f".lock-{uuid.uuid4().hex}"
    brief = replace(own, patience=0.0)
    stop = threading.Event()
    process = {"pid": os.getpid(), "node": os.uname().nodename, "process": _process(os.getpid())}

    def beat() -> None:
        number = 0
        while not stop.wait(BEAT):
            number += 1
            with suppress(OSError):
                brief.write_bytes(json.dumps({**process, "beat": number}).encode())

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    own.write_bytes(json.dumps(process).encode())
    try:
        # The heartbeat starts first: other launches see this one as alive while it checks their locks.
        thread.start()
        for other in folder.glob(".lock-*"):
            if other != own:
                _remove_if_dead(folder, other)
        yield
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()
        with suppress(OSError):
            brief.unlink(missing_ok=True)


def _remove_if_dead(folder: Remote, other: Remote) -> None:
    """Remove the lock of a launch that is dead; raise `BadInput` if the launch is alive."""
    with suppress(FileNotFoundError):  # the launch has just ended
        first = small(other, _LARGEST)
        launch = _parse(first)
        if first is None or launch is None:
            print(f"{other}: not a launch's lock: left aside", file=sys.stderr)
            return
        pid, node, process = launch
        same_machine = process.rpartition("/")[0] == _process(os.getpid()).rpartition("/")[0]
        if _process(pid) == process if same_machine else _has_heartbeat(other, first):
            who = f"process {pid} on {node}"
            raise BadInput(f"{folder} is being written by {who}: wait for it, or stop it first")
        other.unlink(missing_ok=True)


def _parse(content: bytes | None) -> tuple[int, str, str] | None:
    """The process number, the node and the process in a lock; None if no launch wrote the content."""
    try:
        lock = json.loads(content or "")
        pid, node, process = lock["pid"], lock["node"], lock["process"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    valid = type(pid) is int and isinstance(node, str) and isinstance(process, str)
    return (pid, node, process) if valid else None


def _has_heartbeat(other: Remote, first: bytes) -> bool:
    """Whether the content of a lock changes within the time in which a live launch rewrites it."""
    deadline = time.monotonic() + DEAD
    while time.monotonic() < deadline:
        time.sleep(1)
        if other.read_bytes() != first:
            return True
    return False


def _process(pid: int) -> str:
    """A name that no other process ever has: BOOT/CONTAINER/NUMBER@START; START is `gone` if it is dead.

    BOOT identifies the machine since it was last started; START is when the process began.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()
    container = Path("/proc/self/ns/pid").readlink()
    try:
        # The fields after the name, which may have any bytes; the 20th of them is the start.
        start = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    except OSError:
        start = "gone"
    return f"{boot}/{container}/{pid}@{start}"
