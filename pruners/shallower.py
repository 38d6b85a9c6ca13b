"""Surgery on blocks: a network without the blocks that were removed."""

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from pruners.units import UnitGroup


def shallower(model: nn.Module, groups: Sequence[UnitGroup], kept: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a network in which the blocks that are not kept pass their inputs on.

    A residual block of which all parameters are 0 puts out its input. Behind its addition it may have a
    ReLU, which changes no input that comes from a ReLU, as that of each such block does in ResNets.

    Args:
        groups: the removable blocks, each named as its module is.
        kept: name of a block → (1,), False where it is removed.
    """
    smaller = copy.deepcopy(model)
    for group in groups:
        if not kept[group.name].any():
            smaller.set_submodule(group.name, nn.Identity())
    return smaller
