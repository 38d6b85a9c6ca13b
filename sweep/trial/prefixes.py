"""Points that several trainings pass through, and the states that trials share there."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from sweep import rules
from sweep.config import Config
from sweep.store.states import State, Store
from sweep.study.identity import PROTOCOL
from sweep.trial.running import Running
from sweep.trial.scoring import ScoreCache

# Of the states. Raise it when the same config would leave other states.
_FORMAT = 1


class Point(NamedTuple):
    """A moment that several trainings pass through.

    Attributes:
        key: 16 hex digits of the SHA-256 of all that the network depends on at this moment.
        epoch: of the dense training; None: the end of training.
        level: the last level of iterative magnitude pruning whose training has ended; 0: none yet.
    """

    key: str
    epoch: float | None
    level: int = 0

    @property
    def position(self) -> float:
        """The epoch as a number; infinite for the end of training."""
        return math.inf if self.epoch is None else self.epoch


def dense_point(config: Config, epoch: float | None) -> Point:
    """The point of a config's dense training at an epoch; None: at its end."""
    if epoch is not None and epoch == config.epochs:
        epoch = None
    return Point(_key(config.trunk, "end" if epoch is None else repr(float(epoch))), epoch)


def level_point(config: Config, level: int) -> Point:
    """The point of a config's iterative magnitude pruning after the training of a level."""
    return Point(_key(rules.find(config.criterion).levels(config), level), None, level)


def branch(config: Config) -> Point | None:
    """The last point that a config shares with dense training; None: it is sparse from the start."""
    until = rules.find(config.criterion).dense_until(config)
    return dense_point(config, None if until == math.inf else until) if until else None


def rewind_point(config: Config) -> Point | None:
    """The point to which a config's training rewinds; None: it does not rewind, or to the initial weights."""
    return dense_point(config, config.rewind_epoch) if config.rewind_epoch else None


def teacher_point(config: Config) -> Point | None:
    """The point whose network teaches a config's retraining: the end of dense training; None: none does."""
    return dense_point(config, None) if config.retrain_loss == "distill" else None


@cache
def _key(*parts: object) -> str:
    said = "@".join(str(_written(part)) for part in (PROTOCOL, _FORMAT, *parts))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _written(value: object) -> object:
    """A value with whole numbers as integers: a config that a worker reads back has 0.0 where one has 0."""
    if isinstance(value, tuple):
        return tuple(map(_written, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass
class Shared:
    """What a trial shares with others, and with a later try of itself; by default nothing.

    Attributes:
        store: of states; None: there is none.
        path: points of the trial at which the store may have a state, in their order.
        saves: points of the trial whose state it saves for others.
        scores: of the network that was scored last.
        weights: gives the trained weights of a name; None: no trial starts from such weights.
        running: what the trial leaves beside the results while it runs.
    """

    store: Store | None = None
    path: tuple[Point, ...] = ()
    saves: tuple[Point, ...] = ()
    scores: ScoreCache = field(default_factory=dict)
    weights: Callable[[str], State] | None = None
    running: Running = field(default_factory=Running)

    def load(self, point: Point) -> State | None:
        """The state at a point; None: the store has none."""
        return self.store.load(point.key) if self.store else None

    def save(self, point: Point, state: State) -> None:
        """Save the state at a point, unless another trial has done so."""
        if self.store and not self.store.has(point.key):
            self.store.save(point.key, state)
