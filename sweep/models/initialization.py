"""Initializations: one small function each, which draws a weight in place before training."""

from collections.abc import Callable
from dataclasses import dataclass

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


def gpt(weight: Tensor) -> Tensor:
    """Normal of standard deviation 0.02 in every layer (Radford et al. 2019, section 2.3): GPT-2's."""
    return nn.init.normal_(weight, std=0.02)


@dataclass(frozen=True)
class Initialization:
    """An initialization.

    Attributes:
        draw: draws a matrix (outputs, inputs) or a convolution's weight in place.
        embeddings: whether it draws embeddings too.
        by_depth: whether the last layer of each residual branch is divided by the root of their number.
    """

    draw: Callable[..., Tensor | None]
    embeddings: bool = False
    by_depth: bool = False


INITIALIZATIONS = {
    "kaiming": Initialization(kaiming),
    "lecun": Initialization(lecun),
    "xavier": Initialization(xavier),
    "normal": Initialization(normal),
    "truncated-normal": Initialization(truncated_normal),
    "torch": Initialization(torch_own),
    "signed-constant": Initialization(signed_constant),
    "gpt": Initialization(gpt, embeddings=True, by_depth=True),
}


def find(name: str) -> Initialization:
    """The initialization of a name: one of `INITIALIZATIONS`, or a part."""
    return INITIALIZATIONS[name] if name in INITIALIZATIONS else Initialization(parts.need(name))
