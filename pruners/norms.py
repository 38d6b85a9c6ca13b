"""What each weight of a network meets: the size of its inputs, and their spread beside that of its output."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pruners.forward import Forward
from pruners.linear_maps import Interpreter, LinearMap, keep_graph, leaf_of, refuse_other_uses

# A window whose variance is this share of its mean square, or less, is constant but for rounding.
_CONSTANT = 1e-12


def squared_inputs(forward: Forward, leaves: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    """Parameter name → Σ x² for each weight, over the inputs x it is multiplied with.

    The sum runs over all samples, positions and uses of the weight.

    Args:
        forward: parameters and inputs → outputs of the network.
        leaves: the parameters, requiring gradients.

    Raises:
        ValueError: one use of a weight is not a linear map or convolution with it or its transpose.
    """

    def squares(name: str, call: LinearMap) -> Tensor:
        weight = call.weight.detach().requires_grad_()
        # A map is linear in its weight: for squared inputs, the gradient of its summed output is Σ x².
        return torch.autograd.grad(call.apply(call.inputs.square(), weight).sum(), weight)[0]

    return _over_uses(forward, leaves, inputs, squares)


def spread_ratios(forward: Forward, leaves: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    """Parameter name → Σ σ(output) / σ(window) of the filter that each weight is of, by the filter's size.

    The sum runs over all positions and uses of the filter. σ(output) is the standard deviation of its output
    at one position, over the samples. σ(window) is that of all inputs which the output is made of there, of
    all samples, zeros of the padding included. A constant window counts as 0.

    Args:
        forward: parameters and inputs → outputs of the network.
        leaves: the parameters, requiring gradients.

    Raises:
        ValueError: as `squared_inputs`, or a layer is a transposed convolution, or there is one sample alone.
    """
    if len(inputs) < 2:
        raise ValueError("it takes the spread over the samples of a batch: give at least two in each batch")

    def ratios(name: str, call: LinearMap) -> Tensor:
        if "transpose" in call.function:
            raise ValueError(f"layer {name} is a transposed convolution, which has no windows: exclude it")
        ratio = _output_spread(call) / _window_spread(call).repeat_interleave(
            len(call.weight) // call.geometry.get("groups", 1), 0
        )
        size = call.weight[0].numel()
        return (ratio.sum(1) / size).view(-1, *[1] * (call.weight.dim() - 1)).expand(call.weight.shape)

    return _over_uses(forward, leaves, inputs, ratios)


def _output_spread(call: LinearMap) -> Tensor:
    """σ over the samples of each output at each position, (outputs, positions), in float64."""
    output = call.apply(call.inputs, call.weight.detach()).detach().double()
    return _by_channel(output, call).std(0, correction=0)


def _window_spread(call: LinearMap) -> Tensor:
    """σ of the inputs of a group's outputs at each position, (groups, positions); ∞ where constant."""
    groups, kernel = call.geometry.get("groups", 1), call.weight.shape[1:]
    ones = call.weight.new_ones((groups, *kernel), dtype=torch.float64)
    inputs = call.inputs.detach().double()
    # With weights of 1 a map adds up its window.
    mean, square = (
        _by_channel(call.apply(values, ones), call).mean(0) / kernel.numel()
        for values in (inputs, inputs.square())
    )
    variance = square - mean.square()
    return variance.masked_fill(variance <= _CONSTANT * square, torch.inf).sqrt()


def _by_channel(output: Tensor, call: LinearMap) -> Tensor:
    """The outputs of a map as (samples, channels, positions)."""
    channels_first = output.movedim(-1, 1) if call.function == "linear" else output
    return channels_first.reshape(*channels_first.shape[:2], -1)


def _over_uses(
    forward: Forward,
    leaves: Mapping[str, Tensor],
    inputs: Tensor,
    of_use: Callable[[str, LinearMap], Tensor],
) -> dict[str, Tensor]:
    """Parameter name → the sum over the uses of the weight.

    Args:
        of_use: name and linear map → numbers of the shape of the map's weight.
    """
    names = {id(leaf): name for name, leaf in leaves.items()}
    sums = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}

    def add(call: LinearMap) -> Tensor:
        # Earlier maps detached their weights: a weight that the inputs still depend on was used otherwise.
        refuse_other_uses(call.inputs, leaves)
        leaf = leaf_of(call.weight)
        if leaf is None or id(leaf) not in names:
            return call.output()
        numbers = of_use(names[id(leaf)], call).to(leaf.dtype)
        if call.weight is not leaf:  # back into the order of the leaf
            numbers = torch.autograd.grad(call.weight, leaf, numbers, retain_graph=True)[0]
        sums[names[id(leaf)]] += numbers
        return call.cut().output()

    with torch.enable_grad(), Interpreter(add, keep_graph):
        output = forward(leaves, inputs)
    refuse_other_uses(output, leaves)
    return sums
