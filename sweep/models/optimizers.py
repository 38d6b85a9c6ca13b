"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

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


OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], Settings], torch.optim.Optimizer]] = {
    "sgd": lambda parameters, config: torch.optim.SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    ),
    "adam": lambda parameters, config: torch.optim.Adam(
        parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True
    ),
    "adamw": lambda parameters, config: torch.optim.AdamW(
        parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True
    ),
}


def _step(progress: float, config: Settings) -> float:
    drops = sum(progress >= float(share) for share in config.lr_drops.split())
    return float(config.lr_drop_factor**drops)


def _one_cycle(progress: float, config: Settings) -> float:
    return progress / 0.2 if progress < 0.2 else (1 - progress) / 0.8


LR_SCHEDULES: dict[str, Callable[[float, Settings], float]] = {
    # share of the training done, in [0, 1)  ->  share of the learning rate
    "constant": lambda progress, config: 1.0,
    "cosine": lambda progress, config: (1 + math.cos(math.pi * progress)) / 2,
    # Times `lr_drop_factor` at each of `lr_drops`.
    "step": _step,
    # Up to the learning rate over the first fifth, and down to 0, both straight.
    "one-cycle": _one_cycle,
}
