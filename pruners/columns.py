"""What the columns of weights read: the mean, the spread and the size of each input, in float64."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from pruners.forward import Forward
from pruners.label_rules import MOVES
from pruners.linear_maps import Interpreter, LinearMap


@dataclass
class Read:
    """Sums over what a weight reads; inputs are features of a linear layer or channels of a convolution.

    Attributes:
        total: Σ x over samples and positions, (inputs,).
        squares: Σ x², (inputs,).
        count: terms of these sums.
        activity: Σ over samples of a², (inputs,); a is the mean over positions of |x|. For the output of
            attention it is the mean of ‖x‖₂ of the input's head.
        attended: whether the inputs are the output of attention.
        groups: of the outputs of the weight.
    """

    total: Tensor
    squares: Tensor
    count: int
    activity: Tensor
    attended: bool
    groups: int

    @property
    def variance(self) -> Tensor:
        """The variance of each input over samples and positions, (inputs,)."""
        return (self.squares / self.count - (self.total / self.count).square()).clamp(min=0)

    def add(self, other: "Read") -> None:
        """Add the sums of another batch or use."""
        self.total, self.squares = self.total + other.total, self.squares + other.squares
        self.count, self.activity = self.count + other.count, self.activity + other.activity

    def over(self, of_inputs: Tensor, weight: Tensor) -> Tensor:
        """A number of each input (inputs,) at each entry of a weight that reads it."""
        lines = of_inputs.view(self.groups, 1, -1).expand(-1, len(weight) // self.groups, -1).flatten(0, 1)
        return lines.view(*lines.shape, *[1] * (weight.dim() - 2)).expand(weight.shape)

    def size(self, weight: Tensor) -> Tensor:
        """‖W_:j‖² of the entries that read each input, (inputs,)."""
        squares = weight.double().square().flatten(2).sum(2) if weight.dim() > 2 else weight.double().square()
        return squares.view(self.groups, -1, squares.shape[1]).sum(1).flatten()


@torch.no_grad()
def read(forward: Forward, weights: Mapping[str, Tensor], inputs: Iterable[Tensor]) -> dict[str, Read]:
    """Name of a weight → what it reads over all batches; weights that are not used are left out.

    Attention is torch's `scaled_dot_product_attention`, whose output may be moved and reshaped before it is
    read.

    Args:
        forward: parameters and inputs → outputs of the network.
        inputs: those of each batch.

    Raises:
        ValueError: a weight is used otherwise than as a whole in linear maps and convolutions.
    """
    found: dict[str, Read] = {}
    names = {id(weight): name for name, weight in weights.items()}
    touched: set[str] = set()
    for batch in inputs:
        seen = _Seen()

        def look(call: LinearMap, seen: "_Seen" = seen) -> Tensor:
            # First, as a call in mixed precision fails, and is made again in that of the weight.
            output = call.output()
            name = names.get(id(call.weight))
            if name and "transpose" not in call.function:
                one = seen.read(call)
                found[name].add(one) if name in found else found.update({name: one})
            return output

        def other(name: str, func: Any, args: Any, kwargs: Any, seen: "_Seen" = seen) -> Any:
            touched.update(names[id(each)] for each in tree_leaves((args, kwargs)) if id(each) in names)
            return seen.other(name, func, args, kwargs)

        with Interpreter(look, other):
            forward(weights, batch)
    if odd := sorted(touched - found.keys()):
        raise ValueError(f"layer {odd[0]} is no whole matrix of a linear map or convolution: exclude it")
    return found


class _Seen:
    """The outputs of attention in one pass, however moved."""

    def __init__(self) -> None:
        # Tensors that are outputs of attention, with the norms of their heads (samples, heads).
        self._attended: list[tuple[Tensor, Tensor]] = []

    def other(self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        """Call a function, and note what comes of attention."""
        result = func(*args, **kwargs)
        if name == "scaled_dot_product_attention":  # (N, heads, T, width)
            self._attended.append((result, result.double().norm(dim=-1).mean(-1)))
        elif name in MOVES and isinstance(result, Tensor) and args:
            norms = self._norms(args[0])
            if norms is not None:
                self._attended.append((result, norms))
        return result

    def read(self, call: LinearMap) -> Read:
        """What one call of a weight reads."""
        x = call.inputs.detach().double()
        x = x if call.function == "linear" else x.movedim(1, -1)
        rows, norms = x.reshape(-1, x.shape[-1]), self._norms(call.inputs)
        if norms is not None and not x.shape[-1] % norms.shape[1]:
            activity = norms.repeat_interleave(x.shape[-1] // norms.shape[1], 1)
        else:
            activity = x.abs().reshape(len(x), -1, x.shape[-1]).mean(1)
        groups = call.geometry.get("groups", 1)
        return Read(
            rows.sum(0),
            rows.square().sum(0),
            len(rows),
            activity.square().sum(0),
            norms is not None,
            groups,
        )

    def _norms(self, value: object) -> Tensor | None:
        return next((norms for tensor, norms in self._attended if tensor is value), None)
