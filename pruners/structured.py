"""Structured masks: whole filters, whole residual blocks, narrower layers. They stay masks of weights."""

from collections.abc import Iterable, Mapping
from math import isqrt

import torch
from torch import Tensor, nn

from pruners.masks import Sparsity, kept_count, prunable
from pruners.paths import both, reached
from pruners.scopes import balanced

_FILTERED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def filter_shapes(model: nn.Module, layers: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Layer name → (filters,): of a convolution its output channels, of a linear layer its units.

    Raises:
        ValueError: a layer is of another kind, such as LSTM, whose rows are gates and not units.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        module = model.get_submodule(layer.rpartition(".")[0])
        if not isinstance(module, _FILTERED):
            raise ValueError(f"{layer} of {type(module).__name__} has no filters: exclude it")
        shapes[layer] = (len(model.get_parameter(layer)),)
    return shapes


def filter_scores(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Layer name → the sum of the scores of each filter's weights, (filters,)."""
    return {layer: score.flatten(1).sum(1) for layer, score in scores.items()}


def expanded(kept: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks over filters, (filters,), as masks over the filters' weights."""
    return {
        layer: mask.view(-1, *[1] * (weights[layer].dim() - 1)).expand(weights[layer].shape).clone()
        for layer, mask in kept.items()
    }


def filter_masks(model: nn.Module, removed: Mapping[str, Iterable[int]]) -> dict[str, Tensor]:
    """Masks of all prunable weights that remove the given filters: layer name → their numbers.

    Raises:
        ValueError: a layer is not prunable or has no such filter.
    """
    masks = _whole(model)
    for layer, numbers in removed.items():
        if layer not in masks:
            raise ValueError(f"{layer} is no prunable weight of {', '.join(masks)}")
        filters = filter_shapes(model, [layer])[layer][0]
        for number in numbers:
            if not 0 <= number < filters:
                raise ValueError(f"{layer} has no filter {number}: its {filters} are counted from 0")
            masks[layer][number] = False
    return masks


def removable_blocks(model: nn.Module, example_input: Tensor) -> list[str]:
    """Names of the residual blocks that can be dropped whole: those with an identity shortcut.

    They are the innermost modules of two or more prunable weights without which every other weight still
    lies on a path from the input to the output.

    Args:
        example_input: one batch, of which only the shape matters.
    """
    # With both factors of a product needed: a gate computed from its own input is no shortcut.
    whole = reached(model, _whole(model), example_input, both)
    found: list[str] = []
    for name, _ in reversed(list(model.named_modules())):  # inner modules come after those around them
        inside = [layer for layer in whole if layer.startswith(f"{name}.")]
        if (
            len(inside) < 2
            or len(inside) == len(whole)
            or any(block.startswith(f"{name}.") for block in found)
        ):
            continue
        left = reached(model, block_masks(model, [name]), example_input, both)
        if all(torch.equal(left[layer], whole[layer]) for layer in whole if layer not in inside):
            found.append(name)
    return found[::-1]


def block_masks(model: nn.Module, dropped: Iterable[str]) -> dict[str, Tensor]:
    """Masks of all prunable weights that remove every weight of the named modules ('When Layers Play the
    Lottery, all Tickets Win at Initialization').

    Raises:
        ValueError: a name has no prunable weight under it.
    """
    masks = _whole(model)
    for block in dropped:
        inside = [layer for layer in masks if layer.startswith(f"{block}.")]
        if not inside:
            raise ValueError(f"{block!r} is no module with prunable weights")
        for layer in inside:
            masks[layer][:] = False
    return masks


def block_scores(scores: Mapping[str, Tensor], blocks: Iterable[str]) -> dict[str, float]:
    """Block name → the sum of the scores of the weights in it.

    Raises:
        ValueError: a block has none.
    """
    found = {}
    for block in blocks:
        inside = [score for layer, score in scores.items() if layer.startswith(f"{block}.")]
        if not inside:
            raise ValueError(f"{block!r} is no module with scored weights")
        found[block] = sum(float(score.sum()) for score in inside)
    return found


def precrop(model: nn.Module, sparsity: Sparsity, exclude: Iterable[str] = ()) -> dict[str, Tensor]:
    """Masks of a network made narrower before training, layer by layer (PreCrop, Cai et al. 2022).

    A layer of density p in the scope `balanced` keeps its first ⌊√p·filters⌋ filters, at least one: with as
    large a share of its inputs gone, about p of its weights stay effective. Fresh filters are alike, so that
    which ones stay does not matter, and the first stay together where layers are added up. The last layer's
    outputs are the network's: they all stay.

    Args:
        exclude: patterns of layers to leave as they are, such as those of 1×1 shortcuts.
    """
    weights = prunable(model, exclude)
    shapes = {layer: tuple(weight.shape) for layer, weight in weights.items()}
    groups = balanced(shapes, kept_count(sum(weight.numel() for weight in weights.values()), sparsity))
    masks = _whole(model)
    last = list(masks)[-1]
    filters = filter_shapes(model, shapes)
    for group in groups:
        (layer,) = group.layers
        if layer != last:
            count = filters[layer][0]
            masks[layer][max(1, isqrt(group.kept * count**2 // weights[layer].numel())) :] = False
    return masks


def _whole(model: nn.Module) -> dict[str, Tensor]:
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
