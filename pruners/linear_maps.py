"""The linear maps of a network, one by one as its forward pass calls them."""

from collections.abc import Callable, Collection, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves

from pruners.recurrent import RecurrentCall, unrolled

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_PRODUCTS = ("matmul", "mm", "spmm")  # `resolve_name` calls torch.mm "spmm"
_LINEAR_ARGUMENTS = ("input", "weight", "bias")
_CONVOLUTION_ARGUMENTS = (*_LINEAR_ARGUMENTS, "stride", "padding", "dilation", "groups")
_TRANSPOSED_ARGUMENTS = (*_LINEAR_ARGUMENTS, "stride", "padding", "output_padding", "groups", "dilation")


class LinearMap(NamedTuple):
    """One application of a weight: `apply(inputs, weight, bias)`, bilinear in inputs and weight.

    Attributes:
        function: name of the function called: `linear`, `conv2d`, …
        geometry: a convolution's stride, padding, dilation, groups and so on, as passed to the function.
    """

    function: str
    inputs: Tensor
    weight: Tensor
    bias: Tensor | None
    apply: Callable[..., Tensor]
    geometry: dict[str, Any]

    def output(self) -> Tensor:
        """The result of the call."""
        return self.apply(self.inputs, self.weight, self.bias)

    def cut(self) -> "LinearMap":
        """The same map with its weight detached: a later dependence on the weight shows another use of it."""
        return self._replace(weight=self.weight.detach())

    def of(self, samples: slice) -> "LinearMap":
        """The same map for some of the samples."""
        return self._replace(inputs=self.inputs[samples])


# Functions that only select or reorder the numbers of a tensor, by the names of their autograd nodes.
_REARRANGING = {
    "T",
    "MT",
    "Transpose",
    "Permute",
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Alias",
    "Squeeze",
    "Unsqueeze",
    "Expand",
    "Repeat",
    "Clone",
    "ToCopy",
    "Slice",
    "Select",
    "Split",
    "SplitWithSizes",
    "Unbind",
    "Flip",
    "Roll",
    "Index",
    "IndexSelect",
}


def leaf_of(values: Tensor) -> Tensor | None:
    """The leaf that the values are taken from by selecting and reordering alone; None if there is none."""
    if values.is_leaf:
        return values if values.requires_grad else None
    node = values.grad_fn
    while node is not None and node.name().partition("Backward")[0] in _REARRANGING:
        node = node.next_functions[0][0]
    leaf: Tensor | None = getattr(node, "variable", None)
    return leaf


def keep_graph(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function, but ignore what cuts the autograd graph.

    For passes that use the graph to see which weights a value comes from: `detach`, `.data` and
    `torch.no_grad` in `forward` would hide it.
    """
    if name == "set_grad_enabled":
        return None
    if name == "detach" or func == Tensor.data.__get__:  # type: ignore[attr-defined]
        return args[0]
    return func(*args, **kwargs)


def leaves_of(output: object, leaves: Mapping[str, Tensor]) -> list[str]:
    """Names of the leaves that an output depends on: a tensor, or any nesting of tensors."""
    tensors = [each for each in tree_leaves(output) if isinstance(each, Tensor) and each.requires_grad]
    if not tensors:
        return []
    slopes = torch.autograd.grad(
        tensors,
        list(leaves.values()),
        [torch.ones_like(each) for each in tensors],
        retain_graph=True,
        allow_unused=True,
    )
    return [name for name, slope in zip(leaves, slopes, strict=True) if slope is not None]


def refuse_other_uses(output: object, leaves: Mapping[str, Tensor]) -> None:
    """Check that an output depends on the leaves only through linear maps, whose weights were detached.

    Raises:
        ValueError: the output still depends on a leaf; the message names its layer.
    """
    if others := leaves_of(output, leaves):
        raise ValueError(f"layer {others[0]} is used otherwise than as a linear map; exclude it")


class Interpreter(TorchFunctionMode):
    """A context in which `on_linear` and `on_other` decide the results of the functions a network calls.

    Calls count whether a module or `forward` itself makes them. A product of inputs with a weight, as in
    `x @ weight.T`, counts as a linear map. LSTM and GRU layers are taken apart into their steps, and
    `nn.MultiheadAttention` into its parts, so that each of their matrices is seen as a linear map.

    Args:
        on_linear: linear map → its output.
        on_other: name, function and arguments of any other call → its result. None: the function is called
            unchanged.
        whole: names of functions to give to `on_other` instead of taking them apart.
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
        """Called by torch for each of its functions that is called in the context."""
        kwargs = kwargs or {}
        # Several functions share a name and a meaning: torch.relu, F.relu and Tensor.relu_.
        name = (resolve_name(func) or getattr(func, "__name__", "")).rpartition(".")[2].strip("_")
        if name in ("lstm", "gru") and name not in self._whole:
            with self:
                return unrolled(name, RecurrentCall(*args, **kwargs))
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


# Torch's own attention. With `has_torch_function` false it runs its body, and so calls the functions inside
# it, instead of passing the whole call to the context again.
_attention = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**F.multi_head_attention_forward.__globals__, "has_torch_function": lambda tensors: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


def _is_weight(factor: Tensor) -> bool:
    return factor.dim() == 2 and leaf_of(factor) is not None


def _linear_map(
    name: str, func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> LinearMap:
    names = _TRANSPOSED_ARGUMENTS if "transpose" in name else _CONVOLUTION_ARGUMENTS
    given = dict(zip(names, args, strict=False)) | kwargs
    inputs, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    return LinearMap(name, inputs, weight, bias, lambda x, w, b=None: func(x, w, b, **given), given)
