"""The rules of labels for functions that compute numbers, and the table of all rules."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from pruners import label_maps, label_moves
from pruners.channels import Channels, Function, first_of, given


def _elementwise(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    """Sums, products and the like: what is computed from one element of each argument."""
    tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
    own = [each for each in tensors if channels.labelled(each)] if channels.positions else tensors
    result, *parts = map(channels.labels, own)
    for part in parts:
        result = channels.joined(result, part)
    for each in tensors:
        if not any(each is other for other in own):
            result = result.expand(torch.broadcast_shapes(result.shape, each.shape))
            channels.classes.demand_same(
                result, (-dim for dim in range(1, each.dim() + 1) if each.shape[-dim] > 1)
            )
    return result.clone()


def _identity(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    return channels.labels(args[0] if args else kwargs["input"]).clone()


def _prelu(channels: Channels, function: Function, inputs: Any, weight: Tensor) -> Tensor:
    labels = channels.labels(inputs)
    if weight.numel() > 1:
        channels.along(weight, first_of(labels, 1))
    return labels.clone()


def _by_channel(names: str) -> Function:
    """Normalization of each channel by itself, with these parameters and statistics of channels."""

    def rule(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        inputs, *vectors = given(f"input {names}", args, kwargs)
        labels = channels.labels(inputs)
        channels.classes.demand_same(labels, range(2, labels.dim()))
        for vector in vectors:
            channels.along(vector, first_of(labels, 1))
        return labels.clone()

    return rule


def _group_norm(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    """Channels that are normalized together go together; all channels together never go."""
    inputs, groups, weight, bias = given("input num_groups weight bias", args, kwargs)
    labels = channels.labels(inputs)
    lines = first_of(labels, 1)
    channels.classes.demand_same(labels, range(2, labels.dim()))
    channels.classes.unite(lines.view(groups, -1), lines.view(groups, -1)[:, :1])
    if weight is None or groups == 1:
        channels.classes.fix(lines)  # without a scale nothing would say how many groups are left
    for vector in (weight, bias):
        channels.along(vector, lines)
    return labels.clone()


def _layer_norm(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    """A mean and a variance over channels: those channels never go."""
    inputs, shape = given("input normalized_shape", args, kwargs)
    labels = channels.labels(inputs)
    channels.classes.demand_same(labels, range(labels.dim() - len(shape), labels.dim()))
    return labels.clone()


def _over(names: str, default: int | None = None) -> Function:
    """Functions that keep the shape but look at all positions of a dimension, such as softmax."""

    def rule(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        inputs, *_, dim = given(names, args, kwargs)
        labels = channels.labels(inputs)
        dim = default if dim is None else dim
        dims = range(labels.dim()) if dim is None else dim if isinstance(dim, tuple | list) else (dim,)
        channels.classes.demand_same(labels, dims)
        return labels.clone()

    return rule


def _reduction(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Any:
    """Sums, means and largest values over dimensions, over all of them, or of two tensors."""
    names = _REDUCTION_ARGUMENTS.get(function.__name__, "input dim keepdim")
    found = dict(zip(names.split(), given(names, args, kwargs), strict=True))
    inputs, dim, keepdim = found["input"], found["dim"], found["keepdim"]
    if isinstance(dim, Tensor):
        return _elementwise(channels, function, *args)
    labels = channels.labels(inputs)
    dims = () if dim is None else tuple(dim) if isinstance(dim, tuple | list) else (dim,)
    dims = dims or tuple(range(labels.dim()))
    channels.classes.demand_same(labels, dims)
    result = labels.amax(dims, keepdim is True)
    if function.__name__ in ("max", "min") and dim is not None:
        kind = getattr(torch.return_types, function.__name__)
        return kind((result, torch.zeros(result.shape, dtype=torch.int64)))
    return result


def _local_response(channels: Channels, function: Function, inputs: Any, *_: Any, **__: Any) -> Tensor:
    labels = channels.labels(inputs)
    channels.classes.demand_same(labels, [1])
    return labels.clone()


def _positions(dims: int | None = None) -> Function:
    """Pooling and resizing: functions of the last dimensions; None: of all but batch and channels."""

    def rule(channels: Channels, function: Function, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        labels = channels.labels(inputs)
        space = labels.dim() - 2 if dims is None else dims
        channels.classes.demand_same(labels, range(labels.dim() - space, labels.dim()))
        first = labels
        for dim in range(labels.dim() - space, labels.dim()):
            first = first.narrow(dim, 0, 1)
        one = torch.zeros((1,) * (labels.dim() - space) + tuple(labels.shape[labels.dim() - space :]))
        outer = labels.shape[: labels.dim() - space]

        def spread(found: Tensor) -> Tensor:
            return first.expand(*outer, *found.shape[len(outer) :]).clone()

        return tree_map(spread, function(one, *args, **kwargs))

    return rule


_POOLS = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "lp_pool")
# Functions are named as `Interpreter` names them: without underscores, in place or not.
_IDENTITIES = """
    relu relu6 leaky_relu elu selu celu gelu silu mish tanh sigmoid logsigmoid hardtanh hardswish hardsigmoid
    hardshrink softshrink tanhshrink softsign softplus threshold rrelu abs neg
    exp expm1 log log1p log2 sqrt rsqrt square reciprocal sin cos erf sign round floor ceil
    nan_to_num zero fill
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
    contiguous clone detach to float double half bfloat16 type type_as cpu cuda alias requires_grad data
    zeros_like ones_like full_like empty_like rand_like randn_like
