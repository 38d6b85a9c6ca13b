"""The rules of labels for functions that move, cut and join tensors."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pruners.channels import Channels, Function, given
from pruners.labels import FIXED, Labels


def move(channels: Channels, function: Function, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Functions that only move, repeat or drop numbers, and whose sizes do not depend on channels."""
    return function(channels.labels(inputs), *args, **kwargs)


def reshape(channels: Channels, function: Function, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Where a dimension of channels is cut into several, only one of these can shrink."""
    labels = channels.labels(inputs).contiguous()
    result: Tensor = function(labels, *args, **kwargs).as_subclass(Tensor)
    for dims in _cuts(labels.shape, result.shape):
        channels.classes.demand_even(result, dims)
    return result


def _cuts(before: Sequence[int], after: Sequence[int]) -> Iterable[list[int]]:
    """The dimensions of the shape `after` that were one, or other ones, in the shape `before`, cut by cut."""
    old, new = [size for size in before if size > 1], [dim for dim, size in enumerate(after) if size > 1]
    while old and new:
        left, dims = old.pop(0), [new.pop(0)]
        while (right := prod(after[dim] for dim in dims)) != left:
            if right < left:
                dims.append(new.pop(0))
            else:
                left *= old.pop(0)
        if len(dims) > 1:
            yield dims


def chunk(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Any:
    """Parts of the same size lose the same channels; parts of different sizes lose none."""
    inputs, _, dim = given("input sizes dim", args, kwargs)
    labels = channels.labels(inputs)
    dim = (dim or 0) % labels.dim()
    parts: Sequence[Tensor] = function(labels, *args[1:], **{k: v for k, v in kwargs.items() if k != "input"})
    if len({part.shape[dim] for part in parts}) == 1:
        for part in parts[1:]:
            channels.classes.unite(parts[0], part)
    else:
        channels.classes.demand_same(labels, [dim])
    return parts


def glu(channels: Channels, function: Function, inputs: Any, dim: int = -1) -> Tensor:
    """The two halves of a dimension, which are multiplied."""
    first, second = channels.labels(inputs).chunk(2, dim)
    channels.classes.unite(first, second)
    return first.clone()


def selection(
    channels: Channels, function: Function, inputs: Any, dim: int, *args: Any, **kwargs: Any
) -> Any:
    """Some positions of a dimension: the network asks for them by number, so none of them may go."""
    labels = channels.labels(inputs)
    channels.classes.demand_same(labels, [dim])
    return function(labels, dim, *args, **kwargs)


def unbind(channels: Channels, function: Function, inputs: Any, dim: int = 0) -> Any:
    """All positions of a dimension, one by one."""
    return selection(channels, lambda labels, dim: labels.unbind(dim), inputs, dim)


def _indexed(labels: Tensor, index: Any) -> list[int]:
    """The dimensions of which an index takes not all positions."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = [
        each.dim() if _is_boolean(each) else int(each is not None) for each in parts if each is not Ellipsis
    ]
    if Ellipsis in [each if not isinstance(each, Tensor) else None for each in parts]:
        place = next(number for number, each in enumerate(parts) if each is Ellipsis)
        parts[place : place + 1] = [slice(None)] * (labels.dim() - sum(used))
    dims: list[int] = []
    dim = 0
    for each in parts:
        width = each.dim() if _is_boolean(each) else int(each is not None)
        whole = isinstance(each, slice) and range(labels.shape[dim])[each] == range(labels.shape[dim])
        if not whole:
            dims += range(dim, dim + width)
        dim += width
    return dims


def _is_boolean(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def getitem(channels: Channels, function: Function, inputs: Any, index: Any) -> Tensor:
    """An index: of the dimensions that it cuts, no position may go."""
    labels = channels.labels(inputs)
    channels.classes.demand_same(labels, _indexed(labels, index))
    return labels[index]


def setitem(channels: Channels, function: Function, inputs: Any, index: Any, value: Any) -> None:
    """Values that are written to positions of a tensor."""
    part = getitem(channels, function, inputs, index)
    if isinstance(value, Tensor):
        channels.classes.unite(part, channels.labels(value))


def roll(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    """Positions that move along a dimension by a number of the network's own."""
    inputs, shifts, dims = given("input shifts dims", args, kwargs)
    labels = channels.labels(inputs)
    over = range(labels.dim()) if dims is None else dims if isinstance(dims, tuple | list) else (dims,)
    channels.classes.demand_same(labels, over)
    return torch.roll(labels, shifts, dims)


def cat(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    """Parts one behind the other: in the other dimensions they lose the same channels."""
    tensors, dim = given("tensors dim", args, kwargs)
    parts = [channels.labels(each) for each in tensors if each.dim() > 1 or each.numel()]
    dim = (dim or 0) % parts[0].dim()
    firsts = [part.narrow(dim, 0, 1) for part in parts if part.shape[dim]]
    for part, first in zip(parts, firsts, strict=False):
        if any(channels.classes.varies(part, other) for other in range(part.dim()) if other != dim):
            channels.classes.unite(part, first)
            for another in firsts:
                channels.classes.unite(first, another)
    return torch.cat(parts, dim)


def stack(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    """Parts behind each other in a new dimension."""
    tensors, dim = given("tensors dim", args, kwargs)
    parts = [channels.labels(each).unsqueeze(dim or 0).as_subclass(Labels) for each in tensors]
    return cat(channels, torch.cat, parts, dim or 0)


def pad(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    """Zeros around positions get the label of the positions; channels of zeros are never removed."""
    inputs, sizes, mode = given("input pad mode", args, kwargs)
    labels = channels.labels(inputs)
    for number, (before, after) in enumerate(zip(sizes[::2], sizes[1::2], strict=True)):
        if not before and not after:
            continue
        dim = labels.dim() - 1 - number
        if channels.classes.varies(labels, dim):
            if mode not in (None, "constant") or min(before, after) < 0:
                channels.classes.demand_same(labels, [dim])
            labels = F.pad(labels, [*[0] * 2 * number, before, after], value=float(FIXED))
        else:
            size = labels.shape[dim] + before + after
            labels = labels.narrow(dim, 0, 1).expand(*labels.shape[:dim], size, *labels.shape[dim + 1 :])
    return labels.clone()


def pixel_shuffle(channels: Channels, function: Function, inputs: Any, factor: int) -> Tensor:
    """Blocks of channels that become positions: a block goes as a whole."""
    labels = channels.labels(inputs)
    blocks = labels.unflatten(-3, (-1, factor**2))
    channels.classes.unite(blocks, blocks[..., :1, :, :])
    return F.pixel_shuffle(labels, factor)


def embedding(
    channels: Channels, function: Function, inputs: Tensor, weight: Tensor, *_: Any, **__: Any
) -> Tensor:
    """Rows of a table: its columns are the channels."""
    return channels.lines.along(weight, 1, made=True).expand(*inputs.shape, weight.shape[1]).clone()


def channel_shuffle(channels: Channels, function: Function, inputs: Any, groups: int) -> Tensor:
    """Channels in another order: all groups of channels lose the same ones."""
    labels = channels.labels(inputs)
    blocks: Tensor = labels.unflatten(1, (groups, -1))
    channels.classes.unite(blocks, blocks[:, :1])
    return blocks.transpose(1, 2).flatten(1, 2)
