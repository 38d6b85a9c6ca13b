"""Structured masks of weights: they remove filters, residual blocks, or the last filters of each layer."""

from collections.abc import Iterable, Mapping
from math import isqrt

import torch
from torch import Tensor, nn

from pruners.effective import masks_on_paths
from pruners.forward import in_mode
from pruners.masks import Masks, Sparsity, kept_count, prunable
from pruners.scopes import balanced
from pruners.signals import both

_FILTERED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def filter_shapes(model: nn.Module, layers: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Layer name → (filters,): output channels of a convolution, units of a linear layer.

    Raises:
        ValueError: a layer is of another kind, such as an LSTM, whose rows are gates and not units.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        module = model.get_submodule(layer.rpartition(".")[0])
        if not isinstance(module, _FILTERED):
            raise ValueError(f"{layer} of {type(module).__name__} has no filters: exclude it")
        shapes[layer] = (len(model.get_parameter(layer)),)
    return shapes


def norms_behind(model: nn.Module, example: Tensor) -> dict[str, list[str]]:
    """Name of a weight → names of the normalizations that read the outputs of its layer, and nothing else.

    These are BatchNorm, GroupNorm and InstanceNorm of the channels of a layer, and LayerNorm of the outputs
    of a linear layer. The network is run once.

    Args:
        example: one batch; one sample is enough.
    """
    made: list[tuple[Tensor, str, bool]] = []  # they hold their tensors, so that no other gets the same place
    read: dict[str, set[str]] = {}

    def note(name: str, module: nn.Module, output: object) -> None:
        if isinstance(output, Tensor):
            made.append((output, f"{name}.weight".lstrip("."), isinstance(module, nn.Linear)))

    def look(path: str, module: nn.Module, given: object) -> None:
        of_layers = isinstance(module, nn.LayerNorm)
        found = [
            (name, (of_layers or each.dim() == 2) if linear else not of_layers)
            for each, name, linear in made
            if each is given
        ]
        read.setdefault(path, set()).add(found[-1][0] if found and found[-1][1] else "")

    handles = []
    for path, module in model.named_modules():
        if isinstance(module, _FILTERED):
            handles.append(
                module.register_forward_hook(lambda m, _, output, path=path: note(path, m, output))
            )
        elif isinstance(module, _NORMS):
            handles.append(
                module.register_forward_pre_hook(lambda m, given, path=path: look(path, m, given[0]))
            )
    try:
        with in_mode(model, train=False), torch.no_grad():
            model(example[:1])
    finally:
        for handle in handles:
            handle.remove()
    behind: dict[str, list[str]] = {}
    for path, names in read.items():
        name, *more = names
        if name and not more:
            behind.setdefault(name, []).append(path)
    return behind


def filter_masks(model: nn.Module, removed: Mapping[str, Iterable[int]]) -> Masks:
    """Masks of all prunable weights that remove the given filters.

    Args:
        removed: layer name → numbers of the filters, counted from 0.

    Raises:
        ValueError: a layer is not prunable or has no such filter.
    """
    masks = _dense(model)
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
    """Names of the residual blocks that can be removed: those with an identity shortcut.

    A removable block is an innermost module of two or more prunable weights without which every other weight
    still lies on a path from the input to the output.

    Args:
        example_input: one batch; only its shape matters.
    """
    # A product needs both of its factors: a gate computed from its own input is no shortcut.
    dense = masks_on_paths(model, _dense(model), example_input, both)
    blocks: list[str] = []
    for name, _ in reversed(list(model.named_modules())):  # inner modules before the modules around them
        inside = [layer for layer in dense if layer.startswith(f"{name}.")]
        if (
            len(inside) < 2
            or len(inside) == len(dense)
            or any(block.startswith(f"{name}.") for block in blocks)
        ):
            continue
        without = masks_on_paths(model, block_masks(model, [name]), example_input, both)
        if all(torch.equal(without[layer], dense[layer]) for layer in dense if layer not in inside):
            blocks.append(name)
    return blocks[::-1]


def block_masks(model: nn.Module, dropped: Iterable[str]) -> Masks:
    """Masks of all prunable weights that remove every weight of the named modules.

    Blocks are removed at initialization in 'When Layers Play the Lottery, all Tickets Win at Initialization'.

    Args:
        dropped: names of modules, such as those of `removable_blocks`.

    Raises:
        ValueError: a name is no module with prunable weights.
    """
    masks = _dense(model)
    for block in dropped:
        inside = [layer for layer in masks if layer.startswith(f"{block}.")]
        if not inside:
            raise ValueError(f"{block!r} is no module with prunable weights")
        for layer in inside:
            masks[layer][:] = False
    return masks


def block_scores(scores: Mapping[str, Tensor], blocks: Iterable[str]) -> dict[str, float]:
    """Block name → sum of the scores of the weights in the block.

    Raises:
        ValueError: a block has no scored weight.
    """
    sums = {}
    for block in blocks:
        inside = [score for layer, score in scores.items() if layer.startswith(f"{block}.")]
        if not inside:
            raise ValueError(f"{block!r} is no module with scored weights")
        sums[block] = sum(float(score.sum()) for score in inside)
    return sums


def precrop(model: nn.Module, sparsity: Sparsity, exclude: Iterable[str] = ()) -> Masks:
    """Masks that make each layer of a network narrower before training (PreCrop, Cai et al. 2022).

    A layer of density p in the scope `balanced` keeps its first ⌊√p·filters⌋ filters, at least one. Its
    inputs shrink to about the same share, so that about p of its weights stay effective. Untrained filters
    are interchangeable; the first are kept, so that layers whose outputs are added keep the same ones. The
    last layer keeps all outputs, as they are the network's.

    Args:
        sparsity: share of weights to remove, in [0, 1); a decimal is taken exactly.
        exclude: patterns of layers to leave dense, such as those of 1×1 shortcuts.
    """
    weights = prunable(model, exclude)
    shapes = {layer: tuple(weight.shape) for layer, weight in weights.items()}
    groups = balanced(shapes, kept_count(sum(weight.numel() for weight in weights.values()), sparsity))
    masks = _dense(model)
    last = list(masks)[-1]
    filters = filter_shapes(model, shapes)
    for group in groups:
        (layer,) = group.layers
        if layer != last:
            count = filters[layer][0]
            masks[layer][max(1, isqrt(group.kept * count**2 // weights[layer].numel())) :] = False
    return masks


def _dense(model: nn.Module) -> Masks:
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
