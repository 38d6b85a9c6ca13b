"""Surgery on blocks: a network without the blocks that were removed."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pruners.forward import in_mode
from pruners.units import Units

# Network, its units, name of a group → (units,), False for removed ones, one batch to try the copy with or
# None → a copy really without the removed units.
Cut = Callable[[nn.Module, Units, Mapping[str, Tensor], Tensor | None], nn.Module]
# How far outputs may differ, relative to the largest: by rounding.
_ROUNDING = 1e-4


class PassedOn(nn.Module):
    """In place of a removed block: it puts out the first of what it is given."""

    def forward(self, inputs: Tensor, *_: object, **__: object) -> Tensor:
        """Inputs → the same."""
        return inputs


def shallower(
    model: nn.Module,
    groups: Units,
    kept: Mapping[str, Tensor],
    example_input: Tensor | None = None,
) -> nn.Module:
    """A copy of a network in which the blocks that are not kept pass their inputs on.

    A residual block of which all parameters are 0 puts out its input. Behind its addition it may have a
    ReLU, which changes no input that comes from a ReLU, as that of each such block of a ResNet does.

    Args:
        model: the parameters of its removed blocks are 0.
        groups: the removable blocks, each named as its module is.
        kept: name of a block → (1,), False where it is removed.
        example_input: one batch; if given, the outputs of the copy for it are compared with the model's.

    Raises:
        ValueError: the outputs differ: what a block without its weights does is more than to pass inputs on.
    """
    smaller = copy.deepcopy(model)
    removed = [group.name for group in groups if not kept[group.name].any()]
    for name in removed:
        smaller.set_submodule(name, PassedOn())
    if example_input is not None and removed:
        with torch.no_grad(), in_mode(model, train=False), in_mode(smaller, train=False):
            whole, other = model(example_input), smaller(example_input)
        if (whole - other).abs().max() > _ROUNDING * whole.abs().max():
            raise ValueError(f"without {', '.join(removed)} the network computes something else")
    return smaller
