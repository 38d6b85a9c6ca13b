"""Properties that all networks of a name share, computed once: multiply-adds, and use of BatchNorm."""

from functools import lru_cache

import torch
from torch import nn

import pruners
from pruners.forward import HighestPrecision
from sweep.data import Shape
from sweep.models.catalog import build
from sweep.parts import Arguments


def normalizes(model: nn.Module) -> bool:
    """Whether a network has BatchNorm, and so running statistics of its activations."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def multiply_adds(
    model: str,
    shape: Shape,
    classes: int,
    arguments: Arguments = (),
    dtype: torch.dtype = torch.float32,
) -> dict[str, int]:
    """Weight name → multiply-adds of the weight's layer in a forward pass of one input, unmasked.

    Args:
        shape, dtype: of one input.
        arguments: parameters of the model.
    """
    return known(model, shape, classes, arguments, dtype)[0]


@lru_cache(maxsize=32)
def known(
    model: str,
    shape: Shape,
    classes: int,
    arguments: Arguments = (),
    dtype: torch.dtype = torch.float32,
) -> tuple[dict[str, int], bool]:
    """Multiply-adds of each weight, and whether the network has BatchNorm."""
    network = build(model, shape, classes, seed=0, dtype=dtype, arguments=arguments)
    with HighestPrecision():  # a part may have set another precision for new networks, which is said later
        return pruners.multiply_adds(network, torch.zeros(1, *shape, dtype=dtype)), normalizes(network)
