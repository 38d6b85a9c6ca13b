"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import torch
from torch import nn


class Settings(Protocol):
    """What optimizers and learning-rate schedules read of a config."""

    @property
    def lr(self) -> float:
        """The learning rate at its highest."""
        ...

    @property
    def momentum(self) -> float:
        """Of SGD."""
        ...

    @property
    def nesterov(self) -> bool:
        """Whether SGD's momentum is Nesterov's."""
        ...

    @property
    def weight_decay(self) -> float:
        """L2 for SGD and Adam, decoupled for AdamW."""
        ...

    @property
    def lr_drops(self) -> str:
        """Rising shares of the training, one space between them."""
        ...

    @property
    def lr_drop_factor(self) -> float:
        """What each drop multiplies the learning rate by."""
        ...


class Optimizer(NamedTuple):
    """How an optimizer is made, and the fields of the config that it alone reads."""

    make: Callable[[Iterable[nn.Parameter], Settings], torch.optim.Optimizer]
    reads: tuple[str, ...] = ()


class Schedule(NamedTuple):
    """How the learning rate changes, and the fields of the config that this schedule alone reads.

    Attributes:
        rate: from the share of the training that is done, in [0, 1), to the share of the learning rate.
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
    """Times `lr_drop_factor` at each of `lr_drops`."""
    drops = sum(progress >= float(share) for share in config.lr_drops.split())
    return float(config.lr_drop_factor**drops)


def _one_cycle(progress: float, config: Settings) -> float:
    """Up to the learning rate over the first fifth, and down to 0, both straight."""
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
