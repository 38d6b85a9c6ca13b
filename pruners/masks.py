"""Masks: which weights are prunable, how many are kept, and which ones those are."""

import zlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fnmatch import fnmatch
from fractions import Fraction

import torch
from torch import Tensor, nn

Sparsity = float | str | Decimal | Fraction
_WEIGHT_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
_RECURRENT_LAYERS = (nn.LSTM, nn.GRU)


def prunable(model: nn.Module, exclude: Iterable[str] = ()) -> dict[str, nn.Parameter]:
    """Name and parameter of every prunable weight, in `named_parameters` order.

    Prunable are the `weight` of convolutions and linear layers and the `weight_ih`/`weight_hh` matrices of
    LSTM and GRU; never biases, never normalization layers. A weight shared by two modules appears once.

    Args:
        exclude: shell-style patterns of parameter names to leave dense, such as `"fc.*"`.

    Raises:
        ValueError: nothing is left to prune, or a pattern matches no prunable weight.
    """
    found = set()
    for module in model.modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            if (isinstance(module, _WEIGHT_LAYERS) and leaf == "weight") or (
                isinstance(module, _RECURRENT_LAYERS) and leaf.startswith(("weight_ih", "weight_hh"))
            ):
                found.add(id(parameter))
    weights = {name: p for name, p in model.named_parameters() if id(p) in found}
    for pattern in exclude:
        matched = [name for name in weights if fnmatch(name, pattern)]
        if not matched:
            raise ValueError(f"exclude={pattern!r} matches no prunable weight of {', '.join(weights)}")
        for name in matched:
            del weights[name]
    if not weights:
        raise ValueError(f"{type(model).__name__} has no prunable weight (convolution, linear, LSTM or GRU)")
    return weights


def kept_count(total: int, sparsity: Sparsity) -> int:
    """Number of weights kept of `total`: max(1, round(total·(1 − sparsity))), half to even.

    Sparsity is taken as the decimal that was written: 0.9 of 1000 keeps 100, where floating point says 99.

    Raises:
        ValueError: sparsity is outside [0, 1).
    """
    density = 1 - Fraction(str(sparsity))
    if not 0 < density <= 1:
        raise ValueError(f"sparsity {sparsity} is outside [0, 1): 0 keeps every weight, 0.99 keeps 1 %")
    return max(1, round(total * density))


def keep_top(scores: Tensor, count: int) -> Tensor:
    """Boolean mask, shaped like the 1-D `scores`, of exactly `count` largest; ties go to the lower index.

    A test `scores >= threshold` would keep every tied weight: all of them where the scores are all zero.
    """
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    if count >= scores.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    # The `count`-th largest, by selection: no sort of all scores.
    threshold = scores.kthvalue(scores.numel() - count + 1).values
    keep = scores > threshold
    tied = (scores == threshold).nonzero().squeeze(1)
    keep[tied[: count - int(keep.sum())]] = True
    return keep


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the pruned weights of `model` to exactly 0, in place.

    Raises:
        ValueError: a mask names no parameter of the model, or has another shape.
    """
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            raise ValueError(f"mask {name} {tuple(mask.shape)} fits no parameter of {type(model).__name__}")
        # Not a product with the mask: that would leave -0.0 behind, and NaN where a weight is not finite.
        parameters[name].masked_fill_(~mask.to(parameters[name].device), 0)


def shuffle(masks: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """The masks with their entries permuted within each layer, an ablation (Frankle et al. 2021).

    Layer densities stay exactly as they are. A layer's permutation depends on the seed and its name alone.
    """
    shuffled = {}
    for name, mask in masks.items():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
        order = torch.randperm(mask.numel(), generator=generator).to(mask.device)
        shuffled[name] = mask.flatten()[order].view(mask.shape)
    return shuffled


def densities(masks: Mapping[str, Tensor]) -> dict[str, float]:
    """Layer name → share of its weights that are kept."""
    return {name: int(mask.sum()) / mask.numel() for name, mask in masks.items()}


def collapsed_layers(masks: Mapping[str, Tensor]) -> list[str]:
    """Names of the layers of which no weight is kept: layer collapse."""
    return [name for name, mask in masks.items() if not mask.any()]
