"""`bip`: bi-level pruning: masks and weights train in turns. Zhang et al. 2022, the rule of the paper."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sweep.rules.trained import Trained


@dataclass(frozen=True)
class Options:
    """Options of the rule.

    Attributes:
        second_order: weight 1/γ of the implicit gradient, γ that of the lower problem's penalty γ/2 ‖w‖².
    """

    second_order: float = 1e-4


class Bip(Trained):
    """min_m L(m ⊙ w*(m)), w*(m) = argmin_w L(m ⊙ w) + γ/2 ‖w‖².

    With the Hessian of L neglected, dL/dm = (w − m ⊙ g/γ) ⊙ g, g the gradient in z = m ⊙ w. Scores begin at
    the weights. Steps on weights and steps on scores take turns, each with a batch and a momentum of its own.
    """

    name = "bip"
    options = Options
    alternates = True

    def first_scores(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        """The weights."""
        return weight

    def slope(
        self, options: Options, weight: Tensor, mask: Tensor, score: Tensor, gradient: Tensor
    ) -> Tensor:
        """The derivative dL/dm, straight through the mask."""
        implicit = mask * gradient * options.second_order
        return (weight - implicit) * gradient * score.sign()


BIP = Bip()
