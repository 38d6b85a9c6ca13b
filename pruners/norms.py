"""How large the inputs are that each weight of a network is multiplied with."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pruners.maps import Interpreter, LinearMap


def squared_inputs(
    forward: Callable[[Mapping[str, Tensor], Tensor], Tensor], leaves: Mapping[str, Tensor], inputs: Tensor
) -> dict[str, Tensor]:
    """Parameter name → Σ x² over the inputs x that each weight meets, in all samples and positions.

    Args:
        forward: outputs of the network with the given parameters.
        leaves: the parameters, requiring gradients.

    Raises:
        ValueError: a weight is used otherwise than in a linear map or convolution.
    """
    names = {id(leaf): name for name, leaf in leaves.items()}
    squares: dict[str, Tensor] = {}

    def see(call: LinearMap) -> Tensor:
        if name := names.get(id(call.weight)):
            with torch.enable_grad():
                weight = call.weight.detach().requires_grad_()
                # A map is linear in its weight: the slope is the sum of what each weight meets.
                total = call.apply(call.inputs.square(), weight).sum()
            squares[name] = squares.get(name, 0) + torch.autograd.grad(total, weight)[0]
        return call.output()

    with torch.no_grad(), Interpreter(see):
        forward(leaves, inputs)
    if unseen := {name: leaf for name, leaf in leaves.items() if name not in squares}:
        used = torch.autograd.grad(forward(leaves, inputs).sum(), list(unseen.values()), allow_unused=True)
        for (name, leaf), slope in zip(unseen.items(), used, strict=True):
            if slope is not None:
                raise ValueError(f"layer {name} is used otherwise than as a linear map; exclude it")
            squares[name] = torch.zeros_like(leaf)
    return {name: squares[name] for name in leaves}
