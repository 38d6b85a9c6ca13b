"""`signed-supermask`: frozen weights are kept, turned or hidden, by trained scores. Koster et al. 2022."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import pruners
from pruners.scopes import Group
from sweep.config import Config
from sweep.rules.trained import Trained


@dataclass(frozen=True)
class Options:
    """Options of the rule.

    Attributes:
        threshold: what |score| exceeds where a weight is kept.
    """

    threshold: float = 0.01


class SignedSupermask(Trained):
    """The effective weight is w · sign(score) where |score| > threshold, else 0.

    How many weights are kept is an outcome. The sparsity of the config changes no mask: it only names the
    trial. Scores begin Xavier-uniform, and the weight decay, which is the scores', thins the masks out.
    """

    name = "signed-supermask"
    options = Options
    scoped = False

    def reads(self, config: Config) -> frozenset[str]:
        """The seed of the scores too."""
        return super().reads(config) | {"mask_seed"}

    def first_scores(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        """Uniform in ±√(6/(fan-in + fan-out))."""
        return nn.init.xavier_uniform_(torch.empty_like(weight), generator=draws)

    def masks(self, config: Config, scores: Mapping[str, Tensor], groups: Sequence[Group]) -> pruners.Masks:
        """The weights whose |score| exceeds the threshold, however many they are."""
        threshold = self.chosen(config).threshold
        return {name: score.abs() > threshold for name, score in scores.items()}

    def mapped(self, weight: Tensor, score: Tensor) -> Tensor:
        """The weights with the signs of their scores."""
        return weight * score.sign()

    def slope(self, options: Any, weight: Tensor, mask: Tensor, score: Tensor, gradient: Tensor) -> Tensor:
        """The derivative straight through sign(score): the sign of the score does not turn it."""
        return weight * gradient


SIGNED_SUPERMASK = SignedSupermask()
