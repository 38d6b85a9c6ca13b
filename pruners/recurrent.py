"""LSTM and GRU step by step, in linear maps: what `torch.lstm` and `torch.gru` compute in one call."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor


class RecurrentCall(NamedTuple):
    """The arguments of `torch.lstm` and `torch.gru`, in their order."""

    inputs: Tensor
    state: Tensor | Sequence[Tensor]
    weights: Sequence[Tensor]
    has_biases: bool
    layers: int
    dropout: float
    train: bool
    bidirectional: bool
    batch_first: bool


def unrolled(kind: str, call: RecurrentCall) -> tuple[Tensor, ...]:
    """What `torch.lstm` or `torch.gru` returns, computed with `F.linear` at each step.

    Args:
        kind: `lstm` or `gru`.

    Raises:
        ValueError: the inputs are a packed sequence.
    """
    # With a packed sequence the arguments are others, of the same number: the weights stand in this place.
    if not isinstance(call.has_biases, bool):
        raise ValueError(f"a packed sequence in {kind}: give it padded sequences instead")
    states = (cast(Tensor, call.state),) if kind == "gru" else tuple(call.state)
    directions = 2 if call.bidirectional else 1
    per_direction = len(call.weights) // (call.layers * directions)
    inputs = call.inputs
    ends = []
    for layer in range(call.layers):
        if layer:
            inputs = F.dropout(inputs, call.dropout, call.train)
        outputs = []
        for direction in range(directions):
            number = layer * directions + direction
            weights = call.weights[number * per_direction : (number + 1) * per_direction]
            start = tuple(tensor[number] for tensor in states)
            hidden, end = _one_direction(kind, call, inputs, weights, start, backwards=direction == 1)
            outputs.append(hidden)
            ends.append(end)
        inputs = torch.cat(outputs, -1)
    return inputs, *(torch.stack([end[i] for end in ends]) for i in range(len(states)))


def _one_direction(
    kind: str,
    call: RecurrentCall,
    inputs: Tensor,
    weights: Sequence[Tensor],
    state: tuple[Tensor, ...],
    *,
    backwards: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer in one direction: its hidden states at all steps, and its last state."""
    w_input, w_hidden, *rest = weights
    b_input, b_hidden = rest[:2] if call.has_biases else (None, None)
    projection = rest[-1] if len(rest) % 2 else None
    time = 1 if call.batch_first else 0
    steps = F.linear(inputs, w_input, b_input).unbind(time)
    hidden = []
    for step in reversed(steps) if backwards else steps:
        recurrent = F.linear(state[0], w_hidden, b_hidden)
        state = _CELLS[kind](step, recurrent, *state)
        if projection is not None:
            state = (F.linear(state[0], projection), *state[1:])
        hidden.append(state[0])
    return torch.stack(hidden[::-1] if backwards else hidden, time), state


def _lstm_cell(step: Tensor, recurrent: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    enter, forget, content, leave = (step + recurrent).chunk(4, -1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(content)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _gru_cell(step: Tensor, recurrent: Tensor, hidden: Tensor) -> tuple[Tensor]:
    (reset, update, new), (r, u, n) = step.chunk(3, -1), recurrent.chunk(3, -1)
    content = torch.tanh(new + torch.sigmoid(reset + r) * n)
    return (content + torch.sigmoid(update + u) * (hidden - content),)


_CELLS: dict[str, Callable[..., tuple[Tensor, ...]]] = {"lstm": _lstm_cell, "gru": _gru_cell}
