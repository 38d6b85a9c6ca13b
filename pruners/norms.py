"""How large the inputs are that each weight of a network is multiplied with."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pruners.maps import Interpreter, LinearMap, attached, refuse_other_uses, source


def squared_inputs(
    forward: Callable[[Mapping[str, Tensor], Tensor], Tensor], leaves: Mapping[str, Tensor], inputs: Tensor
) -> dict[str, Tensor]:
    """Parameter name → Σ x² over the inputs x that each weight meets, in all samples, positions and uses.

    Args:
        forward: outputs of the network with the given parameters.
        leaves: the parameters, requiring gradients.

    Raises:
        ValueError: a weight is used otherwise than in linear maps and convolutions, itself or transposed, if
            only once.
    """
    names = {id(leaf): name for name, leaf in leaves.items()}
    squares = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}

    def see(call: LinearMap) -> Tensor:
        # Every map before it was cut: what its inputs still depend on was used otherwise.
        refuse_other_uses(call.inputs, leaves)
        leaf = source(call.weight)
        if leaf is None or id(leaf) not in names:
            return call.output()
        weight = call.weight.detach().requires_grad_()
        # A map is linear in its weight: the slope is the sum of what each weight meets.
        met = torch.autograd.grad(call.apply(call.inputs.square(), weight).sum(), weight)[0]
        if call.weight is not leaf:  # each number of it goes back to its place in the leaf
            met = torch.autograd.grad(call.weight, leaf, met, retain_graph=True)[0]
        squares[names[id(leaf)]] += met
        return call.cut().output()

    with torch.enable_grad(), Interpreter(see, attached):
        output = forward(leaves, inputs)
    refuse_other_uses(output, leaves)
    return squares
