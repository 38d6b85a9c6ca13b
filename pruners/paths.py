"""Effective masks: the kept weights that lie on a path from an input to an output."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pruners.maps import Interpreter, LinearMap, attached, in_mode, run, source, tensor


def effective_masks(
    model: nn.Module, masks: Mapping[str, Tensor], example_input: Tensor
) -> dict[str, Tensor]:
    """The masks less the weights through which no signal can pass (Vysogorets & Kempe 2023).

    A kept weight is effective if its input unit can be reached from an input of the network and its output
    unit reaches an output, both along kept weights. Biases and other constants do not count as inputs. The
    network is run once forwards and once backwards on 0/1 signals: linear maps as their masks (LSTM and GRU
    step by step), normalization, activations and gates as the identity, products as additions, max pooling as
    average pooling, attention as a mean over positions.

    Args:
        example_input: one batch, of which only the shape matters; one sample is enough.

    Raises:
        ValueError: the network calls a function for which this is not worked out; the message names it. Or it
            computes with a masked weight otherwise than in linear maps and convolutions, as standardization
            does; the message names the layer. Or a mask belongs to no parameter.
    """
    return reached(model, masks, example_input, _either)


@torch.inference_mode(False)
def reached(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    example_input: Tensor,
    product: Callable[[Any, Any], Any],
) -> dict[str, Tensor]:
    """The same with another rule for what passes where two signals are multiplied."""
    parameters = dict(model.named_parameters())
    for name in masks:
        if name not in parameters or parameters[name].shape != masks[name].shape:
            raise ValueError(f"mask {name} fits no parameter of {type(model).__name__}")
    # In the network's own precision, for the sake of tensors that it makes itself.
    kind = next(iter(parameters.values())).dtype
    state = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    state |= {name: torch.zeros_like(b) for name, b in model.named_buffers() if b.is_floating_point()}
    leaves = {name: mask.detach().to(kind).requires_grad_() for name, mask in masks.items()}
    masked = {id(leaf): name for name, leaf in leaves.items()}

    def layers(values: object) -> list[str]:
        """Of which layers there are masks among the values, as they are or rearranged."""
        found = (source(each) for each in tree_leaves(values) if isinstance(each, Tensor))
        return [masked[id(leaf)] for leaf in found if id(leaf) in masked]

    def kept(weight: Tensor) -> Tensor:
        return weight if layers(weight) else torch.ones_like(weight)

    def through(call: LinearMap) -> Tensor:
        if used := layers((call.inputs, call.bias)):
            raise _unknown(call.function, used)
        live: Tensor = _Live.apply(call.apply(call.inputs, kept(call.weight)))
        return live

    def between(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        used = layers((args, kwargs))
        if not used or name in whole:
            return passed(name, func, args, kwargs)
        # A mask that is rearranged, or scaled by a number, is a mask still.
        alone = len(_signals(tree_leaves((args, kwargs)))) == 1
        if name not in _PLAIN and not (name in _SCALING and alone):
            raise _unknown(name, used)
        result = passed(name, func, args, kwargs)
        made = [each for each in _signals(tree_leaves(result)) if each.requires_grad]
        if len(layers(made)) < len(made):
            raise _unknown(name, used)
        return result

    def passed(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in _PLAIN:
            return attached(name, func, args, kwargs)
        if name in _IDENTITY:
            given = args[0]
        elif name in _SUMS:
            given = _either(*_signals(args))
        elif name in _PRODUCTS:
            given = product(*_signals(args))
        elif name == "multi_head_attention_forward":
            return _multi_head(*args, **kwargs, kept=kept)
        elif name in _RULES:
            return _RULES[name](*args, **kwargs)
        else:
            raise ValueError(f"effective masks are not worked out for networks that call the function {name}")
        if func.__name__.endswith("_") or func.__name__.startswith("__i"):
            return args[0].copy_(given)  # the tensor itself, as others see it
        return given.clone() if given is args[0] else given

    signal = torch.ones_like(example_input[:1], dtype=kind)
    whole = ("multi_head_attention_forward",)
    # Without cuDNN, whose cells look where their weights lie, and whose convolutions may leave a little where
    # there is nothing.
    with (
        in_mode(model, train=False),
        torch.enable_grad(),
        torch.backends.cudnn.flags(enabled=False),
    ):
        with Interpreter(through, between, whole):
            output = tensor(run(model, {**state, **leaves}, signal))
        # No weight with a mask may come before the output at all.
        slopes = (
            torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
            if output.requires_grad
            else [None] * len(leaves)
        )
    return {
        name: masks[name] & (slope > 0) if slope is not None else torch.zeros_like(masks[name])
        for name, slope in zip(leaves, slopes, strict=True)
    }


def _unknown(function: str, used: Sequence[str]) -> ValueError:
    return ValueError(
        f"effective masks are not worked out where {function} computes with the weight of layer {used[0]}"
    )


class _Live(torch.autograd.Function):
    """1 where a signal arrives, forwards and backwards: paths are found, not counted, so none overflows."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor) -> Tensor:
        return (signal > 0).to(signal.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient > 0).to(gradient.dtype)


