"""One launch of a study at a time on an object store, which has no locks: an object that is kept fresh.

Each launch has an object of its own, and whoever finds another's there that is alive gives way: that takes no
more of a store than that a list shows what was written before. Two launches at once would cost work done
twice, never a result, so one whose object was lost, as by a store that was away for long, goes on.
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

# Seconds between signs of life, and after which without one a launch elsewhere counts as dead.
BEAT, DEAD = 5.0, 20.0
# Bytes beyond which an object is no lock of a launch.
_LARGEST = 10_000


@contextmanager
def hold(folder: Remote) -> Iterator[None]:
    """Hold a study's results for writing.

    What a launch of this machine that was killed has left is seen at once to be so; of another machine, after
    20 seconds.

    Raises:
        BadInput: another launch holds them, or the store does not answer.
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
        # While it looks at what others have left it shows that it lives itself.
        thread.start()
        for other in folder.glob(".lock-*"):
            if other != own:
                _give_way(folder, other)
        yield
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()
        with suppress(OSError):
            brief.unlink(missing_ok=True)


def _give_way(folder: Remote, other: Remote) -> None:
    """Remove what a dead launch has left; raise `BadInput` if it lives."""
    with suppress(FileNotFoundError):  # it has just ended
        first = small(other, _LARGEST)
        found = _launch(first)
        if first is None or found is None:
            print(f"{other}: not a launch's lock: left aside", file=sys.stderr)
            return
        pid, node, process = found
        here = process.rpartition("/")[0] == _process(os.getpid()).rpartition("/")[0]
        if _process(pid) == process if here else _changes(other, first):
            who = f"process {pid} on {node}"
            raise BadInput(f"{folder} is being written by {who}: wait for it, or stop it first")
        other.unlink(missing_ok=True)


def _launch(content: bytes | None) -> tuple[int, str, str] | None:
    """The process, node and start of a launch, as it has written them; None of what no launch has written."""
    try:
        found = json.loads(content or "")
        pid, node, process = found["pid"], found["node"], found["process"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    known = type(pid) is int and isinstance(node, str) and isinstance(process, str)
    return (pid, node, process) if known else None


def _changes(other: Remote, first: bytes) -> bool:
    """Whether there is a sign of life, within as long as there must be one."""
    deadline = time.monotonic() + DEAD
    while time.monotonic() < deadline:
        time.sleep(1)
        if other.read_bytes() != first:
            return True
    return False


def _process(pid: int) -> str:
    """This start of this machine / the process's container / its number and when it began, if it lives."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()
    container = Path("/proc/self/ns/pid").readlink()
    try:
        # After the name, which may have any bytes; the 20th field of those that follow is its start.
        began = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    except OSError:
        began = "gone"
    return f"{boot}/{container}/{pid}@{began}"
