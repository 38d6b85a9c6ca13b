"""Run a network with other tensors in place of its own, without writing to it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

# (parameters, inputs) -> outputs of a network.
Forward = Callable[[Mapping[str, Tensor], Tensor], Any]
# Called once, with tensors already cast: a failed first attempt would show an outer context the call, or the
# steps before the failure, twice.
_NOT_RETRIED = ("lstm", "gru", "multi_head_attention_forward", "batch_norm")


def run(model: nn.Module, tensors: Mapping[str, Tensor], inputs: Tensor) -> Any:
    """Outputs of the model with `tensors` in place of the parameters and buffers they name.

    A module that stands in the model twice gets the tensors in both places, and has its own parameters back
    afterwards; `torch.func.functional_call` alone would leave it with the tensors.

    Raises:
        ValueError: the model is a wrapper (`DataParallel`, TorchScript) that hides its network.
    """
    refuse_wrapper(model)
    names = {id(t): name for name, t in [*model.named_parameters(), *model.named_buffers()]}
    replaced = {}
    for path, module in model.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for leaf, tensor in own:
            if names[id(tensor)] in tensors:
                replaced[f"{path}.{leaf}".lstrip(".")] = tensors[names[id(tensor)]]
    try:
        return functional_call(model, replaced, (inputs,), tie_weights=False)
    finally:
        for module in model.modules():
            if isinstance(module, nn.RNNBase):
                module._init_flat_weights()  # its own list of weights still holds the replacements


def refuse_wrapper(model: nn.Module) -> None:
    """Raise `ValueError` if the model is a wrapper (`DataParallel`, TorchScript) that hides its network."""
    if isinstance(model, nn.DataParallel | torch.jit.ScriptModule):
        inner = "its `module`" if isinstance(model, nn.DataParallel) else "the network it was made of"
        raise ValueError(f"{type(model).__name__} hides the network: give {inner}")


def single_tensor(output: object) -> Tensor:
    """The output of a network, if it is a tensor.

    Raises:
        ValueError: the output is something else, such as a dictionary.
    """
    if not isinstance(output, Tensor):
        raise ValueError(
            f"it needs a network that gives one tensor, and this one gives {type(output).__name__}"
        )
    return output


def differentiable(values: Tensor) -> Tensor:
    """The tensor, copied if it was made in inference mode: such a tensor cannot be part of a gradient."""
    return values.clone() if values.is_inference() else values


def full_precision(values: Tensor) -> Tensor:
    """The tensor in float32 if it is in half precision, otherwise unchanged."""
    return values.float() if values.is_floating_point() and values.element_size() < 4 else values


@contextmanager
def in_mode(model: nn.Module, train: bool) -> Iterator[None]:
    """Put the model in train or eval mode; on leaving, each module is in its own mode again."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.train(train)
        yield
    finally:
        for module, training in modes.items():
            module.training = training


class HighestPrecision(TorchFunctionMode):
    """A context in which functions that refuse tensors of mixed precision get all in the highest of them.

    For a network that is run in a higher precision than its own, and makes or casts tensors in `forward`.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch for each of its functions that is called in the context."""
        arguments = (args, kwargs or {})
        if getattr(func, "__name__", "") not in _NOT_RETRIED:
            try:
                return func(*arguments[0], **arguments[1])
            except RuntimeError:
                if len({each.dtype for each in tree_leaves(arguments) if is_real(each)}) < 2:
                    raise
        kinds = [each.dtype for each in tree_leaves(arguments) if is_real(each)]
        highest = max(kinds, key=lambda kind: torch.finfo(kind).bits)
        args, kwargs = tree_map(lambda each: each.to(highest) if is_real(each) else each, arguments)
        return func(*args, **kwargs)


def is_real(value: object) -> bool:
    """Whether a value is a tensor of real numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()
