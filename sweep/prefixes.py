"""What trainings have in common: the moments up to which they are one, and a store to go on from there."""

import hashlib
import io
import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sweep.masking import Memory
from sweep.store.places import Place, put
from sweep.study.config import ALONG, DENSE, Config
from sweep.study.identity import PROTOCOL

# Of the states: raise it when others would be left behind for the same config.
_FORMAT = 1
# Seconds after which a file that is still being written belongs to a worker that died.
_ABANDONED = 3600
# Seconds between looks at what states an object store has: many packs may wait for some.
_LIST_EVERY = 1.0
# A training's state and what was recorded on the way to it.
State = Mapping[str, Any]


class Point(NamedTuple):
    """A moment that several trainings pass through.

    Attributes:
        key: 16 hex digits of the SHA-256 of all that the network depends on at this moment.
        epoch: of the dense training; None: its end.
        level: of iterative magnitude pruning, the training after which has just ended; 0: none yet.
    """

    key: str
    epoch: float | None
    level: int = 0

    @property
    def position(self) -> float:
        """The epoch, as a number to compare."""
        return math.inf if self.epoch is None else self.epoch


def dense_point(config: Config, epoch: float | None) -> Point:
    """The config's dense training at an epoch, or at its end."""
    if epoch is not None and epoch == config.epochs:
        epoch = None
    return Point(_key(config.trunk, "end" if epoch is None else repr(float(epoch))), epoch)


def level_point(config: Config, level: int) -> Point:
    """The config's iterative magnitude pruning after the training that follows a level."""
    return Point(_key(config.chain, level), None, level)


def branch(config: Config) -> Point | None:
    """Where the config's training leaves the dense one; None: at once, or it is never dense for good."""
    if config.criterion in ("imp", DENSE):
        return dense_point(config, None)
    if config.criterion in ALONG or not config.prune_epoch:
        return None
    return dense_point(config, config.prune_epoch)


def rewound(config: Config) -> Point | None:
    """What the config's training goes back to; None: nothing, or the very beginning."""
    return dense_point(config, config.rewind_epoch) if config.rewind_epoch else None


@cache
def _key(*parts: object) -> str:
    return hashlib.sha256("@".join(map(str, (PROTOCOL, _FORMAT, *parts))).encode()).hexdigest()[:16]


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


@dataclass
class Shared:
    """What a trial takes over from others, and what it leaves behind for them; by default nothing.

    Attributes:
        path: points on its way at which there may be a state, in their order.
        saves: points on its way whose state it leaves behind.
        scores: of the network that was scored last.
    """

    store: Store | None = None
    path: tuple[Point, ...] = ()
    saves: tuple[Point, ...] = ()
    scores: Memory = field(default_factory=dict)

    def load(self, point: Point) -> State | None:
        """The state at a point, if it is there."""
        return self.store.load(point.key) if self.store else None

    def save(self, point: Point, state: State) -> None:
        """Leave a state behind, unless another trial has done so."""
        if self.store and not self.store.has(point.key):
            self.store.save(point.key, state)


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
