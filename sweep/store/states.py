"""States of trainings that trials leave behind for each other, and who still needs them."""

import io
import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from sweep.store.places import Place, put

# Seconds after which a file that is still being written belongs to a worker that died.
_ABANDONED = 3600


# Seconds between looks at what states an object store has: many packs may wait for some.
_LIST_EVERY = 1.0


# A training's state and what was recorded on the way to it.
State = Mapping[str, Any]


class Store:
    """States of trainings under the keys of their points, for the workers of all nodes.

    One that is missing or damaged costs the time to train again, never a result.

    Args:
        device: of the trainings: those on a GPU give other last digits than those on a CPU.
    """

    def __init__(self, folder: Place, device: str = "cpu") -> None:
        self.folder, self.device = folder, device
        self._listed, self._names = -math.inf, set[str]()

    def path(self, key: str) -> Any:
        """Where the state of a key is."""
        return self.folder / f"{key}-{self.device}.pt"

    def has(self, key: str) -> bool:
        """Whether there is a state of a key; of an object store, as of up to a second ago."""
        path = self.path(key)
        if isinstance(path, Path):
            return path.exists()
        if path.name not in self._names and time.monotonic() > self._listed + _LIST_EVERY:
            with suppress(OSError):  # who waits for it asks again
                self._names = {each.name for each in self.folder.glob("*.pt")}
            self._listed = time.monotonic()
        return path.name in self._names

    def load(self, key: str) -> State | None:
        """The state of a key, its tensors on the CPU; None: there is none that can be read."""
        try:
            path = self.path(key)
            file = path if isinstance(path, Path) else io.BytesIO(path.read_bytes())
            state: State | None = torch.load(file, map_location="cpu", weights_only=True)
        except OSError:
            return None
        except Exception:  # whatever a damaged file makes torch say
            state = None
        if not isinstance(state, dict):
            self.remove(key)
            return None
        return state

    def save(self, key: str, state: State) -> None:
        """Leave a state; it appears under its key when it is complete. A full disk leaves none."""
        written = io.BytesIO()
        torch.save(dict(state), written)
        with suppress(OSError):
            put(self.path(key), lambda file: file.write(written.getbuffer()), sync=False)

    def remove(self, key: str) -> None:
        """Forget the state of a key."""
        with suppress(OSError):  # gone already, or its disk is
            self.path(key).unlink(missing_ok=True)


class Claims:
    """What the trials of a launch still need of the store; nobody else's needs are removed.

    A file per study says so on the disk, also after the launch has died: its next launch goes on from there.
    """

    def __init__(self, store: Store, study: str, points: Mapping[str, set[str]]) -> None:
        """Claim points.

        Args:
            points: trial_id → keys of points that the trial may go on from.
        """
        self._store, self._file = store, store.folder / f"{study}.needs"
        self._left: dict[str, set[str]] = {}
        for trial, keys in points.items():
            for key in keys:
                self._left.setdefault(key, set()).add(trial)
        self._of = points
        # What an earlier launch has left behind is removed at the end of this one.
        before: list[str] = []
        with suppress(OSError, UnicodeDecodeError):
            before = self._file.read_bytes().decode().split()
        self.keep(key for key in before if key not in self._left)

    def _note(self) -> None:
        if not self._left:
            return
        with suppress(OSError):  # then the others may remove what is needed here, which costs time
            text = "\n".join(sorted(self._left))
            put(self._file, lambda file: file.write(text.encode()), sync=False)

    def keep(self, keys: Iterable[str]) -> None:
        """Claim more, to the end: a search does not know yet who will go on from them."""
        for key in keys:
            self._left.setdefault(key, set()).add("")
        self._note()

    def done(self, trial: str) -> None:
        """A trial has its result: what it needed last of all is removed."""
        for key in self._of.get(trial, ()):
            self._left[key].discard(trial)
            if not self._left[key]:
                self._release(key)

    def close(self) -> None:
        """Every trial has a result: nothing is claimed here any more, and what nobody claims is removed."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
            claimed = self._claimed()
            for path in self._store.folder.glob("*.pt"):
                if claimed is not None and path.name.rpartition("-")[0] not in claimed:
                    path.unlink(missing_ok=True)
            for path in self._store.folder.glob(".*") if isinstance(self._store.folder, Path) else ():
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink(missing_ok=True)
            self._store.folder.rmdir()  # unless others are in it

    def _claimed(self) -> set[str] | None:
        """Keys that other studies claim; None: that cannot be read."""
        claimed: set[str] = set()
        try:
            others: list[Any] = list(self._store.folder.glob("*.needs"))
        except OSError:
            return None
        for other in others:
            try:
                claimed |= set(other.read_bytes().decode().split()) if other != self._file else set()
            except FileNotFoundError:
                continue  # its launch has just ended
            except (OSError, UnicodeDecodeError):
                return None
        return claimed

    def _release(self, key: str) -> None:
        claimed = self._claimed()
        if claimed is not None and key not in claimed:
            self._store.remove(key)