"""
_ELEMENTWISE = """
    add iadd radd sub isub rsub mul imul rmul truediv itruediv rtruediv div addcmul addcdiv lerp
    maximum minimum where copy masked_fill clamp clamp_min clamp_max clip pow rpow
    gt lt ge le eq ne logical_and logical_or logical_not
"""
_MOVES = """
    permute transpose t movedim moveaxis swapaxes swapdims squeeze unsqueeze expand expand_as broadcast_to
    repeat tile repeat_interleave flip fliplr flipud get atleast_2d atleast_3d
"""
_RESHAPES = "view view_as reshape reshape_as flatten unflatten ravel"
# Those of other reductions are the input, the dimension and whether to keep it.
_REDUCTION_ARGUMENTS = {
    "norm": "input p dim keepdim",
    "std": "input dim unbiased keepdim",
    "var": "input dim unbiased keepdim",
}
_REDUCTIONS = "sum mean amax amin max min std var logsumexp prod norm all any"
# Of tensors with labels these ask only for shapes and places.
_INSPECTIONS = """
    size dim ndimension numel nelement len stride is_contiguous is_floating_point is_complex element_size
    get_device new_zeros new_ones new_full new_empty new_tensor assert
    set_grad_enabled storage_offset is_pinned is_same_size
"""
INSPECTIONS = frozenset(_INSPECTIONS.split())
MOVES = set(
    f"{_MOVES} {_RESHAPES} chunk split tensor_split unbind getitem narrow select contiguous detach".split()
)
RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_IDENTITIES.split(), _identity),
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(_MOVES.split(), label_moves.move),
    **dict.fromkeys(_RESHAPES.split(), label_moves.reshape),
    **dict.fromkeys(_REDUCTIONS.split(), _reduction),
    **{f"{pool}{dims}d": _positions(dims) for pool in _POOLS for dims in (1, 2, 3)},
    **{f"{pool}{dims}d_with_indices": _positions(dims) for pool in _POOLS[::2] for dims in (1, 2, 3)},
    "interpolate": _positions(),
    "upsample": _positions(),
    "prelu": _prelu,
    "batch_norm": _by_channel("running_mean running_var weight bias"),
    "instance_norm": _by_channel("running_mean running_var weight bias"),
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    "local_response_norm": _local_response,
    "softmax": _over("input dim"),
    "log_softmax": _over("input dim"),
    "softmin": _over("input dim"),
    "cumsum": _over("input dim"),
    "normalize": _over("input p dim", 1),
    "matmul": label_maps.matmul,
    "rmatmul": lambda channels, function, second, first: label_maps.matmul(channels, function, first, second),
    "mm": label_maps.matmul,
    "spmm": label_maps.matmul,
    "bmm": label_maps.matmul,
    "addmm": label_maps.matmul,
    "baddbmm": label_maps.matmul,
    "scaled_dot_product_attention": label_maps.attention,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), label_maps.recurrent),
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "tensor_split"), label_moves.chunk),
    **dict.fromkeys(("narrow", "select", "index_select"), label_moves.selection),
    "unbind": label_moves.unbind,
    "getitem": label_moves.getitem,
    "setitem": label_moves.setitem,
    "roll": label_moves.roll,
    "glu": label_moves.glu,
    **dict.fromkeys(("cat", "concat", "concatenate"), label_moves.cat),
    "stack": label_moves.stack,
    "pad": label_moves.pad,
    "channel_shuffle": label_moves.channel_shuffle,
    "einsum": label_maps.einsum,
    "pixel_shuffle": label_moves.pixel_shuffle,
    "embedding": label_moves.embedding,
}
