"""States of trainings that trials save for each other, and which states are still needed."""

import hashlib
import io
import math
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from sweep.store.lease import LaunchPart
from sweep.store.places import Place, is_small, put, small

# The folder of states, in that of all results.
PREFIXES = ".prefixes"
# Seconds after which the worker that was writing a temporary file counts as dead.
_ABANDONED = 3600
# Seconds between listings of the states in an object store, for which many packs may wait.
_LIST_EVERY = 1.0
# The largest file of a state, in bytes, and the bytes of one that are read at a time.
_MOST_BYTES, _CHUNK = 2**34, 2**20
# The largest file of claims, in bytes.
_MOST_CLAIMS = 2**26
# The bytes of the seal, which are the last ones of a file.
_SEAL = hashlib.sha256().digest_size
# The state of a training, and the rows recorded until then.
State = Mapping[str, Any]


class Store:
    """States of trainings by the keys of their points, for the workers of all nodes.

    A file ends in its seal: the SHA-256 of its name, which has the key and the device, and of its content.
    Torch would load a file with changed bytes, or one of somebody else. A missing, damaged or foreign state
    costs the time to train again, never a result.

    Args:
        device: kind of device that the states come from: on a GPU the last digits differ from those on a CPU.
    """

    def __init__(self, folder: Place, device: str = "cpu") -> None:
        self.folder, self.device = folder, device
        self._listed, self._names = -math.inf, set[str]()

    def path(self, key: str) -> Any:
        """The place of a key's state."""
        return self.folder / f"{key}-{self.device}.pt"

    def has(self, key: str) -> bool:
        """Whether the state of a key exists; in an object store, as of at most a second ago."""
        path = self.path(key)
        if isinstance(path, Path):
            return path.exists()
        if path.name not in self._names and time.monotonic() > self._listed + _LIST_EVERY:
            with suppress(OSError):  # callers that wait for a state ask again
                self._names = {each.name for each in self.folder.glob("*.pt")}
            self._listed = time.monotonic()
        return path.name in self._names

    def load(self, key: str) -> State | None:
        """The state of a key, its tensors on the CPU; None if there is none that `save` has written.

        A file that is not such a state makes room for one.
        """
        path, state = self.path(key), None
        try:
            if not is_small(path, _MOST_BYTES):
                return None
            with path.open("rb") as file:
                sealed = _is_sealed(file, path.name)
                state = torch.load(file, map_location="cpu", weights_only=True) if sealed else None
        except OSError:
            return None
        except Exception:  # of another version of torch, which raises many kinds
            state = None
        if not isinstance(state, dict):
            self.remove(key)
            return None
        return state

    def save(self, key: str, state: State) -> None:
        """Save a state atomically. If the disk or the store refuses, the state is not saved."""
        written, path = io.BytesIO(), self.path(key)
        torch.save(dict(state), written)
        size = written.tell()
        written.write(_seal(path.name, written, size))
        with suppress(OSError):
            put(path, lambda file: file.write(written.getbuffer()), sync=False)

    def remove(self, key: str) -> None:
        """Remove the state of a key."""
        with suppress(OSError):  # the disk or the store does not answer
            self.path(key).unlink(missing_ok=True)


def _seal(name: str, file: IO[bytes], size: int) -> bytes:
    """The seal of the first `size` bytes of a file with a name; the file is left behind these bytes."""
    digest = hashlib.sha256(name.encode() + b"\n")
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, _CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()


def _is_sealed(file: IO[bytes], name: str) -> bool:
    """Whether the last bytes of a file are the seal of the others; the file is left at its beginning."""
    size = file.seek(0, os.SEEK_END) - _SEAL
    sealed = size > 0 and _seal(name, file, size) == file.read()
    file.seek(0)
    return sealed


class Claims:
    """The states that the trials of a launch still need. A state that no launch claims is removed.

    The claims of each study, or of each part of a launch, are in a file beside the states. They remain if the
    launch dies, and its next launch takes them over.
    """

    def __init__(
        self, store: Store, study: str, points: Mapping[str, set[str]], part: LaunchPart | None = None
    ) -> None:
        """Claim the states of points.

        Args:
            points: trial_id → keys of points that the trial may continue from.
            part: of which the launch is; None: no part of the study runs, so their claims are taken over too.
        """
        folder = store.folder
        self._store, self._file = store, folder / f"{study}{part.suffix if part else ''}.needs"
        # Key → trials that still need its state.
        self._needed_by: dict[str, set[str]] = {}
        for trial, keys in points.items():
            for key in keys:
                self._needed_by.setdefault(key, set()).add(trial)
        self._points = points
        self._own = [self._file]
        with suppress(OSError):
            self._own += folder.glob(f"{study}{LaunchPart.SUFFIXES}.needs") if part is None else []
        # States claimed by an earlier launch are removed at the end of this one.
        before: set[str] = set()
        for file in self._own:
            with suppress(OSError, UnicodeDecodeError):
                before.update((small(file, _MOST_CLAIMS) or b"").decode().split())
        self.keep(key for key in before if key not in self._needed_by)

    def _write(self) -> None:
        if not self._needed_by:
            return
        with suppress(OSError):  # other studies may then remove these states, which costs time
            text = "\n".join(sorted(self._needed_by))
            put(self._file, lambda file: file.write(text.encode()), sync=False)

    def keep(self, keys: Iterable[str]) -> None:
        """Claim the states of further keys until `close`: a search chooses later which trials need them."""
        for key in keys:
            self._needed_by.setdefault(key, set()).add("")
        self._write()

    def done(self, trial: str) -> None:
        """Remove the states that only this trial needed; it has its result."""
        for key in self._points.get(trial, ()):
            self._needed_by[key].discard(trial)
            if not self._needed_by[key]:
                self._release(key)

    def close(self) -> None:
        """Drop all claims of this launch, as its trials have results, and remove states without a claim."""
        with suppress(OSError):
            for file in self._own:
                file.unlink(missing_ok=True)
            claimed = self._claimed()
            for path in self._store.folder.glob("*.pt"):
                if claimed is not None and path.name.rpartition("-")[0] not in claimed:
                    path.unlink(missing_ok=True)
            for path in self._store.folder.glob(".*") if isinstance(self._store.folder, Path) else ():
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink(missing_ok=True)
            self._store.folder.rmdir()  # fails if it is not empty

    def _claimed(self) -> set[str] | None:
        """Keys that other launches claim; None if their claims cannot be read."""
        claimed: set[str] = set()
        try:
            others: list[Any] = list(self._store.folder.glob("*.needs"))
        except OSError:
            return None
        for other in others:
            if other in self._own:
                continue
            try:
                # A file that has just been removed is of a launch that has just ended.
                claimed |= set((small(other, _MOST_CLAIMS) or b"").decode().split())
            except (OSError, UnicodeDecodeError):
                return None
        return claimed

    def _release(self, key: str) -> None:
        claimed = self._claimed()
        if claimed is not None and key not in claimed:
            self._store.remove(key)


def release(folder: Place, study: str) -> None:
    """Drop all claims of a study and of its parts, none of which runs, and remove states without a claim.

    Args:
        folder: of states.
    """
    Claims(Store(folder), study, {}).close()