def _signals(args: Sequence[Any]) -> list[Tensor]:
    """The tensors that meet; a number that scales or shifts one changes no path."""
    return [each for each in args if isinstance(each, Tensor)]


def _either(first: Tensor, *others: Tensor) -> Tensor:
    """A path along any of the signals is a path."""
    return sum(others, first)


def both(first: Tensor, *others: Tensor) -> Tensor:
    """A path needs all of the signals that are multiplied: for what cannot do without its gate."""
    for other in others:
        first = first * other
    return first


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


def _multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *args: Any,
    kept: Callable[[Tensor], Tensor],
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """All heads of `nn.MultiheadAttention`, whose input projection mixes all features of a position."""
    weight = args[8] if len(args) > 8 else kwargs["out_proj_weight"]
    mixed = query.sum(-1, keepdim=True) + key.sum((0, -1), keepdim=True) + value.sum((0, -1), keepdim=True)
    return _Live.apply(F.linear(mixed.expand_as(query), kept(weight))), None


def _max(signal: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Largest of all, of a dimension (with where it is), or of two tensors: whichever lives."""
    if args and isinstance(args[0], Tensor):
        return signal + args[0]
    if not args and not kwargs:
        return signal.sum()
    return torch.return_types.max((signal.sum(*args, **kwargs), signal.argmax(*args, **kwargs)))


def _adaptive_max_pool(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def average(inputs: Tensor, size: Any, return_indices: bool = False) -> Tensor:
        if return_indices:
            raise ValueError("effective masks are not worked out for the indices of max pooling")
        return pool(inputs, size)

    return average


_SCALING = {"mul", "rmul", "truediv", "div", "neg", "abs"}
_SUMS = {"add", "iadd", "radd", "sub", "isub", "rsub"}
_PRODUCTS = {"mul", "imul", "rmul", "truediv", "itruediv", "div", "addcmul"}
_RULES: dict[str, Callable[..., Any]] = {
    "max_pool1d": _max_pool(F.avg_pool1d),
    "max_pool2d": _max_pool(F.avg_pool2d),
    "max_pool3d": _max_pool(F.avg_pool3d),
    "adaptive_max_pool1d": _adaptive_max_pool(F.adaptive_avg_pool1d),
    "adaptive_max_pool2d": _adaptive_max_pool(F.adaptive_avg_pool2d),
    "max": _max,
    "amax": lambda signal, dim=(), keepdim=False: signal.sum(dim, keepdim),
    "scaled_dot_product_attention": _attention,
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
    *("sum", "mean", "cat", "concat", "stack", "chunk", "split", "unbind", "getitem"),
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
    *("detach", "set_grad_enabled"),
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
