"""What the ReLUs of a network let pass."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from pruners.forward import in_mode

_RELUS = ("relu", "relu6")


class Activity(NamedTuple):
    """Of all outputs of all ReLUs of a network, for one batch.

    Attributes:
        dead_units: share of the units that are 0 for every sample. A unit is one of the numbers that a ReLU
            puts out for a sample, such as one channel at one position.
        zero_outputs: share of the outputs that are 0: the dynamic dead neuron rate of Activate-While-Pruning.
    """

    dead_units: float
    zero_outputs: float


@torch.no_grad()
def relu_activity(model: nn.Module, inputs: Tensor) -> Activity | None:
    """The activity of a network's ReLUs in eval mode, whether modules or `forward` itself call them.

    Args:
        inputs: one batch, (samples, ...); the first dimension of a ReLU's outputs is taken for the samples.

    Returns:
        The activity; None if the network calls no ReLU.
    """
    with in_mode(model, train=False), _Counting() as counting:
        model(inputs)
    if not counting.outputs:
        return None
    return Activity(counting.dead / counting.units, counting.zeros / counting.outputs)


class _Counting(TorchFunctionMode):
    """Counts the outputs of ReLUs, and those that are 0."""

    units = dead = outputs = zeros = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch for each of its functions that is called in the context."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = (resolve_name(func) or getattr(func, "__name__", "")).rpartition(".")[2].strip("_")
        # `nn.ReLU6` calls a hard tanh from 0 to 6.
        if name in _RELUS or (name == "hardtanh" and kwargs.get("min_val") == 0):
            zero = result == 0
            dead = zero.all(0)
            self.units += dead.numel()
            self.dead += int(dead.count_nonzero())
            self.outputs += zero.numel()
            self.zeros += int(zero.count_nonzero())
        return result
