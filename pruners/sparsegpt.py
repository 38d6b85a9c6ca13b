"""SparseGPT's own masks (Frantar & Alistarh 2023) of a network, block behind pruned and updated block."""

from collections.abc import Iterable

from torch import Tensor, nn

from pruners import obs
from pruners.batches import Batch
from pruners.blocks import Block
from pruners.compensation import Network, in_groups, sequentially, updated
from pruners.masks import Masks, Sparsity, kept_count, prunable
from pruners.patches import from_kernel_rows
from pruners.probe import Scores
from pruners.pruning import Step
from pruners.scopes import Group, OfInputs, Scope, divided


def obs_step(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    sparsity: Sparsity,
    scope: Scope = "uniform",
    exclude: Iterable[str] = (),
) -> Step:
    """The masks that SparseGPT chooses, their scores, and the weights as it updates them.

    Each block sees the outputs of blocks that are pruned and updated already, in eval mode. The weights are
    those of `compensated("obs", …)` at these masks. The model is not changed.

    Args:
        batches: (inputs, targets); iterated over once.
        sparsity, exclude: as of `prune`.
        scope: one that says how many weights each layer keeps, or a pattern N:M.

    Raises:
        ValueError: as `obs_groups`; there are no batches; or a weight is used otherwise than as a whole in
            linear maps and convolutions.
    """
    groups = obs_groups(model, sparsity, scope, exclude)
    scores: Scores = {}
    masks: Masks = {}

    def of_block(network: Network, block: Block) -> dict[str, Tensor]:
        found = network.inputs(block)
        for layer, inputs in found.items():
            weight, group = network.dense[layer], groups[layer]
            pattern = group.pattern if isinstance(group.pattern, OfInputs) else None
            mask, score = obs.chosen(in_groups(weight, inputs).double(), group.kept, pattern, inputs)
            masks[layer], scores[layer] = (
                from_kernel_rows(each.flatten(0, 1), weight) for each in (mask, score)
            )
        return {layer: updated(network.dense[layer], masks[layer], found[layer]) for layer in found}

    weights = sequentially(model, groups, batches, of_block)
    return Step({name: scores[name] for name in groups}, {name: masks[name] for name in groups}, weights)


def obs_groups(
    model: nn.Module, sparsity: Sparsity, scope: Scope, exclude: Iterable[str] = ()
) -> dict[str, Group]:
    """Name of each prunable weight → how many weights it keeps, and in which pattern.

    Raises:
        ValueError: the scope ranks layers together or in a pattern other than N:M, or the inputs of a layer
            are no multiple of its M.
    """
    shapes = {name: tuple(weight.shape) for name, weight in prunable(model, exclude).items()}
    kept = kept_count(sum(weight.numel() for weight in prunable(model, exclude).values()), sparsity)
    groups = divided(scope, shapes, kept)
    if any(len(group.layers) > 1 or not isinstance(group.pattern, OfInputs | None) for group in groups):
        raise ValueError(
            "obs chooses layer by layer: take scope uniform, erk, 2:4 or another of single layers"
        )
    for group in groups:
        inputs = shapes[group.layers[0]][1]
        if isinstance(group.pattern, OfInputs) and inputs % group.pattern.of:
            raise ValueError(
                f"obs with scope {scope}: layer {group.layers[0]} has {inputs} inputs, no multiple of "
                f"{group.pattern.of}: exclude it"
            )
    return {group.layers[0]: group for group in groups}
