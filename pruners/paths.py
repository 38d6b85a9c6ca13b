"""Effective masks: the kept weights that lie on a path from an input to an output."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
_NORMALIZATION = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
# Modules through which a live unit stays live, element by element.
_TRANSPARENT = (
    *_NORMALIZATION,
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Hardtanh),
    *(nn.Identity, nn.Dropout, nn.Dropout2d),
)
# Modules without weights that are run as they are: live units go in, live units come out.
_MOVING = (nn.Flatten, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def effective_masks(
    model: nn.Module, masks: Mapping[str, Tensor], example_input: Tensor
) -> dict[str, Tensor]:
    """The masks less the weights through which no signal can pass (Vysogorets & Kempe 2023).

    A kept weight is effective if its input unit can be reached from an input of the network and its output
    unit reaches an output, both along kept weights. Biases do not count as inputs. The network is run once
    forwards and once backwards on 0/1 signals: layers as their masks, normalization and activations as the
    identity, max pooling as average pooling, residual additions and reshapes as they are. Functions that
    `forward` calls without a module are run as they are too: right for ReLU, additions, reshapes and average
    pooling, wrong for functional max pooling and softmax, which must be modules here.

    Args:
        example_input: one batch, of which only the shape matters; one sample is enough.

    Raises:
        ValueError: a module of the model is of a type for which this is not worked out.
    """
    state = {name: buffer.double() for name, buffer in model.named_buffers() if buffer.is_floating_point()}
    handles = []
    leaves = {name: mask.detach().double().requires_grad_() for name, mask in masks.items()}
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        canonical = {id(parameter): name for name, parameter in model.named_parameters()}
        for prefix, module in model.named_modules():
            for leaf, parameter in module.named_parameters(recurse=False):
                # Unmasked weights are all kept; biases are no paths. A shared weight has one name.
                name = canonical[id(parameter)]
                if name not in state or (isinstance(module, _WEIGHTED) and leaf == "weight"):
                    whole = isinstance(module, _WEIGHTED) and leaf == "weight"
                    state[name] = torch.full_like(parameter, float(whole), dtype=torch.float64)
            if hook := _hook(prefix, module):
                handles.append(module.register_forward_hook(hook))
        signal = torch.ones_like(example_input[:1], dtype=torch.float64)
        with torch.enable_grad():
            output = functional_call(model, {**state, **leaves}, (signal,))
            reached = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return {
        name: masks[name] & (gradient > 0) if gradient is not None else torch.zeros_like(masks[name])
        for name, gradient in zip(leaves, reached, strict=True)
    }


def _hook(name: str, module: nn.Module) -> Any:
    """What to do with a module's output, or None for containers, whose code runs as it is."""
    if isinstance(module, _WEIGHTED):
        return lambda module, args, output: _Live.apply(output)
    if isinstance(module, _TRANSPARENT):
        return lambda module, args, output: args[0]
    if isinstance(module, nn.MaxPool2d):
        return lambda module, args, output: _Live.apply(
            nn.functional.avg_pool2d(
                args[0], module.kernel_size, module.stride, module.padding, module.ceil_mode
            )
        )
    if isinstance(module, _MOVING) or any(True for _ in module.children()):
        return None
    if not any(True for _ in module.parameters(recurse=False)) and type(module).forward is nn.Module.forward:
        return None
    raise ValueError(f"effective masks are not worked out for {type(module).__name__} (module {name!r})")


class _Live(torch.autograd.Function):
    """1 where a signal arrives, forwards and backwards: paths are found, not counted, so none overflows."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor) -> Tensor:
        return (signal > 0).to(signal.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient > 0).to(gradient.dtype)
