"""What trainings have in common: the moments up to which they are one."""

import hashlib
import math
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from sweep import rules
from sweep.config import Config
from sweep.store.states import State, Store
from sweep.study.identity import PROTOCOL
from sweep.trial.scoring import Memory

# Of the states: raise it when others would be left behind for the same config.
_FORMAT = 1


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
    return Point(_key(rules.find(config.criterion).levels(config), level), None, level)


def branch(config: Config) -> Point | None:
    """The last point that a config shares with dense training; None: it is sparse from the start."""
    until = rules.find(config.criterion).dense_until(config)
    return dense_point(config, None if until == math.inf else until) if until else None


def rewound(config: Config) -> Point | None:
    """What the config's training goes back to; None: nothing, or the very beginning."""
    return dense_point(config, config.rewind_epoch) if config.rewind_epoch else None


@cache
def _key(*parts: object) -> str:
    return hashlib.sha256("@".join(map(str, (PROTOCOL, _FORMAT, *parts))).encode()).hexdigest()[:16]


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
