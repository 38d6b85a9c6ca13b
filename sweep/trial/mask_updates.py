"""Masks that change along training: gradual magnitude pruning, and dynamic sparse training."""

import math
from collections.abc import Callable
from fractions import Fraction
from math import floor

import torch
from torch import Tensor

import pruners
from sweep.errors import BadInput
from sweep.seeds import derive
from sweep.study.config import Config
from sweep.trial.masking import Masks, left_out, whole
from sweep.trial.training import Training


def prunes(config: Config) -> bool:
    """Whether masks get sparser along training; else they are sparse from the start and only move."""
    return config.criterion in ("gmp", "granet")


def last_update(config: Config, first: int, end: int) -> int:
    """The last step that is a whole number of intervals after the first, within the part with updates.

    Args:
        first: step from which on there are updates.
        end: last step of training.

    Raises:
        BadInput: there is none.
    """
    last = min(config.update_end * end, end - 1)
    rounds = floor((last - first) / config.update_every)
    if rounds < 1:
        raise BadInput(
            f"update_every {config.update_every}: {config.criterion} has only "
            f"{max(0, floor(last - first))} of {end} steps for updates; take fewer"
        )
    return first + rounds * config.update_every


class Updates:
    """Changes a training's masks every `update_every` steps until `update_end` of the training.

    - `gmp`: from dense, by magnitude, on the cubic schedule from `prune_epoch` on (Zhu & Gupta 2017).
    - `set`, `rigl`: sparse from the start at random; each layer drops its smallest weights and grows as many,
      at random (SET of Mocanu et al. 2018, in the variant of Evci et al.) or where the gradient is largest
      (Evci et al. 2020). The share dropped falls from `drop_fraction` to 0 by a cosine. A step that changes
      masks trains nothing.
    - `granet`: `gmp`, and after each pruning drops and grows as RigL does (Liu et al. 2021).

    Grown weights start at 0. The last update of `gmp` and `granet` is at the planned density exactly.
    """

    def __init__(self, config: Config, training: Training) -> None:
        self.config, self.training = config, training
        self._exclude = left_out(config, training.model)
        self._first = training.steps_of(config.prune_epoch) if self._prunes else 0
        self._last = last_update(config, self._first, training.end)
        if self._prunes:
            self.masks = whole(config, training.model)
        else:
            self.masks = self._pruned("random", config.sparsity)
        training.mask(self.masks)

    @property
    def _prunes(self) -> bool:
        return prunes(self.config)

    def _pruned(self, criterion: str, sparsity: float | Fraction) -> Masks:
        return pruners.prune(
            criterion,
            self.training.model,
            sparsity=sparsity,
            scope=self.config.scope,
            seed=derive(self.config.roots.mask, "mask"),
            exclude=self._exclude,
            min_per_layer=self.config.min_per_layer,
        )

    def between(self, step: int) -> bool:
        """With the gradients of a step at hand: change the masks if it is time. True if that is the step."""
        if not self._first < step <= self._last or (step - self._first) % self.config.update_every:
            return False
        if self._prunes:
            self.masks = self._pruned("magnitude", self._sparsity(step))
        if self.config.criterion != "gmp" and step < self._last:
            # Through the masks without what is dropped: what grows has no weight and no momentum, even if it
            # was only just dropped.
            self.training.mask(self._regrow(step))
        self.training.mask(self.masks)
        return not self._prunes and step < self._last

    def _sparsity(self, step: int) -> Fraction:
        done = Fraction(step - self._first, self._last - self._first)
        return Fraction(str(self.config.sparsity)) * (1 - (1 - done) ** 3)

    @torch.no_grad()
    def _regrow(self, step: int) -> Masks:
        """Drop and grow in each layer; the masks of what was neither."""
        stays: Masks = {}
        share = self.config.drop_fraction * (1 + math.cos(math.pi * step / self._last)) / 2
        draws = torch.Generator().manual_seed(derive(self.config.roots.mask, "grow", step))
        for name, weight in pruners.prunable(self.training.model, self._exclude).items():
            mask = self.masks[name]
            kept = int(mask.count_nonzero())
            moved = min(int(share * kept), mask.numel() - kept)
            stay = _top(weight.abs().masked_fill(~mask, -1), kept - moved)
            score = _GROWTH[self.config.criterion](weight, draws)
            # Just dropped weights may come back (RigL), as any other that is not there.
            grown = _top(score.masked_fill(stay, -torch.inf), moved)
            self.masks[name], stays[name] = stay | grown, stay
        return stays


def _top(scores: Tensor, count: int) -> Tensor:
    return pruners.keep_top(scores.flatten(), count).view(scores.shape)


def _by_gradient(weight: Tensor, draws: torch.Generator) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad.abs()


def _at_random(weight: Tensor, draws: torch.Generator) -> Tensor:
    return torch.rand(weight.shape, generator=draws).to(weight.device)


_GROWTH: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "rigl": _by_gradient,
    "granet": _by_gradient,
    "set": _at_random,
}
