"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import torch
from torch import nn

from sweep import parts


class Settings(Protocol):
    """The fields of a config that optimizers and learning-rate schedules read."""

    @property
    def lr(self) -> float:
        """The highest learning rate of the training."""
        ...

    @property
    def momentum(self) -> float:
        """Momentum of SGD."""
        ...

    @property
    def nesterov(self) -> bool:
        """Whether SGD's momentum is Nesterov's."""
        ...

    @property
    def weight_decay(self) -> float:
        """Weight decay: an L2 penalty for SGD and Adam, decoupled for AdamW."""
        ...

    @property
    def lr_drops(self) -> str:
        """Shares of the training after which the learning rate drops, rising, separated by single spaces."""
        ...

    @property
    def lr_drop_factor(self) -> float:
        """Factor by which each drop multiplies the learning rate."""
        ...


class Optimizer(NamedTuple):
    """An optimizer, and the fields of a config that no other optimizer reads.

    Attributes:
        make: parameters and settings → optimizer.
        reads: names of these fields.
    """

    make: Callable[[Iterable[nn.Parameter], Settings], torch.optim.Optimizer]
    reads: tuple[str, ...] = ()


class Schedule(NamedTuple):
    """A learning-rate schedule, and the fields of a config that no other schedule reads.

    Attributes:
        rate: share of the training done, in [0, 1), and settings → factor of the highest learning rate.
        reads: names of these fields.
    """

    rate: Callable[[float, Settings], float]
    reads: tuple[str, ...] = ()


def _sgd(parameters: Iterable[nn.Parameter], config: Settings) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _adam(parameters: Iterable[nn.Parameter], config: Settings) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def _adamw(parameters: Iterable[nn.Parameter], config: Settings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def _constant(progress: float, config: Settings) -> float:
    return 1.0


def _cosine(progress: float, config: Settings) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def _step(progress: float, config: Settings) -> float:
    """Multiplied by `lr_drop_factor` at each of `lr_drops`."""
    drops = sum(progress >= float(share) for share in config.lr_drops.split())
    return float(config.lr_drop_factor**drops)


def _one_cycle(progress: float, config: Settings) -> float:
    """Linear up to the highest learning rate over the first fifth, then linear down to 0."""
    return progress / 0.2 if progress < 0.2 else (1 - progress) / 0.8


OPTIMIZERS = {
    "sgd": Optimizer(_sgd, reads=("momentum", "nesterov")),
    "adam": Optimizer(_adam),
    "adamw": Optimizer(_adamw),
}
LR_SCHEDULES = {
    "constant": Schedule(_constant),
    "cosine": Schedule(_cosine),
    "step": Schedule(_step, reads=("lr_drops", "lr_drop_factor")),
    "one-cycle": Schedule(_one_cycle),
}


def optimizer(name: str) -> Optimizer:
    """The optimizer of a name: one of `OPTIMIZERS`, or a part."""
    return parts.entry(OPTIMIZERS, name, Optimizer)


def lr_schedule(name: str) -> Schedule:
    """The learning-rate schedule of a name: one of `LR_SCHEDULES`, or a part."""
    return parts.entry(LR_SCHEDULES, name, Schedule)
