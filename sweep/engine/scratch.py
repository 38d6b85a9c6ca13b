"""Scratch folders of launches, for the files of Ray and Tune, and the end of what a dead launch has left.

A launch keeps its folders locked while it lives. A folder that is not locked is of a dead launch: the next
launch of its user ends the processes that are left of that launch and removes the folder.
"""

import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweep.errors import BadInput

_BEGINS = "secateur_"  # the name of a folder, before eight letters by chance
# Where Ray puts its files. The environment of each of Ray's processes has it, and so tells whose they are.
RAY = "RAY_TMPDIR"
_LONGEST = 107  # bytes of a socket's name (sun_path of Linux)
_PATIENCE = 5.0  # seconds that killed processes may take to end

_STARTING = 1.0  # seconds that a program may take to have its environment

# Folders of this process.
_ours: set[Path] = set()


@contextmanager
def folder(room: int = 0) -> Iterator[Path]:
    """A new folder, in RAY_TMPDIR or else in the folder for temporary files or /tmp.

    Args:
        room: bytes that names of sockets have beyond the folder's; 0: the folder is for no sockets.

    Raises:
        BadInput: there is no place for it.
    """
    made, lock = _make(room)
    _ours.add(made)
    try:
        yield made
    finally:
        # Where the interpreter ends first, as by a signal, the next launch removes it.
        if not sys.is_finalizing():
            _ours.discard(made)
            _remove(made)
            os.close(lock)


@contextmanager
def owning(folder: Path) -> Iterator[None]:
    """Processes that are started meanwhile belong to a folder, and Ray's files are there."""
    before = os.environ.get(RAY)
    os.environ[RAY] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(RAY)
        if before is not None:
            os.environ[RAY] = before


def remove_all() -> None:
    """End the processes of this launch's folders and remove the folders, before this process ends at once."""
    while _ours:
        _remove(_ours.pop())


def _make(room: int) -> tuple[Path, int]:
    """A new folder, and the descriptor that keeps it locked."""
    unable = []
    for place in _places():
        _clear(place)
        most = _LONGEST - room - len(f"/{_BEGINS}12345678")
        if room and len(os.fsencode(place)) > most:
            unable.append(f"{place} is too long for the names of sockets")
            continue
        try:
            return _made(place)
        except OSError as error:
            unable.append(f"{place}: {error.strerror}")
    raise BadInput(
        f"no folder for Ray's files: {', '.join(unable)}: set {RAY} to a folder of yours with a short name"
    )


def _places() -> list[Path]:
    """Where scratch folders may be, the best first."""
    if chosen := os.environ.get(RAY):
        return [Path(chosen).absolute()]
    places = [Path("/tmp")]
    with suppress(FileNotFoundError):
        usual = Path(tempfile.gettempdir()).absolute()
        places = [usual, *(place for place in places if place != usual)]
    return places


def _made(place: Path) -> tuple[Path, int]:
    while True:
        made = Path(tempfile.mkdtemp(prefix=_BEGINS, dir=place))
        # Another launch that clears up may come between: it takes the folder for one of a dead launch.
        with suppress(BlockingIOError, FileNotFoundError):
            lock = _locked(made)
            if made.exists():
                return made, lock
            os.close(lock)


def _locked(folder: Path) -> int:
    """Lock a folder of this user; the descriptor that keeps it locked.

    Raises:
        OSError: it is locked, a link, or of another user, or it cannot be locked where it is.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.getuid():
            raise PermissionError(f"{folder} is of another user")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _clear(place: Path) -> None:
    """Remove what this user's dead launches have left in a place."""
    for old in place.glob(f"{_BEGINS}*"):
        with suppress(OSError):
            lock = _locked(old)
            _remove(old)
            os.close(lock)


def _remove(folder: Path) -> None:
    """End the processes of a folder, and remove it."""
    deadline = time.monotonic() + _PATIENCE
    while (left := _processes(folder)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: Path) -> list[int]:
    """This user's processes whose environment names a folder; where there is no /proc, none is found."""
    found: list[int] = []
    named = os.fsencode(f"{RAY}={folder}")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ours = process.stat().st_uid == os.getuid() and int(process.name) != os.getpid()
            if ours and named in _environment(process).split(b"\0"):
                found.append(int(process.name))
    return found


def _environment(process: Path) -> bytes:
    """The environment of a process.

    A program that is being started (execve) has neither environment nor arguments for an instant, which under
    load is long enough for a process of Ray to be overlooked.

    Raises:
        OSError: the process has ended, or is one of the kernel.
    """
    deadline = time.monotonic() + _STARTING
    while not (environment := (process / "environ").read_bytes()):
        (process / "exe").readlink()
        if (process / "cmdline").read_bytes() or time.monotonic() > deadline:
            return (process / "environ").read_bytes()  # which comes after the arguments
        time.sleep(0.002)
    return environment
