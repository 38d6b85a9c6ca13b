"""Coupled channels: which entries of which parameters are removed together, found by labels of channels."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from pruners import label_maps
from pruners.calls import Calls
from pruners.channels import Channels
from pruners.forward import refuse_wrapper
from pruners.label_rules import INSPECTIONS, MOVES, RULES
from pruners.labels import FIXED, Labels, Line, raw
from pruners.linear_maps import Interpreter, LinearMap
from pruners.masks import prunable
from pruners.units import Member, UnitGroup


@torch.inference_mode(False)
def channel_groups(
    model: nn.Module, example_input: Tensor, exclude: Iterable[str] = (), *, positions: bool = False
) -> list[UnitGroup]:
    """The units of a network that can be removed, each with all entries of parameters that go with it.

    A unit is a channel of a convolution, a feature of a linear layer, a head of attention, or a hidden unit
    of an LSTM, GRU or RNN, together with what it is coupled to: channels that it is added to or multiplied
    with, its normalization, and the columns of the weights that read it. The network is run once on labels in
    place of numbers: each output of a linear map gets one, and labels that meet in a sum or product are of
    one unit (the groups of 'DepGraph: Towards Any Structural Pruning', Fang et al. 2023).

    Not removable, and so no units, are the inputs and outputs of the network, channels that a function looks
    at together (the mean of a LayerNorm, a softmax, a sum over channels), and those that `forward` asks for
    by number. Channels of one group of a GroupNorm are one unit. A grouped convolution loses the same
    channels in each group.

    Args:
        example_input: one batch, of which only the shape matters, unless it holds whole numbers.
        exclude: shell-style patterns of names of weights whose rows stay.
        positions: whether channels go that meet numbers of `forward`, if they go together, as the features of
            a head do that rotary positions turn; see `Channels`.

    Returns:
        Groups of units of the same kind, in the order of their first weights; members name buffers too, such
        as running statistics. Each group has two units or more, and entries of a weight that is prunable.

    Raises:
        ValueError: the network calls a function for which this is not worked out; the message names the layer
            and the function. Or a pattern matches no prunable weight. Or the model is a wrapper.
    """
    refuse_wrapper(model)
    exclude = [exclude] if isinstance(exclude, str) else list(exclude)
    weights = set(prunable(model, exclude))
    copy = _double(model)
    tensors = {**dict(copy.named_parameters()), **dict(copy.named_buffers())}
    if positions:  # a buffer that no state dict has holds numbers of `forward`, such as frequencies
        saved = copy.state_dict()
        tensors = {name: each for name, each in tensors.items() if name in saved}
    channels = Channels(tensors, positions)
    for module in copy.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_pre_hook(_without_weights, with_kwargs=True)
    inputs = example_input[:1].detach().cpu()
    if inputs.is_floating_point():
        inputs = torch.full(inputs.shape, float(FIXED), dtype=torch.float64).as_subclass(Labels)
    with torch.no_grad(), Calls(copy) as calls, _LabelPass(channels, calls).interpreter():
        output = copy(inputs)
    classes, lines = channels.classes, channels.lines
    for each in tree_leaves(output):
        if isinstance(each, Labels):
            classes.fix(raw(each))
    for line in lines.made:
        if any(fnmatch(line.parameter, pattern) for pattern in exclude):
            classes.fix(lines.line(line))
    lines.gather()
    return _groups(channels, list(tensors), weights)


def _double(model: nn.Module) -> nn.Module:
    """A copy in eval mode, on the CPU and in float64, as labels are. Its parameters have any values."""
    memo: dict[int, Any] = {
        id(parameter): nn.Parameter(
            torch.empty_strided(parameter.shape, parameter.stride(), dtype=torch.float64), requires_grad=False
        )
        for parameter in model.parameters()
    }
    return deepcopy(model, memo).to("cpu", torch.float64).eval()


def _without_weights(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
    """Attention whose own weights are not given out: their mean over heads would keep each head."""
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights")
    given = dict(zip((*names, "is_causal"), args, strict=False)) | kwargs
    return (), given | {"need_weights": False}


def _groups(channels: Channels, names: list[str], weights: set[str]) -> list[UnitGroup]:
    """The groups of units: classes that have as many entries of the same lines."""
    order = {name: number for number, name in enumerate(names)}
    lines = channels.lines
    of_class: dict[int, dict[Line, list[int]]] = defaultdict(lambda: defaultdict(list))
    for line in sorted(lines.labels, key=lambda line: (order[line.parameter], line.dim)):
        for position, root in enumerate(channels.classes.roots(lines.labels[line]).tolist()):
            if root != FIXED:
                of_class[root][line].append(position)
    alike: dict[tuple[tuple[Line, int], ...], list[dict[Line, list[int]]]] = defaultdict(list)
    for entries in of_class.values():
        kind = tuple((line, len(positions)) for line, positions in entries.items())
        if any(line in lines.made for line in entries) and any(line.parameter in weights for line in entries):
            alike[kind].append(entries)
    groups: list[UnitGroup] = []
    for kind, units in alike.items():
        if len(units) > 1:
            made = [line.parameter for line, _ in kind if line in lines.made]
            name = next((each for each in made if each in weights), made[0])
            members = [Member(*line, torch.tensor([unit[line] for unit in units])) for line, _ in kind]
            groups.append(UnitGroup(_other_than(name, [group.name for group in groups]), tuple(members)))
    return sorted(groups, key=lambda group: order[group.name.partition("#")[0]])


def _other_than(name: str, taken: list[str]) -> str:
    """The name, or with a number behind it where another group has it."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    return free


