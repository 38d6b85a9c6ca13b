"""The linear maps of a network, seen one by one as its forward pass calls them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves, tree_map

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")

# Not tried first: whoever watches would see the steps before a failure, or the call, twice.
_AT_ONCE = ("lstm", "gru", "multi_head_attention_forward", "batch_norm")
_PRODUCTS = ("matmul", "mm", "spmm")  # torch.mm is called the last of these where names are resolved


class LinearMap(NamedTuple):
    """One application of a weight: `apply(inputs, weight, bias)`, bilinear in inputs and weight.

    Attributes:
        function: name of the function called: `linear`, `conv2d`, …
        geometry: of a convolution: stride, padding, dilation, groups and the like, as called.
    """

    function: str
    inputs: Tensor
    weight: Tensor
    bias: Tensor | None
    apply: Callable[..., Tensor]
    geometry: dict[str, Any]

    def output(self) -> Tensor:
        """What the call gives."""
        return self.apply(self.inputs, self.weight, self.bias)

    def cut(self) -> "LinearMap":
        """The same with a weight that gradients stop at: what still depends on it has another use of it."""
        return self._replace(weight=self.weight.detach())

    def of(self, samples: slice) -> "LinearMap":
        """The same for some of the samples."""
        return self._replace(inputs=self.inputs[samples])


def run(model: nn.Module, tensors: Mapping[str, Tensor], inputs: Tensor) -> Any:
    """Outputs of the model with `tensors` in place of the parameters and buffers they name.

    `torch.func.functional_call` alone would leave a module that stands in the model twice with the tensors in
    place of its parameters.

    Raises:
        ValueError: the model runs where nothing can be put in place or seen.
    """
    if isinstance(model, nn.DataParallel | torch.jit.ScriptModule):
        inner = "its `module`" if isinstance(model, nn.DataParallel) else "the network it was made of"
        raise ValueError(f"{type(model).__name__} hides the network: give {inner}")
    names = {id(t): name for name, t in [*model.named_parameters(), *model.named_buffers()]}
    given = {}
    for path, module in model.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for leaf, tensor in own:
            if names[id(tensor)] in tensors:
                given[f"{path}.{leaf}".lstrip(".")] = tensors[names[id(tensor)]]
    try:
        return functional_call(model, given, (inputs,), tie_weights=False)
    finally:
        for module in model.modules():
            if isinstance(module, nn.RNNBase):
                module._init_flat_weights()  # it keeps a list of its own, of what was put in


def usable(values: Tensor) -> Tensor:
    """What was made in inference mode cannot be part of a gradient; a copy made here can."""
    return values.clone() if values.is_inference() else values


# Functions whose result holds numbers of their argument, by the names of their nodes in torch's graph.
_REARRANGING = {
    *("T", "MT", "Transpose", "Permute", "View", "UnsafeView", "ReshapeAlias", "Alias", "Squeeze"),
    *("Unsqueeze", "Expand", "Repeat", "Clone", "ToCopy", "Slice", "Select", "Split", "SplitWithSizes"),
    *("Unbind", "Flip", "Roll", "Index", "IndexSelect"),
}


def source(values: Tensor) -> Tensor | None:
    """The leaf whose own numbers these are, all or some of them, in whatever order; None: there is none."""
    if values.is_leaf:
        return values if values.requires_grad else None
    node = values.grad_fn
    while node is not None and node.name().partition("Backward")[0] in _REARRANGING:
        node = node.next_functions[0][0]
    leaf: Tensor | None = getattr(node, "variable", None)
    return leaf


def attached(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function where what a network computes is looked at, and not its gradients.

    In `forward`, `detach`, `.data` and `torch.no_grad` would hide which weights a value comes from.
    """
    if name == "set_grad_enabled":
        return None
    if name == "detach" or func == Tensor.data.__get__:  # type: ignore[attr-defined]
        return args[0]
    return func(*args, **kwargs)


def used_in(output: object, leaves: Mapping[str, Tensor]) -> list[str]:
    """Names of the leaves that an output depends on: a tensor, or any nesting of tensors."""
    found = [each for each in tree_leaves(output) if isinstance(each, Tensor) and each.requires_grad]
    if not found:
        return []
    slopes = torch.autograd.grad(
        found, list(leaves.values()), [torch.ones_like(each) for each in found],
        retain_graph=True, allow_unused=True,
    )  # fmt: skip
    return [name for name, slope in zip(leaves, slopes, strict=True) if slope is not None]


