"""Saliencies of a training step: what weights are worth by their values and gradients of the moment."""

from collections.abc import Callable

import torch
from torch import Tensor


def gradient(weight: Tensor) -> Tensor:
    """The gradient of a weight; 0 where there is none."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def signed(weight: Tensor, mask: Tensor) -> Tensor:
    """The rank of |w| among the kept weights of its sign, from 0 to 1.

    The lowest scores are as large a share of the positive weights as of the negative ones: Mocanu et al. 2018
    drop the smallest positive weights and the largest negative ones.
    """
    flat, kept = weight.flatten(), mask.flatten()
    scores = torch.full_like(flat, -torch.inf, dtype=torch.float64)
    for side in (kept & (flat >= 0), kept & (flat < 0)):
        count = int(side.count_nonzero())
        ranks = flat.new_empty(count, dtype=torch.float64)
        order = flat[side].abs().argsort(stable=True)
        ranks[order] = torch.arange(count, dtype=torch.float64, device=flat.device)
        scores[side] = (ranks + 0.5) / max(1, count)
    return scores.view(weight.shape)


# Name → a weight, its gradient or an estimate of it, its mask, and λ, the worth of a gradient → scores.
STEP_SCORES: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "magnitude": lambda weight, slope, mask, worth: weight.abs(),
    "magnitude+gradient": lambda weight, slope, mask, worth: weight.abs() + worth * slope.abs(),
    "taylor": lambda weight, slope, mask, worth: (weight * slope).abs(),
    "taylor-average": lambda weight, slope, mask, worth: (weight * slope).abs(),
    "lora-average": lambda weight, slope, mask, worth: (weight * slope).abs(),
    "signed": lambda weight, slope, mask, worth: signed(weight, mask),
}
# Those that are averaged over the steps of the training (LoRAPrune, Zhang et al. 2024).
AVERAGED = frozenset({"taylor-average", "lora-average"})
# Those whose gradients are estimated by those of low-rank adapters (the same).
ESTIMATED = frozenset({"lora-average"})
