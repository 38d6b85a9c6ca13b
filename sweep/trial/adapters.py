"""Low-rank adapters of masked weights, whose product is part of the weights at all times."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sweep.seeds import generator


class Adapters:
    """MaskLoRA (Zimmer et al. 2023, PERP): a weight is (W + (α/r)·B·A) ⊙ M, and A and B are trained.

    The parameters of the network are these effective weights at all times, so that no other part of a trial
    knows of adapters, and nothing is left to merge after the training. The gradient G of the effective
    weights gives those of the adapters: (α/r)·Bᵀ(G ⊙ M) of A, and (α/r)·(G ⊙ M)Aᵀ of B.

    A weight of more than two dimensions, such as a convolution's, is a matrix with a row for each output.
    B begins at 0, and A with the distribution that LoRA draws it from (Hu et al. 2022).
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], rank: int, alpha: float, seed: int) -> None:
        """Adapters that change nothing yet.

        Args:
            weights: name → weight of a layer, with its value of now as W.
            rank, alpha: r and α.
            seed: of the draws of A; each weight has draws of its own.
        """
        self._weights, self._scale = weights, alpha / rank
        self._base = {name: weight.detach().clone() for name, weight in weights.items()}
        self._a, self._b = {}, {}
        for name, weight in weights.items():
            rows, columns = weight.flatten(1).shape
            # Drawn on a CPU: the same numbers on every device.
            drawn = torch.rand(rank, columns, generator=generator(seed, "adapters", name))
            first = (2 * drawn - 1) / math.sqrt(columns)
            self._a[name] = nn.Parameter(first.to(weight))
            self._b[name] = nn.Parameter(weight.new_zeros(rows, rank))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What an optimizer trains: A and B of each weight."""
        return [each for name in self._weights for each in (self._a[name], self._b[name])]

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Give A and B their gradients, from those of the effective weights, which are masked."""
        for name, weight in self._weights.items():
            if weight.grad is None:  # the layer is not used
                weight.grad = torch.zeros_like(weight)
            self._a[name].grad, self._b[name].grad = self._slopes(name, weight.grad)

    @torch.no_grad()
    def estimates(self, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients of weights, of which only those of A and B are used (LoRAPrune, Zhang et al. 2024).

        The estimate is what a step of gradient descent at rate 1 takes from B·A: g_B·A + B·g_A − g_B·g_A.

        Args:
            masks: of the weights that are asked for, which are on; the gradients need not be masked.
        """
        found = {}
        for name, mask in masks.items():
            weight, a, b = self._weights[name], self._a[name], self._b[name]
            of_a, of_b = self._slopes(
                name, torch.zeros_like(weight) if weight.grad is None else weight.grad * mask
            )
            found[name] = (of_b @ a + b @ of_a - of_b @ of_a).view(weight.shape)
        return found

    def _slopes(self, name: str, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of A and B of a weight, from that of the weight."""
        matrix = gradient.flatten(1)
        return self._scale * (self._b[name].T @ matrix), self._scale * (matrix @ self._a[name].T)

    @torch.no_grad()
    def merge(self, masks: Iterable[tuple[nn.Parameter, Tensor]]) -> None:
        """Give the network its effective weights.

        Args:
            masks: parameters, and their masks of 0 and 1.
        """
        for name, weight in self._weights.items():
            weight.copy_(self._base[name] + self._scale * (self._b[name] @ self._a[name]).view(weight.shape))
        for parameter, mask in masks:
            parameter.masked_fill_(mask == 0, 0)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """All that later weights depend on, but for the optimizer; not copied."""
        return {
            name: {"base": self._base[name], "a": self._a[name].detach(), "b": self._b[name].detach()}
            for name in self._weights
        }

    def can_restore(self, state: Any) -> bool:
        """Whether a state is of adapters like these. The file of a state may have any content.

        Raises:
            AttributeError, LookupError, TypeError: it is none.
        """
        own = self.state()
        return state.keys() == own.keys() and all(
            (state[name][part].shape, state[name][part].dtype) == (tensor.shape, tensor.dtype)
            for name, parts in own.items()
            for part, tensor in parts.items()
        )

    @torch.no_grad()
    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from a state, with a network that has its effective weights already."""
        for name, parts in self.state().items():
            for part, tensor in parts.items():
                tensor.copy_(state[name][part])
