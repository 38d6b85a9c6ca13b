"""Effective masks: the kept weights that lie on a path from an input to an output."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruners.maps import Interpreter, LinearMap, run


def effective_masks(
    model: nn.Module, masks: Mapping[str, Tensor], example_input: Tensor
) -> dict[str, Tensor]:
    """The masks less the weights through which no signal can pass (Vysogorets & Kempe 2023).

    A kept weight is effective if its input unit can be reached from an input of the network and its output
    unit reaches an output, both along kept weights. Biases do not count as inputs. The network is run once
    forwards and once backwards on 0/1 signals: linear maps as their masks (LSTM and GRU step by step),
    normalization, activations and gates as the identity, products as additions, max pooling as average
    pooling, attention as a mean over positions.

    Args:
        example_input: one batch, of which only the shape matters; one sample is enough.

    Raises:
        ValueError: the network calls a function for which this is not worked out; the message names it.
    """
    state = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in model.named_parameters()}
    state |= {name: b.double() for name, b in model.named_buffers() if b.is_floating_point()}
    leaves = {name: mask.detach().double().requires_grad_() for name, mask in masks.items()}
    masked = {id(leaf) for leaf in leaves.values()}
    modes = {module: module.training for module in model.modules()}
    signal = torch.ones_like(example_input[:1], dtype=torch.float64)
    try:
        model.eval()
        with torch.enable_grad(), Interpreter(lambda call: _through(call, masked), _between):
            output = run(model, {**state, **leaves}, signal)
        reached = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
    finally:
        for module, training in modes.items():
            module.training = training
    return {
        name: masks[name] & (gradient > 0) if gradient is not None else torch.zeros_like(masks[name])
        for name, gradient in zip(leaves, reached, strict=True)
    }


def _through(call: LinearMap, masked: set[int]) -> Tensor:
    # A weight without a mask is all kept.
    weight = call.weight if id(call.weight) in masked else torch.ones_like(call.weight)
    live: Tensor = _Live.apply(call.apply(call.inputs, weight))
    return live


def _between(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if name in _PLAIN:
        return func(*args, **kwargs)
    if name in _IDENTITY:
        return args[0]
    if name in _RULES:
        return _RULES[name](*args, **kwargs)
    raise ValueError(f"effective masks are not worked out for networks that call the function {name}")


class _Live(torch.autograd.Function):
    """1 where a signal arrives, forwards and backwards: paths are found, not counted, so none overflows."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor) -> Tensor:
        return (signal > 0).to(signal.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient > 0).to(gradient.dtype)


def _sum(first: Any, second: Any, **_: Any) -> Any:
    """Two signals meet; a number that scales or shifts one changes no path."""
    signals = [each for each in (first, second) if isinstance(each, Tensor)]
    return signals[0] if len(signals) == 1 else signals[0] + signals[1]


def _max_pool(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def average(
        inputs: Tensor, size: Any, stride: Any = None, padding: Any = 0, *_: Any, **given: Any
    ) -> Tensor:
        if given.get("dilation", 1) not in (1, (1, 1)) or given.get("return_indices"):
            raise ValueError("effective masks are not worked out for dilated max pooling or its indices")
        return pool(inputs, size, given.get("stride", stride), given.get("padding", padding),
                    given.get("ceil_mode", False))  # fmt: skip

    return average


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """Every position reads every other's value, through queries and keys that look at all features."""
    looked_at = query.sum(-1, keepdim=True) + key.sum((-2, -1), keepdim=True)
    return looked_at + value.sum(-2, keepdim=True)


def _multi_head(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    """All heads of `nn.MultiheadAttention`, whose input projection mixes all features of a position."""
    weight = args[8] if len(args) > 8 else kwargs["out_proj_weight"]
    mixed = query.sum(-1, keepdim=True) + sum(each.sum((0, -1), keepdim=True) for each in (key, value))
    return _Live.apply(F.linear(mixed.expand_as(query), weight)), None


_RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("mul", "imul", "rmul", "sub", "isub", "rsub", "truediv", "div", "addcmul"), _sum),
    "max_pool1d": _max_pool(F.avg_pool1d),
    "max_pool2d": _max_pool(F.avg_pool2d),
    "max_pool3d": _max_pool(F.avg_pool3d),
    "adaptive_max_pool1d": F.adaptive_avg_pool1d,
    "adaptive_max_pool2d": F.adaptive_avg_pool2d,
    "max": lambda signal, *dim, **given: signal.sum(*dim, **given),
    "amax": lambda signal, *dim, **given: signal.sum(*dim, **given),
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head,
}
# A live unit stays live, element by element.
_IDENTITY = {
    *(
        "relu",
        "relu6",
        "leaky_relu",
        "prelu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "tanh",
        "sigmoid",
    ),
    *("hardtanh", "hardswish", "hardsigmoid", "softplus", "softmax", "log_softmax", "clamp", "abs", "neg"),
    *("batch_norm", "layer_norm", "group_norm", "instance_norm", "local_response_norm", "rms_norm"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"),
}
# Functions of 0/1 signals that are what they are: sums, means, and what only moves or looks at them.
_PLAIN = {
    *("add", "iadd", "radd", "sum", "mean", "cat", "concat", "stack", "chunk", "split", "unbind", "getitem"),
    *(
        "view",
        "view_as",
        "reshape",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "t",
        "movedim",
        "contiguous",
    ),
    *("squeeze", "unsqueeze", "expand", "expand_as", "repeat", "narrow", "select", "roll", "flip", "pad"),
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"),
    *("adaptive_avg_pool3d", "interpolate", "upsample", "pixel_shuffle", "clone", "to", "float", "type_as"),
    *(
        "zeros",
        "zeros_like",
        "new_zeros",
        "get",
        "size",
        "dim",
        "numel",
        "len",
        "is_contiguous",
        "stride",
        "assert",
    ),
}
