"""Layerwise relevance propagation through linear maps."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pruners.maps import LinearMap


def rule(epsilon: float, alpha: float | None) -> Callable[[LinearMap], Tensor]:
    """What to do at each linear map, so that a backward pass carries relevance (Bach et al. 2015).

    With z_j = Σ_i x_i w_ij + b_j, the share of input i in the relevance of output j is x_i w_ij / z_j, z_j
    kept from 0 by epsilon (the ε rule); or, given alpha, α of its share in the positive parts less α − 1 of
    its share in the negative parts (the αβ rule). Biases keep their share to themselves.

    A slope s stands for the relevance z·s of the tensor z it belongs to. So whatever lies between linear maps
    passes it on by its own derivative, which is the rule for ReLU, pooling, reshapes and additions, and an
    approximation of first order for other activations and for gates.
    """
    return lambda call: _Map.apply(call.inputs, call.weight, call.bias, call.apply, epsilon, alpha)


class _Map(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        apply: Callable[..., Tensor],
        epsilon: float,
        alpha: float | None,
    ) -> Tensor:
        ctx.save_for_backward(inputs, weight, bias)
        ctx.map, ctx.epsilon, ctx.alpha = apply, epsilon, alpha
        return apply(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, bias = ctx.saved_tensors
        # Along the last dimension of a linear layer's output, and along the channels of a convolution's.
        constant = weight.new_zeros(1) if bias is None else bias.view(-1, *[1] * (weight.dim() - 2))
        x, w = inputs.detach().requires_grad_(), weight.detach().requires_grad_()
        with torch.enable_grad():
            whole = ctx.map(x, w)
            output = whole.detach() + constant
            relevance = slope * output
            if ctx.alpha is None:
                shared = whole * (relevance / _away_from_zero(output, ctx.epsilon))
            else:
                positive = ctx.map(x.clamp(min=0), w.clamp(min=0)) + ctx.map(x.clamp(max=0), w.clamp(max=0))
                negative = ctx.map(x.clamp(min=0), w.clamp(max=0)) + ctx.map(x.clamp(max=0), w.clamp(min=0))
                above = positive.detach() + constant.clamp(min=0) + ctx.epsilon
                below = negative.detach() + constant.clamp(max=0) - ctx.epsilon
                shared = positive * (ctx.alpha * relevance / above)
                shared = shared - negative * ((ctx.alpha - 1) * relevance / below)
            slopes = torch.autograd.grad(shared.sum(), (x, w))
        return *slopes, None, None, None, None


def _away_from_zero(tensor: Tensor, epsilon: float) -> Tensor:
    return tensor + epsilon * torch.where(tensor >= 0, 1.0, -1.0)
