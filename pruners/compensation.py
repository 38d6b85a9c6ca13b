"""Compensation: new weights or biases that make up for the weights that masks remove, without training."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruners import obs
from pruners.batches import Batch, ScoringBatches
from pruners.blocks import Block, in_blocks
from pruners.context import scoring_context
from pruners.forward import HighestPrecision, differentiable, full_precision
from pruners.inputs import Inputs, inputs_of
from pruners.masks import Masks
from pruners.patches import from_kernel_rows, kernel_rows
from pruners.reconstruction import fitted

_BIASED = (nn.Linear, nn.modules.conv._ConvNd)


@dataclass
class Network:
    """A network whose first blocks are pruned and compensated, as the next block sees it.

    Attributes:
        dense: parameter or buffer name → its value before the prune.
        now: the same with the values that they have by now.
        batches: the scoring batches.
    """

    model: nn.Module
    dense: Mapping[str, Tensor]
    now: dict[str, Tensor]
    batches: Sequence[Batch]

    def inputs(self, block: Block) -> dict[str, Inputs]:
        """The inputs of the weights of a block, whose own weights are dense."""
        return inputs_of(self.model, self.now, self.batches, block.layers)


class Compensation(NamedTuple):
    """A way to make up for removed weights.

    Attributes:
        of_block: network, block and masks → parameter name → new value, of parameters of the block.
        adds_biases: whether layers without a bias get one.
    """

    of_block: Callable[[Network, Block, Masks], dict[str, Tensor]]
    adds_biases: bool = False


def compensated(name: str, model: nn.Module, masks: Masks, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """Parameters that make up for the weights that masks remove; the model is not changed.

    Blocks are gone through in their order (`pruners.in_blocks`): each sees the inputs that it has behind
    blocks that are pruned and compensated already, in eval mode.

    Args:
        name: one of `COMPENSATIONS`.
        masks: of prunable weights, boolean, True is kept; other weights stay as they are.
        batches: (inputs, targets); iterated over once.

    Returns:
        Parameter name → new value in the shape and type of the parameter, 0 where a mask removes it. Of a
        layer that gets a bias the name is the one that `put` gives to it.

    Raises:
        ValueError: there are no batches, or a layer is used otherwise than the compensation needs it.
    """
    method = COMPENSATIONS[name]

    def of_block(network: Network, block: Block) -> dict[str, Tensor]:
        masked = {each: network.dense[each].masked_fill(~masks[each], 0) for each in block.layers}
        return masked | method.of_block(network, block, masks)

    with _holding(model, blank(name, model, masks)):
        return sequentially(model, masks, batches, of_block)


def sequentially(
    model: nn.Module,
    layers: Iterable[str],
    batches: Iterable[Batch],
    of_block: Callable[[Network, Block], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """New parameters of a network, block behind block; the model is not changed.

    Args:
        layers: names of the prunable weights of which blocks are made.
        of_block: the network as the block sees it, and the block → name → new value.

    Returns:
        Parameter name → new value in the shape and type of the parameter.

    Raises:
        ValueError: there are no batches.
    """
    drawn, changed = ScoringBatches(batches).required(), dict[str, Tensor]()
    names = list(layers)
    with scoring_context(model, False, model.get_parameter(names[0]).device), HighestPrecision():
        state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        dense = {
            name: full_precision(differentiable(tensor.detach())) if tensor.is_floating_point() else tensor
            for name, tensor in state.items()
        }
        network = Network(model, dense, dict(dense), drawn)
        for block in in_blocks(model, names):
            new = of_block(network, block)
            network.now |= new
            changed |= {name: value.detach().to(state[name].dtype) for name, value in new.items()}
    return changed


def blank(name: str, model: nn.Module, layers: Iterable[str]) -> dict[str, Tensor]:
    """The biases that a compensation adds to layers, each 0: name → (outputs,).

    Raises:
        ValueError: a layer that has no bias can have none.
    """
    added: dict[str, Tensor] = {}
    for layer in layers if COMPENSATIONS[name].adds_biases else ():
        path, _, leaf = layer.rpartition(".")
        module, weight = model.get_submodule(path), model.get_parameter(layer)
        if leaf != "weight" or not isinstance(module, _BIASED):
            raise ValueError(f"layer {layer} of {type(module).__name__} has no bias of its own: exclude it")
        if module.bias is None:
            added[f"{path}.bias".lstrip(".")] = weight.new_zeros(len(weight))
    return added


@torch.no_grad()
def put(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Give parameters new values, and layers biases that they did not have.

    Returns:
        The names of the new biases.
    """
    known, added = dict(model.named_parameters()), []
    for name, value in weights.items():
        if name in known:
            known[name].copy_(value)
        else:
            path, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(path), leaf, nn.Parameter(value.clone()))
            added.append(name)
    return added


@contextmanager
def _holding(model: nn.Module, biases: Mapping[str, Tensor]) -> Iterator[None]:
    """Around what computes with biases that layers do not have."""
    added = put(model, biases)
    try:
        yield
    finally:
        for name in added:
            path, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(path), leaf, None)


def _nothing(network: Network, block: Block, masks: Masks) -> dict[str, Tensor]:
    """The weights that are kept stay as they are."""
    return {}


def _obs(network: Network, block: Block, masks: Masks) -> dict[str, Tensor]:
    """SparseGPT's update (Frantar & Alistarh 2023) of each layer; see `pruners.obs`."""
    return {
        layer: updated(network.dense[layer], masks[layer], inputs)
        for layer, inputs in network.inputs(block).items()
    }


def updated(weight: Tensor, mask: Tensor, inputs: Inputs) -> Tensor:
    """The weights of a layer, updated for a mask by `pruners.obs.updated`, in their own shape and type."""
    solved = obs.updated(in_groups(weight, inputs).double(), in_groups(mask, inputs), inputs)
    return from_kernel_rows(solved.flatten(0, 1).to(weight.dtype), weight)


def _bias(network: Network, block: Block, masks: Masks) -> dict[str, Tensor]:
    """FLAP's compensation (An et al. 2024): biases get what removed weights added for the mean input.

    An output all of whose weights are removed is removed itself, and gets nothing.
    """
    new = {}
    for layer, inputs in network.inputs(block).items():
        name = f"{layer.rpartition('.')[0]}.bias".lstrip(".")
        rows, mask = (in_groups(each, inputs) for each in (network.dense[layer], masks[layer]))
        lost = (rows.double().masked_fill(mask, 0) @ inputs.mean.unsqueeze(-1)).squeeze(-1)
        lost = lost.masked_fill(~mask.any(-1), 0).flatten()
        new[name] = network.dense[name] + lost.to(network.dense[name].dtype)
    return new


def _reconstruct(network: Network, block: Block, masks: Masks) -> dict[str, Tensor]:
    """The weights of a block that fit its dense outputs (Zimmer et al. 2023, PERP)."""
    return fitted(network.model, network.dense, network.now, network.batches, block, masks)


def in_groups(weight: Tensor, inputs: Inputs) -> Tensor:
    """A weight or its mask as (groups, outputs of a group, inputs), as the inputs are counted."""
    groups, width = inputs.total.shape
    return kernel_rows(weight).view(groups, -1, width)


COMPENSATIONS: dict[str, Compensation] = {
    "none": Compensation(_nothing),
    "obs": Compensation(_obs),
    "bias": Compensation(_bias, adds_biases=True),
    "reconstruct": Compensation(_reconstruct),
}
