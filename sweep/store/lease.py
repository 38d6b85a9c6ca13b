"""Leases: small files or objects beside the results of a study that say who writes these.

Each launch writes a lease of its own and rewrites it every few seconds (the heartbeat). A launch that finds
the live lease of another one stops, unless both are parts of the same launch. This needs only listings
consistent with earlier writes: it works in object stores, and on network drives on which a machine does not
see the locks of others. Two launches at once would repeat work but lose no result. So a launch goes on if its
lease is lost, for instance because the store was unreachable for a long time.
"""

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from sweep.errors import BadInput
from sweep.store.places import Place, Remote, put, small

# Seconds between heartbeats, and seconds without one after which a launch on another machine counts as dead.
BEAT, DEAD = 5.0, 20.0
# Bytes of the largest file that can be a launch's lease.
_LARGEST = 10_000
_NAMES = ".lock-*"


@dataclass(frozen=True)
class LaunchPart:
    """One of the parts of a launch. They run at once, each with trials of its own.

    Attributes:
        number: of the part; the first is 1.
        of: how many parts there are.
        division: hex digits that say which trials each part has. Parts of two divisions may have trials in
            common.
    """

    number: int
    of: int
    division: str = ""

    # What matches the suffix of any part.
    SUFFIXES: ClassVar[str] = ".part-*-of-*"

    def __str__(self) -> str:
        return f"part {self.number}/{self.of}"

    @property
    def suffix(self) -> str:
        """What tells the files of a part from those of others."""
        return f".part-{self.number}-of-{self.of}"

    def may_run_beside(self, other: "LaunchPart") -> bool:
        """Whether the two have no trial in common."""
        return self.number != other.number and self == replace(other, number=self.number)


class Busy(BadInput):
    """Another launch writes the results.

    Attributes:
        brief: for seconds only: it merges what parts have written, or it may itself have to stop.
    """

    def __init__(self, folder: Place, who: str, *, brief: bool) -> None:
        super().__init__(f"{folder} is being written by {who}: wait for it, or stop it first")
        self.brief = brief


class _Holder(NamedTuple):
    """The launch that a lease is of."""

    pid: int
    node: str
    process: str
    part: LaunchPart | None
    brief: bool

    def __str__(self) -> str:
        process = f"process {self.pid} on {self.node}"
        return f"{self.part} of a launch, {process}" if self.part else process

    @property
    def is_of_this_machine(self) -> bool:
        """Whether this process would see the launch among the processes of its machine."""
        return self.process.rpartition("/")[0] == _process(os.getpid()).rpartition("/")[0]

    @property
    def lives(self) -> bool:
        """Whether a launch of this machine lives."""
        return _process(self.pid) == self.process


@contextmanager
def hold(folder: Place, part: LaunchPart | None = None, *, merges: bool = False) -> Iterator[None]:
    """Hold a study's results for writing.

    A dead launch of this machine is detected at once; one of another, after 20 seconds without a heartbeat.

    Args:
        part: as which results are written, beside the other parts; None: by this launch alone.
        merges: what the parts have written is merged, and nothing is run.

    Raises:
        Busy: another launch holds them.
        OSError: the store does not answer, or the folder cannot be written.
    """
    own = folder / f".lock-{uuid.uuid4().hex}"
    brief = replace(own, patience=0.0) if isinstance(own, Remote) else own
    stop = threading.Event()
    holder: dict[str, Any] = {
        "pid": os.getpid(),
        "node": os.uname().nodename,
        "process": _process(os.getpid()),
    }
    holder |= {"part": astuple(part) if part else None, "brief": True}

    def write(place: Place, **beat: int) -> None:
        put(place, lambda file: file.write(json.dumps({**holder, **beat}).encode()), sync=False)

    def beat() -> None:
        number = 0
        while not stop.wait(BEAT):
            number += 1
            with suppress(OSError):
                write(brief, beat=number)

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    write(own)
    try:
        # The heartbeat starts first: other launches see this one as alive while it checks their leases.
        thread.start()
        give_way(folder, part, own)
        if not merges:
            holder["brief"] = False
            write(own)
        yield
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()
        with suppress(OSError):
            brief.unlink(missing_ok=True)


def give_way(folder: Place, part: LaunchPart | None, own: Place | None = None) -> None:
    """Remove the leases of dead launches that would be in the way of this one.

    Args:
        part: as which this launch writes.
        own: its own lease.

    Raises:
        Busy: a launch in the way is alive.
    """
    # The leases of other machines are looked at again until their time is over, all of them together.
    watched: dict[Place, tuple[bytes, _Holder]] = {}
    for lease in folder.glob(_NAMES):
        if lease == own:
            continue
        content = small(lease, _LARGEST)
        holder = _parse(content)
        if holder is None or content is None:
            if lease.exists():  # else its launch has just ended
                print(f"{lease}: not a launch's lock: left aside", file=sys.stderr)
        elif part and holder.part and part.may_run_beside(holder.part):
            continue
        elif not holder.is_of_this_machine:
            watched[lease] = content, holder
        elif holder.lives:
            raise Busy(folder, str(holder), brief=holder.brief)
        else:
            lease.unlink(missing_ok=True)
    _watch(folder, watched)


def _watch(folder: Place, watched: Mapping[Place, tuple[bytes, _Holder]]) -> None:
    """Remove leases that do not change in the time in which a live launch rewrites its own.

    Raises:
        Busy: one changes.
    """
    deadline, silent = time.monotonic() + DEAD, dict(watched)
    while silent and time.monotonic() < deadline:
        time.sleep(1)
        for lease, (first, holder) in watched.items():
            content = small(lease, _LARGEST) if lease in silent else first
            if content is None:  # the launch has just ended
                del silent[lease]
            elif content != first:
                raise Busy(folder, str(holder), brief=holder.brief)
    for lease in silent:
        lease.unlink(missing_ok=True)


def _parse(content: bytes | None) -> _Holder | None:
    """The launch of a lease; None if no launch wrote the content."""
    try:
        lease = json.loads(content or "")
        pid, node, process = lease["pid"], lease["node"], lease["process"]
        part, brief = _part(lease.get("part")), lease.get("brief", False)
    except (AttributeError, ValueError, LookupError, TypeError, RecursionError):
        return None
    valid = type(pid) is int and isinstance(node, str) and isinstance(process, str)
    return _Holder(pid, node, process, part, brief is True) if valid else None


def _part(written: Any) -> LaunchPart | None:
    """The part in a lease; an early lease has none.

    Raises:
        ValueError, TypeError: it is no part.
    """
    if written is None:
        return None
    number, of, division = written
    return LaunchPart(int(number), int(of), str(division))


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
