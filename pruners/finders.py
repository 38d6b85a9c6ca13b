"""The units of each structure in a network."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from pruners.coupling import channel_groups
from pruners.masks import prunable
from pruners.residual import passing_blocks
from pruners.structured import filter_shapes, norms_behind, removable_blocks
from pruners.units import Member, UnitGroup, Units

# Network, one batch of which only the shape matters, names of the weights that may be pruned → units.
Finder = Callable[[nn.Module, Tensor, Iterable[str]], Units]
# Layers of which heads and neurons are made. torch's attention holds three of them in one matrix.
_LINEAR = (nn.Linear, nn.MultiheadAttention)


def filters(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Rows of each layer, with their biases and, given an example, the normalization that reads only them."""
    parameters = dict(model.named_parameters())
    shapes = filter_shapes(model, weights)
    norms = norms_behind(model, example) if example.numel() else {}
    groups = []
    for name, (count,) in shapes.items():
        index = torch.arange(count).unsqueeze(1)
        others = [f"{name.rpartition('.')[0]}.bias".lstrip(".")]
        others += [f"{path}.{leaf}" for path in norms.get(name, ()) for leaf in ("weight", "bias")]
        of_rows = [each for each in others if each in parameters and parameters[each].shape == (count,)]
        groups.append(UnitGroup(name, tuple(Member(each, 0, index) for each in (name, *of_rows))))
    return groups


def blocks(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Residual blocks with an identity shortcut whose prunable weights may all be pruned: each is a group.

    Raises:
        ValueError: paths through the network are not worked out.
    """
    try:
        found = removable_blocks(model, example)
    except ValueError as error:
        raise ValueError(f"{error}; structure depth needs no paths") from None
    return _modules(model, found, weights)


def depth(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Blocks that add to their own inputs and whose prunable weights may all be pruned: each is a group."""
    return _modules(model, passing_blocks(model, example), weights)


def _modules(model: nn.Module, names: Iterable[str], weights: Iterable[str]) -> list[UnitGroup]:
    """Modules as units: each is all of its parameters, those of its normalization included."""
    every, chosen = prunable(model), set(weights)
    groups = []
    for block in names:
        inside = [name for name in every if name.startswith(f"{block}.")]
        if chosen.issuperset(inside):
            members = [
                Member(name, 0, torch.arange(len(parameter)).unsqueeze(0))
                for name, parameter in model.named_parameters()
                if name.startswith(f"{block}.") and parameter.dim()
            ]
            groups.append(UnitGroup(block, tuple(members)))
    return groups


def channels(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Channels with all that is coupled to them; rows of weights that may not be pruned stay."""
    return channel_groups(model, example, _others(model, weights))


def heads(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Heads of attention: the rows of queries, keys and values of one head, and the columns that read it."""
    return [group for group in _of_linear(model, example, weights) if _width(group) > 1]


def neurons(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Neurons between linear layers: the rows that make one, such as of gate and up, and its column."""
    return [group for group in _of_linear(model, example, weights) if _width(group) == 1]


def heads_and_neurons(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Both, in the order of their layers."""
    return _of_linear(model, example, weights)


def _of_linear(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """The groups of channels of which linear layers alone have entries."""
    groups = channel_groups(model, example, _others(model, weights), positions=True)
    return [
        group
        for group in groups
        if all(
            isinstance(model.get_submodule(member.parameter.rpartition(".")[0]), _LINEAR)
            for member in group.members
        )
    ]


def _width(group: UnitGroup) -> int:
    """Rows that a unit has of the weight that makes it."""
    return max(member.index.shape[1] for member in group.members if member.dim == 0)


def _others(model: nn.Module, weights: Iterable[str]) -> list[str]:
    """The prunable weights that may not be pruned."""
    chosen = set(weights)
    return [name for name in prunable(model) if name not in chosen]
