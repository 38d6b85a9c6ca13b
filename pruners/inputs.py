"""What the layers of a network meet: sums of their inputs and of products of two of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruners.batches import Batch
from pruners.forward import full_precision, run
from pruners.linear_maps import Interpreter, LinearMap
from pruners.patches import patches

# Numbers of inputs that are turned into patches at once.
_AT_ONCE = 2**22


@dataclass
class Inputs:
    """Sums over the inputs x of a weight: over all samples, positions and uses. In float64.

    A weight of g groups of outputs meets d inputs in each; a linear layer is one group.

    Attributes:
        products: Σ x xᵀ, (g, d, d).
        total: Σ x, (g, d).
        count: terms of each sum.
    """

    products: Tensor
    total: Tensor
    count: int

    @property
    def mean(self) -> Tensor:
        """The mean input, (g, d)."""
        return self.total / self.count

    def add(self, other: "Inputs") -> None:
        """Add the sums of another use or batch."""
        self.products, self.total = self.products + other.products, self.total + other.total
        self.count += other.count


@torch.no_grad()
def inputs_of(
    model: nn.Module, tensors: Mapping[str, Tensor], batches: Sequence[Batch], layers: Iterable[str]
) -> dict[str, Inputs]:
    """Name of a weight → the inputs that it meets, in the modes that the model is in.

    Args:
        tensors: parameters and buffers to compute with, by name, in place of the model's own.
        layers: names of the weights.

    Raises:
        ValueError: a weight is used otherwise than as a whole in linear maps and convolutions, or not at all.
    """
    found: dict[str, Inputs] = {}
    names = {id(tensors[name]): name for name in layers}
    last: tuple[Tensor, Inputs] | None = None

    def look(call: LinearMap) -> Tensor:
        nonlocal last
        # First, as a call in mixed precision may fail, and be made again in that of the weight.
        output = call.output()
        name = names.get(id(call.weight))
        if name and "transpose" not in call.function:
            # Queries, keys and values have the same inputs: the sums are made once.
            if not last or last[0] is not call.inputs or call.function != "linear":
                last = call.inputs, _sums(call)
            if name in found:
                found[name].add(last[1])
            else:
                found[name] = Inputs(last[1].products, last[1].total, last[1].count)
        return output

    with Interpreter(look):
        for values, _ in batches:
            run(model, tensors, full_precision(values))
    for name in names.values():
        if name not in found:
            raise ValueError(f"layer {name} is no whole matrix of a linear map or convolution: exclude it")
    return found


def _sums(call: LinearMap) -> Inputs:
    sums: Inputs | None = None
    size = max(1, patches(call.of(slice(0, 1))).numel())
    for some in torch.arange(len(call.inputs)).split(max(1, _AT_ONCE // size)):
        # (groups, all positions, inputs of a kernel)
        rows = patches(call.of(slice(int(some[0]), int(some[-1]) + 1))).movedim(1, 0).flatten(1, 2).double()
        part = Inputs(rows.transpose(1, 2) @ rows, rows.sum(1), rows.shape[1])
        if sums:
            sums.add(part)
        else:
            sums = part
    assert sums
    return sums
