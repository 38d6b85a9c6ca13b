"""What a mask makes of a network: sizes, multiply-adds, collapsed layers, concentration of weights."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import pruners
from sweep import models
from sweep.data import Shape


@lru_cache(maxsize=32)
def multiply_adds(model: str, shape: Shape, classes: int) -> dict[str, int]:
    """Weight name → multiply-adds of one forward pass of one image through its layer, unmasked."""
    network = models.build(model, shape, classes, seed=0).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape))
    # The counter reports two operations a multiply-add, by module under the name of the root's class.
    flops = {module: sum(by_operator.values()) for module, by_operator in counter.get_flop_counts().items()}
    root = type(network).__name__
    return {
        name: flops.get(f"{root}.{name.rpartition('.')[0]}", 0) // 2 for name in pruners.prunable(network)
    }


def facts(
    model: nn.Module, masks: Mapping[str, Tensor], macs: Mapping[str, int], example: Tensor
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """The `network` columns of a trial, and its effective masks. `params` counts the prunable weights."""
    effective = pruners.effective_masks(model, masks, example)
    params = sum(mask.numel() for mask in masks.values())
    kept = sum(int(mask.sum()) for mask in masks.values())
    density = pruners.densities(masks)
    return {
        "params": params,
        "kept": kept,
        "density": kept / params,
        "effective_density": sum(int(mask.sum()) for mask in effective.values()) / params,
        "collapsed_layers": len(pruners.collapsed_layers(masks)),
        "min_layer_density": min(density.values()),
        "macs_dense": sum(macs.values()),
        "macs_masked": sum(round(macs[name] * density[name]) for name in masks),
    }, effective


def pq_index(weights: Tensor, p: float = 0.5, q: float = 1) -> float | None:
    """How concentrated the kept weights are: 0 all equal in size, towards 1 few large ones; None for none.

    I = 1 − n^(1/q − 1/p)·‖w‖_p/‖w‖_q over the n given weights (Diao et al. 2023).
    """
    size = weights.detach().abs().double()
    if size.numel() == 0 or not size.any():
        return None
    norm_p, norm_q = (float(size.pow(r).sum()) ** (1 / r) for r in (p, q))
    return float(1 - size.numel() ** (1 / q - 1 / p) * norm_p / norm_q)
