"""The rules of labels for linear maps, attention and recurrent layers, where new channels begin."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pruners.channels import Channels, Function, first_of, given
from pruners.labels import Labels
from pruners.linear_maps import LinearMap
from pruners.recurrent import RecurrentCall


def linear_map(channels: Channels, call: LinearMap) -> Tensor:
    """Labels of the output of a linear layer or a convolution."""
    inputs = channels.labels(call.inputs)
    shape = _shape(inputs, call)
    if channels.lines.name(call.weight) is None:
        # A weight that is computed from others, or held by `forward`: nothing of it can be cut.
        for tensor in (call.inputs, call.weight, *([] if call.bias is None else [call.bias])):
            channels.classes.fix(channels.labels(tensor))
        return torch.zeros(shape, dtype=torch.float64)
    if call.function == "linear":
        return linear(channels, inputs, call.weight, call.bias)
    outputs = _convolution(channels, inputs, call)
    return outputs.view(-1, *[1] * (call.weight.dim() - 2)).expand(shape).clone()


def _shape(inputs: Tensor, call: LinearMap) -> tuple[int, ...]:
    """The shape of the output of a linear map; the positions are those of a convolution of one channel."""
    if call.function == "linear":
        return *inputs.shape[:-1], len(call.weight)
    kernel = call.weight.shape[2:]
    axis = inputs.dim() - len(kernel) - 1
    geometry = {name: value for name, value in call.geometry.items() if name != "groups"}
    convolve = getattr(F, call.function)
    space = convolve(
        torch.zeros(1, 1, *inputs.shape[axis + 1 :]), torch.zeros(1, 1, *kernel), **geometry
    ).shape[2:]
    groups = int(call.geometry.get("groups", 1))
    channels = call.weight.shape[1] * groups if "transpose" in call.function else len(call.weight)
    return *inputs.shape[:axis], channels, *space


def linear(channels: Channels, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Labels of x Wᵀ + b: each row of W opens one, and each column is of the class of its input.

    Args:
        inputs: labels, (..., I).
        weight: the weight itself, (O, I).
    """
    channels.classes.demand_same(inputs, range(inputs.dim() - 1))
    channels.classes.unite(channels.lines.along(weight, 1), first_of(inputs, -1))
    rows = channels.lines.along(weight, 0, made=True)
    channels.along(bias, rows)
    return rows.expand(*inputs.shape[:-1], len(rows)).clone()


def _convolution(channels: Channels, inputs: Tensor, call: LinearMap) -> Tensor:
    """Labels of the output channels, (O,).

    Where each group has one input, the group goes with it. Else the k-th inputs of all groups go together,
    and so do the k-th outputs of all groups: a grouped convolution stays one.
    """
    classes, weight = channels.classes, call.weight
    groups = int(call.geometry.get("groups", 1))
    axis = inputs.dim() - (weight.dim() - 1)
    classes.demand_same(inputs, [dim for dim in range(inputs.dim()) if dim != axis])
    arriving = first_of(inputs, axis).view(groups, -1)
    depthwise = groups > 1 and arriving.shape[1] == 1
    if "transpose" in call.function:
        classes.unite(channels.lines.along(weight, 0, made=depthwise).view(groups, -1), arriving)
        of_group = channels.lines.along(weight, 1, made=not depthwise)
        if depthwise:
            classes.fix(of_group)
            outputs = arriving.expand(groups, len(of_group))
        else:
            classes.unite(arriving, arriving[:1])
            outputs = of_group.expand(groups, -1)
    else:
        outputs = channels.lines.along(weight, 0, made=True).view(groups, -1)
        if depthwise:
            classes.unite(outputs, arriving)
        else:
            classes.unite(channels.lines.along(weight, 1), arriving)
            classes.unite(outputs, outputs[:1])
    channels.along(call.bias, outputs.flatten())
    return outputs.flatten()


