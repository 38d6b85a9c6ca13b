"""States of trainings that trials save for each other, and which states are still needed."""

import io
import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from sweep.store.places import Place, put

# The folder of states, in that of all results.
PREFIXES = ".prefixes"
# Seconds after which the worker that was writing a temporary file counts as dead.
_ABANDONED = 3600
# Seconds between listings of the states in an object store, for which many packs may wait.
_LIST_EVERY = 1.0
# The state of a training, and the rows recorded until then.
State = Mapping[str, Any]


class Store:
    """States of trainings by the keys of their points, for the workers of all nodes.

    A missing or damaged state costs the time to train again, never a result.

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
        """The state of a key, its tensors on the CPU; None if there is none or it cannot be read."""
        try:
            with self.path(key).open("rb") as file:
                state: State | None = torch.load(file, map_location="cpu", weights_only=True)
        except OSError:
            return None
        except Exception:  # torch raises many kinds for a damaged file
            state = None
        if not isinstance(state, dict):
            self.remove(key)
            return None
        return state

    def save(self, key: str, state: State) -> None:
        """Save a state atomically. If the disk or the store refuses, the state is not saved."""
        written = io.BytesIO()
        torch.save(dict(state), written)
        with suppress(OSError):
            put(self.path(key), lambda file: file.write(written.getbuffer()), sync=False)

    def remove(self, key: str) -> None:
        """Remove the state of a key."""
        with suppress(OSError):  # the disk or the store does not answer
            self.path(key).unlink(missing_ok=True)


class Claims:
    """The states that the trials of a launch still need. A state that no study claims is removed.

    The claims of each study are in a file beside the states. They remain if the launch dies, and its next
    launch takes them over.
    """

    def __init__(self, store: Store, study: str, points: Mapping[str, set[str]]) -> None:
        """Claim the states of points.

        Args:
            points: trial_id → keys of points that the trial may continue from.
        """
        self._store, self._file = store, store.folder / f"{study}.needs"
        # Key → trials that still need its state.
        self._needed_by: dict[str, set[str]] = {}
        for trial, keys in points.items():
            for key in keys:
                self._needed_by.setdefault(key, set()).add(trial)
        self._points = points
        # States claimed by an earlier launch are removed at the end of this one.
        before: list[str] = []
        with suppress(OSError, UnicodeDecodeError):
            before = self._file.read_bytes().decode().split()
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
        """Drop all claims of this study, as every trial has its result, and remove states without a claim."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
            claimed = self._claimed()
            for path in self._store.folder.glob("*.pt"):
                if claimed is not None and path.name.rpartition("-")[0] not in claimed:
                    path.unlink(missing_ok=True)
            for path in self._store.folder.glob(".*") if isinstance(self._store.folder, Path) else ():
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink(missing_ok=True)
            self._store.folder.rmdir()  # fails if it is not empty

    def _claimed(self) -> set[str] | None:
        """Keys that other studies claim; None if their claims cannot be read."""
        claimed: set[str] = set()
        try:
            others: list[Any] = list(self._store.folder.glob("*.needs"))
        except OSError:
            return None
        for other in others:
            try:
                claimed |= set(other.read_bytes().decode().split()) if other != self._file else set()
            except FileNotFoundError:
                continue  # the launch of that study has just ended
            except (OSError, UnicodeDecodeError):
                return None
        return claimed

    def _release(self, key: str) -> None:
        claimed = self._claimed()
        if claimed is not None and key not in claimed:
            self._store.remove(key)