def refuse_other_uses(output: object, leaves: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` where an output depends on a leaf in another way than by the maps that were cut."""
    if others := used_in(output, leaves):
        raise ValueError(f"layer {others[0]} is used otherwise than as a linear map; exclude it")


class Widened(TorchFunctionMode):
    """A context in which a function that takes no tensors of several precisions gets all in the highest.

    For a network that is run in a higher precision than its own, and makes or casts tensors in `forward`.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See every function of torch that is called."""
        given = (args, kwargs or {})
        if getattr(func, "__name__", "") not in _AT_ONCE:
            try:
                return func(*given[0], **given[1])
            except RuntimeError:
                if len({each.dtype for each in tree_leaves(given) if _is_real(each)}) < 2:
                    raise
        kinds = [each.dtype for each in tree_leaves(given) if _is_real(each)]
        highest = max(kinds, key=lambda kind: torch.finfo(kind).bits)
        args, kwargs = tree_map(lambda each: each.to(highest) if _is_real(each) else each, given)
        return func(*args, **kwargs)


def _is_real(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


@contextmanager
def in_mode(model: nn.Module, train: bool) -> Iterator[None]:
    """The model in train or eval mode; afterwards each module in its own again."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.train(train)
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def tensor(output: object) -> Tensor:
    """The output of a network, if it is a tensor.

    Raises:
        ValueError: it is something else, such as a dictionary.
    """
    if not isinstance(output, Tensor):
        raise ValueError(
            f"it needs a network that gives one tensor, and this one gives {type(output).__name__}"
        )
    return output


class Interpreter(TorchFunctionMode):
    """A context in which `on_linear` and `on_other` decide what the functions a network calls give.

    It sees calls whether a module makes them or `forward` itself. LSTM and GRU layers are taken apart into
    their steps, so that each of their matrices is seen as the linear map it is. So is a weight that inputs
    are multiplied with, as in `x @ weight.T`.

    `nn.MultiheadAttention` is taken apart into its linear maps in the same way.

    Args:
        on_linear: given a linear map, its output.
        on_other: given the name of any other function, the function and its arguments, its result. None:
            they are called as they are.
        whole: names of functions that are not taken apart but given to `on_other`.
    """

    def __init__(
        self,
        on_linear: Callable[[LinearMap], Tensor],
        on_other: Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any] | None = None,
        whole: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._on_linear, self._on_other, self._whole = on_linear, on_other, whole

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See every function of torch that is called."""
        kwargs = kwargs or {}
        # Several functions share a name and a meaning: torch.relu, F.relu and Tensor.relu_.
        name = (resolve_name(func) or getattr(func, "__name__", "")).rpartition(".")[2].strip("_")
        if name in ("lstm", "gru"):
            with self:
                return _unrolled(name, *args, **kwargs)
        if name == "multi_head_attention_forward" and name not in self._whole:
            with self:
                return _attention(*args, **kwargs)
        if name == "linear" or name in _CONVOLUTIONS:
            return self._on_linear(_linear_map(name, func, args, kwargs))
        if name in _PRODUCTS and len(args) == 2 and _is_weight(args[1]):
            inputs, weight = args
            return self._on_linear(LinearMap("linear", inputs, weight.t(), None, F.linear, {}))
        if self._on_other is None:
            return func(*args, **kwargs)
        return self._on_other(name, func, args, kwargs)


# Torch's own attention, which here does not hand itself over whole to whoever watches its calls.
_attention = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**F.multi_head_attention_forward.__globals__, "has_torch_function": lambda tensors: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)
_LINEAR_ARGUMENTS = ("input", "weight", "bias")
_CONVOLUTION_ARGUMENTS = (*_LINEAR_ARGUMENTS, "stride", "padding", "dilation", "groups")
_TRANSPOSED_ARGUMENTS = (*_LINEAR_ARGUMENTS, "stride", "padding", "output_padding", "groups", "dilation")


def _is_weight(factor: Tensor) -> bool:
    return factor.dim() == 2 and source(factor) is not None


def _linear_map(
    name: str, func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> LinearMap:
    names = _TRANSPOSED_ARGUMENTS if "transpose" in name else _CONVOLUTION_ARGUMENTS
    given = dict(zip(names, args, strict=False)) | kwargs
    inputs, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    return LinearMap(name, inputs, weight, bias, lambda x, w, b=None: func(x, w, b, **given), given)


def patches(call: LinearMap) -> Tensor:
    """The inputs of a convolution as the rows its kernels meet: (N, groups, positions, inputs of a kernel).

    With kernels as the rows of `kernel_rows(weight)`, the convolution is a matrix product of each group's. Of
    `linear`, its inputs as (N, 1, positions, features).
    """
    if call.function == "linear":
        inputs = call.inputs
        return inputs.reshape(len(inputs), 1, -1, inputs.shape[-1])
    dimensions = call.weight.dim() - 2
    kernel = call.weight.shape[2:]
    stride, padding, dilation = (
        _each(call.geometry.get(key, default), dimensions)
        for key, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if padding == ["same"] * dimensions:
        sides = [side for span in reversed(spans) for side in ((span - 1) // 2, span // 2)]
    else:
        sides = [side for p in reversed(padding) for side in ((p, p) if p != "valid" else (0, 0))]
    windows: Tensor = F.pad(call.inputs, sides)
    for axis, (span, step) in enumerate(zip(spans, stride, strict=True)):
        windows = windows.unfold(2 + axis, span, step)
    for axis, step in enumerate(dilation):
        windows = windows[(slice(None),) * (2 + dimensions + axis) + (slice(None, None, step),)]
    # (N, channels, positions…, kernel…) -> (N, groups, positions, kernel · channels of a group). Channels
    # come last, as they do in the memory of a network laid out so: a copy of them is then a copy of runs.
    groups = call.geometry.get("groups", 1)
    windows = windows.unflatten(1, (groups, -1)).movedim(2, -1)
    return windows.reshape(*windows.shape[:2], windows.shape[2 : 2 + dimensions].numel(), -1)


def kernel_rows(weight: Tensor) -> Tensor:
    """A weight as a matrix, (outputs, inputs of a kernel), in the order of `patches`."""
    return weight.movedim(1, -1).flatten(1)


def from_kernel_rows(rows: Tensor, weight: Tensor) -> Tensor:
    """The inverse of `kernel_rows`, shaped like `weight`."""
    return rows.view(weight.movedim(1, -1).shape).movedim(-1, 1).contiguous()


def _each(value: Any, dimensions: int) -> list[Any]:
    """One value a dimension, as given or the same for all."""
    if isinstance(value, int | str):
        return [value] * dimensions
    return list(value) * (dimensions if len(value) == 1 else 1)


def _unrolled(
    kind: str,
    inputs: Tensor,
    state: Tensor | Sequence[Tensor],
    weights: Sequence[Tensor],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """What `torch.lstm` and `torch.gru` compute, step by step."""
    if not isinstance(has_biases, bool):
        raise ValueError(f"a packed sequence in {kind}: give it padded sequences instead")
    states = (cast(Tensor, state),) if kind == "gru" else tuple(state)
    directions = 2 if bidirectional else 1
    each = len(weights) // (layers * directions)
    time = 1 if batch_first else 0
    ends = []
    for layer in range(layers):
        if layer:
            inputs = F.dropout(inputs, dropout, train)
        outputs = []
        for direction in range(directions):
            number = layer * directions + direction
            w_input, w_hidden, *rest = weights[number * each : (number + 1) * each]
            b_input, b_hidden = rest[:2] if has_biases else (None, None)
            projection = rest[-1] if len(rest) % 2 else None
            carried = tuple(tensor[number] for tensor in states)
            steps = F.linear(inputs, w_input, b_input).unbind(time)
            hidden = []
            for step in reversed(steps) if direction else steps:
                recurrent = F.linear(carried[0], w_hidden, b_hidden)
                carried = _CELLS[kind](step, recurrent, *carried)
                if projection is not None:
                    carried = (F.linear(carried[0], projection), *carried[1:])
                hidden.append(carried[0])
            outputs.append(torch.stack(hidden[::-1] if direction else hidden, time))
            ends.append(carried)
        inputs = torch.cat(outputs, -1)
    return inputs, *(torch.stack([end[i] for end in ends]) for i in range(len(states)))


def _lstm_cell(step: Tensor, recurrent: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    enter, forget, content, leave = (step + recurrent).chunk(4, -1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(content)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _gru_cell(step: Tensor, recurrent: Tensor, hidden: Tensor) -> tuple[Tensor]:
    (reset, update, new), (r, u, n) = step.chunk(3, -1), recurrent.chunk(3, -1)
    content = torch.tanh(new + torch.sigmoid(reset + r) * n)
    return (content + torch.sigmoid(update + u) * (hidden - content),)


_CELLS: dict[str, Callable[..., tuple[Tensor, ...]]] = {"lstm": _lstm_cell, "gru": _gru_cell}
