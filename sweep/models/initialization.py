"""Initializations: one small function each, which draws a weight in place before training."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sweep import parts


def kaiming(weight: Tensor) -> Tensor:
    """Normal of variance 2/n, n the fan-in (He et al. 2015): VS-H of SNIP."""
    return nn.init.kaiming_normal_(weight, nonlinearity="relu")


def lecun(weight: Tensor) -> Tensor:
    """Normal of variance 1/n, n the fan-in, cut at two deviations (LeCun et al. 1998): SNIP's code."""
    # The cut reduces the deviation to 0.8796 of its value.
    wide = weight[0].numel() ** -0.5 / 0.87962566103423978
    return nn.init.trunc_normal_(weight, std=wide, a=-2 * wide, b=2 * wide)


def xavier(weight: Tensor) -> Tensor:
    """Normal of variance 1/n, n the mean of fan-in and fan-out (Glorot & Bengio 2010): VS-X of SNIP."""
    return nn.init.xavier_normal_(weight)


def normal(weight: Tensor) -> Tensor:
    """Normal of standard deviation 0.1 in every layer: RN of SNIP."""
    return nn.init.normal_(weight, std=0.1)


def truncated_normal(weight: Tensor) -> Tensor:
    """Normal of standard deviation 0.1, cut at 0.2, which reduces the deviation to 0.088: TN of SNIP."""
    return nn.init.trunc_normal_(weight, std=0.1, a=-0.2, b=0.2)


def torch_own(weight: Tensor) -> Tensor:
    """Uniform of variance 1/(3n), n the fan-in: the default of PyTorch's layers."""
    return nn.init.kaiming_uniform_(weight, a=5**0.5)


@torch.no_grad()
def signed_constant(weight: Tensor) -> Tensor:
    """±√(2/n), n the fan-in, either sign with probability ½ (Ramanujan et al. 2020): edge-popup's."""
    return weight.bernoulli_(0.5).mul_(2).sub_(1).mul_((2 / weight[0].numel()) ** 0.5)


# Name -> function that draws a matrix (outputs, inputs) or a convolution's weight in place.
INITIALIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "kaiming": kaiming,
    "lecun": lecun,
    "xavier": xavier,
    "normal": normal,
    "truncated-normal": truncated_normal,
    "torch": torch_own,
    "signed-constant": signed_constant,
}


def find(name: str) -> Callable[..., Tensor | None]:
    """The function of a name: one of `INITIALIZATIONS`, or a part."""
    return INITIALIZATIONS[name] if name in INITIALIZATIONS else parts.need(name)
