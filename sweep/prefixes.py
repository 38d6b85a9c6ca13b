"""What trainings have in common: the moments up to which they are one, and a store to go on from there."""

import hashlib
import io
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sweep.config import ALONG, DENSE, PROTOCOL, Config
from sweep.masking import Memory

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


def dense_point(config: Config, epoch: float | None) -> Point:
    """The config's dense training at an epoch, or at its end."""
    if epoch is not None and epoch == config.epochs:
        epoch = None
    return Point(_key(config.trunk, "end" if epoch is None else f"{epoch:g}"), epoch)


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
    return hashlib.sha256("@".join(map(str, (PROTOCOL, *parts))).encode()).hexdigest()[:16]


class Store:
    """States of trainings under the keys of their points, for the workers of all nodes.

    One that is missing or damaged costs the time to train again, never a result.

    Args:
        device: of the trainings: those on a GPU give other last digits than those on a CPU.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.folder, self.device = folder, device

    def path(self, key: str) -> Path:
        """Where the state of a key is."""
        return self.folder / f"{key}-{self.device}.pt"

    def has(self, key: str) -> bool:
        """Whether there is a state of a key."""
        return self.path(key).exists()

    def load(self, key: str, device: torch.device) -> State | None:
        """The state of a key, its tensors on the device; None: there is none that can be read."""
        try:
            state: State = torch.load(self.path(key), map_location=device, weights_only=True)
        except OSError:
            return None
        except Exception:  # whatever a damaged file makes torch say
            self.remove(key)
            return None
        return state

    def save(self, key: str, state: State) -> None:
        """Leave a state; it appears under its key when it is complete. A full disk leaves none."""
        written = io.BytesIO()
        torch.save(dict(state), written)
        temporary = self.folder / f".{uuid.uuid4().hex}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(written.getbuffer())
            temporary.replace(self.path(key))
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

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

    def load(self, point: Point, device: torch.device) -> State | None:
        """The state at a point, if it is there."""
        return self.store.load(point.key, device) if self.store else None

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
        before = self._file.read_text().split() if self._file.exists() else ()
        self.keep(key for key in before if key not in self._left)

    def _note(self) -> None:
        if self._left:
            self._store.folder.mkdir(parents=True, exist_ok=True)
            self._file.write_text("\n".join(sorted(self._left)))

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
        """Every trial has a result: nothing is claimed any more."""
        for key in self._left:
            self._release(key)
        self._file.unlink(missing_ok=True)
        with suppress(OSError):  # others are in it, or it never was
            self._store.folder.rmdir()

    def _release(self, key: str) -> None:
        for other in self._store.folder.glob("*.needs"):
            if other != self._file and key in other.read_text().split():
                return
        self._store.remove(key)
