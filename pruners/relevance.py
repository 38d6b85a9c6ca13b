"""Layerwise relevance propagation through linear maps."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pruners.forward import Forward, single_tensor
from pruners.gradients import slopes
from pruners.linear_maps import Interpreter, LinearMap


def weight_relevance(
    forward: Forward,
    leaves: Mapping[str, Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    epsilon: float,
    alpha: float | None,
) -> dict[str, Tensor]:
    """Parameter name → relevance of each weight for the outputs of the true classes, summed over the samples.

    Args:
        forward: parameters and inputs → outputs of the network.
        leaves: the parameters, requiring gradients.
        targets: numbers of the true classes, (N,).
        epsilon, alpha: as for `rule`.

    Raises:
        ValueError: the targets are not the numbers of classes, or the network gives no output for each.
    """
    with Interpreter(rule(epsilon, alpha)):
        outputs = single_tensor(forward(leaves, inputs))
    if targets.shape != outputs.shape[:1] or targets.is_floating_point():
        raise ValueError("it needs the numbers of the true classes as targets, and an output for each class")
    if not 0 <= targets.min() <= targets.max() < outputs.shape[1]:
        raise ValueError(f"it needs targets from 0 to {outputs.shape[1] - 1}, an output's number each")
    total = outputs.gather(1, targets.unsqueeze(1)).sum()
    gradients = slopes(total, list(leaves.values()))
    return {name: leaf * slope for (name, leaf), slope in zip(leaves.items(), gradients, strict=True)}


def rule(epsilon: float, alpha: float | None) -> Callable[[LinearMap], Tensor]:
    """A replacement for each linear map that makes the backward pass carry relevance (Bach et al. 2015).

    With z_j = Σ_i x_i w_ij + b_j, input i gets the share x_i w_ij / z_j of the relevance of output j. The
    ε rule keeps z_j away from 0 by epsilon. The αβ rule, used where alpha is given, adds α of the share among
    the positive terms and subtracts α − 1 of the share among the negative ones. The share of a bias is not
    passed on.

    A gradient s at a tensor z stands for the relevance z·s. So a function between linear maps passes
    relevance on by its own derivative. This is the exact rule for ReLU, pooling, reshapes and additions, and
    a first-order approximation for other activations and for gates.

    Returns:
        Linear map → its output.
    """
    return lambda call: _Map.apply(call.inputs, call.weight, call.bias, _Rule(call.apply, epsilon, alpha))


class _Rule(NamedTuple):
    apply: Callable[..., Tensor]
    epsilon: float
    alpha: float | None


class _Map(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, rule: _Rule) -> Tensor:
        ctx.save_for_backward(inputs, weight, bias)
        ctx.rule = rule
        return rule.apply(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, bias = ctx.saved_tensors
        apply, epsilon, alpha = ctx.rule
        # Shaped to add to the last dimension of a linear layer's output, or to a convolution's channels.
        constant = weight.new_zeros(1) if bias is None else bias.view(-1, *[1] * (weight.dim() - 2))
        x, w = inputs.detach().requires_grad_(), weight.detach().requires_grad_()
        with torch.enable_grad():
            product = apply(x, w)
            output = product.detach() + constant
            relevance = slope * output
            if alpha is None:
                shared = product * (relevance / _away_from_zero(output, epsilon))
            else:
                positive = apply(x.clamp(min=0), w.clamp(min=0)) + apply(x.clamp(max=0), w.clamp(max=0))
                negative = apply(x.clamp(min=0), w.clamp(max=0)) + apply(x.clamp(max=0), w.clamp(min=0))
                above = positive.detach() + constant.clamp(min=0) + epsilon
                below = negative.detach() + constant.clamp(max=0) - epsilon
                shared = positive * (alpha * relevance / above)
                shared = shared - negative * ((alpha - 1) * relevance / below)
            slopes = torch.autograd.grad(shared.sum(), (x, w))
        return *slopes, None, None


def _away_from_zero(tensor: Tensor, epsilon: float) -> Tensor:
    return tensor + epsilon * torch.where(tensor >= 0, 1.0, -1.0)