def matmul(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    """Products of matrices: what is computed from the same matrices goes as a whole, as a head does."""
    first, second = args[-2:]  # behind what `baddbmm` and `addmm` add
    if not isinstance(second, Labels) and channels.lines.name(second) and second.dim() == 2:
        product = linear(channels, channels.labels(first), second.t(), None)
    elif not isinstance(first, Labels) and channels.lines.name(first) and first.dim() == 2:
        columns = channels.labels(second).transpose(-1, -2)
        product = linear(channels, columns, first, None).transpose(-1, -2)
    else:
        product = _product(channels, first, second)
    return channels.joined(product, channels.labels(args[0])) if len(args) == 3 else product


def _product(channels: Channels, first: Any, second: Any) -> Tensor:
    left, right = channels.labels(first), channels.labels(second)
    if min(left.dim(), right.dim()) < 2:
        channels.classes.fix(left)
        channels.classes.fix(right)
        return torch.zeros_like(left @ right)
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    rows, columns = left[..., :1], right[..., :1, :]
    if not channels.labelled(first):
        channels.classes.demand_same(right, [-2])
        return columns.expand(shape).clone()
    if not channels.labelled(second):
        channels.classes.demand_same(left, [-1])
        return rows.expand(shape).clone()
    channels.classes.unite(left, rows)
    channels.classes.unite(right, columns)
    channels.classes.unite(rows, columns)
    return rows.expand(shape).clone()


def einsum(channels: Channels, function: Function, equation: str, *operands: Any) -> Tensor:
    """Sums of products: what is summed over goes as a whole, but for the columns of a weight.

    Raises:
        ValueError: the equation has an ellipsis or no arrow.
    """
    terms, arrow, result = equation.replace(" ", "").partition("->")
    letters = terms.split(",")
    if not arrow or "." in equation:
        raise ValueError(f"{equation!r}: write all dimensions, with an arrow")
    if len(operands) == 2:
        for one, other in ((0, 1), (1, 0)):
            weight = operands[other]
            summed = set(letters[one]) & set(letters[other]) - set(result)
            if len(summed) == 1 and weight.dim() == 2 and channels.lines.name(weight):
                return _weighted(channels, operands[one], weight, [letters[one], letters[other], result])
    sizes = dict(zip("".join(letters), [size for each in operands for size in each.shape], strict=True))
    total = torch.zeros([1] * len(result), dtype=torch.float64)
    for number, (names, operand) in enumerate(zip(letters, operands, strict=True)):
        labels = channels.labels(operand)
        for dim, name in enumerate(names):
            if name not in result:
                channels.classes.unite(labels, labels.narrow(dim, 0, 1))
                labels = labels.narrow(dim, 0, 1)
        own = [name for name in names if name in result]
        labels = labels.reshape([sizes[name] for name in own])
        order = [own.index(name) for name in result if name in own]
        shape = [sizes[name] if name in own else 1 for name in result]
        labels = labels.permute(order).reshape(shape)
        total = channels.joined(total, labels) if number else labels
    return total.expand([sizes[name] for name in result]).clone()


def _weighted(channels: Channels, inputs: Any, weight: Tensor, letters: Sequence[str]) -> Tensor:
    """A linear map that is written as a sum over one letter of the inputs and the weight."""
    names, of_weight, result = letters
    (column,) = set(names) & set(of_weight) - set(result)
    row = of_weight.replace(column, "")
    labels = channels.labels(inputs).movedim(names.index(column), -1)
    outputs = linear(channels, labels, weight if of_weight[0] == row else weight.t(), None)
    order = names.replace(column, "") + row
    return outputs.permute([order.index(name) for name in result])


def attention(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> Tensor:
    """`scaled_dot_product_attention`: a head is one unit of queries, keys and values."""
    *inputs, mask = given("query key value attn_mask", args, kwargs)
    query, key, value = (channels.labels(each) for each in inputs)
    heads = query[..., :1, :1]
    if channels.labelled(mask):
        channels.joined(heads, channels.labels(mask))
    for part in (query, key, value):
        if part.shape[:-2] != query.shape[:-2]:  # heads that share keys and values
            channels.classes.fix(part)
            channels.classes.fix(query)
        else:
            channels.classes.unite(part, heads)
    return heads.expand(*query.shape[:-1], value.shape[-1]).clone()


def recurrent(channels: Channels, function: Function, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
    """LSTM, GRU and RNN: the k-th units of all layers and directions are one unit, as there is one width.

    Raises:
        ValueError: the inputs are a packed sequence.
    """
    call = RecurrentCall(*args, **kwargs)
    if not isinstance(call.has_biases, bool):
        raise ValueError("a packed sequence: give it padded sequences instead")
    directions = 2 if call.bidirectional else 1
    size = len(call.weights) // (call.layers * directions)
    inputs = channels.labels(call.inputs)
    channels.classes.demand_same(inputs, range(inputs.dim() - 1))
    arriving = first_of(inputs, -1)
    hidden = channels.classes.new(call.weights[1].shape[1])
    projected = size - 2 - 2 * call.has_biases
    if projected:
        channels.classes.fix(hidden)
    for start in range(0, len(call.weights), size):
        w_input, w_hidden, *biases = call.weights[start : start + size]
        if start and start % (size * directions) == 0:
            arriving = hidden.repeat(directions)
        channels.classes.unite(channels.lines.along(w_input, 1), arriving)
        channels.classes.unite(channels.lines.along(w_hidden, 1), hidden)
        for rows in () if projected else (w_input, w_hidden, *biases):
            gates = channels.lines.along(rows, 0, made=rows.dim() > 1).view(-1, len(hidden))
            channels.classes.unite(gates, hidden)
    states: Sequence[Any] = (call.state,) if isinstance(call.state, Tensor) else call.state
    for state in states:
        if channels.labelled(state):
            channels.classes.unite(channels.labels(state), hidden)
    outputs = hidden.repeat(directions).expand(*inputs.shape[:-1], -1).clone()
    if projected:
        ends = [torch.zeros(state.shape, dtype=torch.float64) for state in states]
    else:
        ends = [hidden.expand(state.shape).clone() for state in states]
    return outputs, *ends
