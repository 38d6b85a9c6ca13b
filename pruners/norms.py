"""The squared size of the inputs that each weight of a network is multiplied with."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pruners.forward import Forward
from pruners.linear_maps import Interpreter, LinearMap, keep_graph, leaf_of, refuse_other_uses


def squared_inputs(forward: Forward, leaves: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    """Parameter name → Σ x² for each weight, over the inputs x it is multiplied with.

    The sum runs over all samples, positions and uses of the weight.

    Args:
        forward: parameters and inputs → outputs of the network.
        leaves: the parameters, requiring gradients.

    Raises:
        ValueError: one use of a weight is not a linear map or convolution with it or its transpose.
    """
    names = {id(leaf): name for name, leaf in leaves.items()}
    squares = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}

    def add_squares(call: LinearMap) -> Tensor:
        # Earlier maps detached their weights: a weight that the inputs still depend on was used otherwise.
        refuse_other_uses(call.inputs, leaves)
        leaf = leaf_of(call.weight)
        if leaf is None or id(leaf) not in names:
            return call.output()
        weight = call.weight.detach().requires_grad_()
        # A map is linear in its weight: for squared inputs, the gradient of its summed output is Σ x².
        slope = torch.autograd.grad(call.apply(call.inputs.square(), weight).sum(), weight)[0]
        if call.weight is not leaf:  # back into the order of the leaf
            slope = torch.autograd.grad(call.weight, leaf, slope, retain_graph=True)[0]
        squares[names[id(leaf)]] += slope
        return call.cut().output()

    with torch.enable_grad(), Interpreter(add_squares, keep_graph):
        output = forward(leaves, inputs)
    refuse_other_uses(output, leaves)
    return squares
