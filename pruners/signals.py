"""The rules of 0/1 signals: what each function of torch does to a tensor that is 1 where a signal arrives."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _Alive(torch.autograd.Function):
    """1 where a signal arrives, forwards and backwards: paths are not counted, so no number overflows."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor) -> Tensor:
        return (signal > 0).to(signal.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient > 0).to(gradient.dtype)


def alive(signal: Tensor) -> Tensor:
    """1 where the signal, and in the backward pass the gradient, is above 0."""
    result: Tensor = _Alive.apply(signal)
    return result


def tensors(args: Sequence[Any]) -> list[Tensor]:
    """The tensors among the arguments; a number that scales or shifts one changes no path."""
    return [each for each in args if isinstance(each, Tensor)]


def either(first: Tensor, *others: Tensor) -> Tensor:
    """A path along any of the signals is a path."""
    return sum(others, first)


def both(first: Tensor, *others: Tensor) -> Tensor:
    """A path needs all of the signals that are multiplied, as a gated unit needs its gate."""
    for other in others:
        first = first * other
    return first


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *args: Any,
    mask_or_dense: Callable[[Tensor], Tensor],
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """All heads of `nn.MultiheadAttention`, whose input projection mixes all features of a position.

    Args:
        args: further arguments of `F.multi_head_attention_forward`, as are `kwargs`.
        mask_or_dense: a weight → its mask, or ones.
    """
    weight = args[8] if len(args) > 8 else kwargs["out_proj_weight"]
    mixed = query.sum(-1, keepdim=True) + key.sum((0, -1), keepdim=True) + value.sum((0, -1), keepdim=True)
    return alive(F.linear(mixed.expand_as(query), mask_or_dense(weight))), None


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """Every position reads the values of all positions, through queries and keys that see all features."""
    attended = query.sum(-1, keepdim=True) + key.sum((-2, -1), keepdim=True)
    return attended + value.sum(-2, keepdim=True)


def _max(signal: Tensor, *args: Any, **kwargs: Any) -> Any:
    """`torch.max` over all, over a dimension (with the indices), or of two tensors: a sum of signals."""
    if args and isinstance(args[0], Tensor):
        return signal + args[0]
    if not args and not kwargs:
        return signal.sum()
    return torch.return_types.max((signal.sum(*args, **kwargs), signal.argmax(*args, **kwargs)))


def _embedding(tokens: Tensor, weight: Tensor, *_: Any, **__: Any) -> Tensor:
    """A token reaches every number of its embedding, which no mask prunes."""
    return tokens.unsqueeze(-1).expand(*tokens.shape, weight.shape[-1])


def _max_pool(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def average(
        inputs: Tensor, size: Any, stride: Any = None, padding: Any = 0, *_: Any, **options: Any
    ) -> Tensor:
        if options.get("dilation", 1) not in (1, (1, 1)) or options.get("return_indices"):
            raise ValueError("effective masks are not worked out for dilated max pooling or its indices")
        stride, padding = options.get("stride", stride), options.get("padding", padding)
        return pool(inputs, size, stride, padding, options.get("ceil_mode", False))

    return average


def _adaptive_max_pool(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def average(inputs: Tensor, size: Any, return_indices: bool = False) -> Tensor:
        if return_indices:
            raise ValueError("effective masks are not worked out for the indices of max pooling")
        return pool(inputs, size)

    return average


# Functions are named as `Interpreter` names them: without underscores, in place or not.
WHOLE = ("multi_head_attention_forward",)
CONSTANTS = {"arange", "linspace"}  # made of numbers alone
SCALING = {"mul", "rmul", "truediv", "div", "neg", "abs"}
SUMS = {"add", "iadd", "radd", "sub", "isub", "rsub"}
PRODUCTS = {"mul", "imul", "rmul", "truediv", "itruediv", "div", "addcmul"}
RULES: dict[str, Callable[..., Any]] = {
    "max_pool1d": _max_pool(F.avg_pool1d),
    "max_pool2d": _max_pool(F.avg_pool2d),
    "max_pool3d": _max_pool(F.avg_pool3d),
    "adaptive_max_pool1d": _adaptive_max_pool(F.adaptive_avg_pool1d),
    "adaptive_max_pool2d": _adaptive_max_pool(F.adaptive_avg_pool2d),
    "max": _max,
    "amax": lambda signal, dim=(), keepdim=False: signal.sum(dim, keepdim),
    "scaled_dot_product_attention": _attention,
    "embedding": _embedding,
}
# A unit with a signal keeps it, element by element.
IDENTITY = {
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
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "softplus",
    "softmax",
    "log_softmax",
    "clamp",
    "abs",
    "neg",
    "batch_norm",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "local_response_norm",
    "rms_norm",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_dropout",
}
# Called unchanged: sums and means, and functions that only move or inspect signals.
PLAIN = {
    "sum",
    "mean",
    "cat",
    "concat",
    "stack",
    "chunk",
    "split",
    "unbind",
    "getitem",
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
    "squeeze",
    "unsqueeze",
    "expand",
    "expand_as",
    "repeat",
    "narrow",
    "select",
    "roll",
    "flip",
    "pad",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "interpolate",
    "upsample",
    "pixel_shuffle",
    "clone",
    "to",
    "float",
    "type_as",
    "detach",
    "set_grad_enabled",
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
}