class _LabelPass:
    """What to do at each call of a forward pass on labels."""

    def __init__(self, channels: Channels, calls: Calls) -> None:
        self._channels, self._calls = channels, calls

    def interpreter(self) -> Interpreter:
        """The context that gives the functions a network calls to this pass."""
        return Interpreter(self._linear_map, self._other_call, whole=("lstm", "gru"))

    def _linear_map(self, call: LinearMap) -> Tensor:
        if not (self._channels.labelled(call.inputs) or self._channels.labelled(call.weight)):
            return call.output()
        return label_maps.linear_map(self._channels, call).as_subclass(Labels)

    def _other_call(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        labelled = [each for each in tensors if isinstance(each, Labels)]
        own = [each for each in tensors if self._channels.labelled(each)]
        if not own:
            return func(*args, **kwargs)
        if name in INSPECTIONS:
            return func(*tree_map(_plain, args), **tree_map(_plain, kwargs))
        if not labelled and name in MOVES | {"get"}:
            result = func(*args, **kwargs)
            made = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
            if all(self._channels.labelled(each) for each in made):
                return result  # a parameter, transposed or in parts, is still one
        if name == "get" and not isinstance(result := func(*tree_map(_plain, args)), Tensor):
            return result
        if name not in RULES:
            raise ValueError(f"{self._calls.layer}: {_not_worked_out(name)}")
        try:
            result = RULES[name](self._channels, func, *args, **kwargs)
        except (ValueError, TypeError, RuntimeError, IndexError, AssertionError, AttributeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"{self._calls.layer}: {_not_worked_out(name)} as it is called: {reason}"
            ) from None
        result = tree_map(_labels, result)
        if args and isinstance(args[0], Labels) and _in_place(func.__name__):
            return args[0].copy_(result)  # in place: other references see the result too
        return result


def _in_place(name: str) -> bool:
    return name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))


def _not_worked_out(function: str) -> str:
    return f"coupled channels are not worked out for the function {function}"


def _plain(value: Any) -> Any:
    return raw(value) if isinstance(value, Labels) else value


def _labels(value: Any) -> Any:
    return value.as_subclass(Labels) if isinstance(value, Tensor) and value.dtype == torch.float64 else value
