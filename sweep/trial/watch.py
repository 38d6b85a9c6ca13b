"""What a trial checks of the parts of one's own that it names, and what only shows while it runs."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

import pruners
from sweep import parts
from sweep.config import Config
from sweep.data import TASKS
from sweep.parts import BadPart, Part

# Fields of the parts that can move weights, the likeliest first.
_MOVERS = ("optimizer", "criterion", "model", "loss")


def watched(model: nn.Module, name: str, task: str, outputs: int) -> nn.Module:
    """A network that has weights to prune, and whose outputs are checked if it is a part.

    Args:
        name: of the model.
        outputs: numbers that it puts out for an input, or for a pixel.

    Raises:
        BadPart: it has no weights to prune, or none to train.
    """
    part = parts.find(name)
    if not part:
        return model
    try:
        pruners.prunable(model)
    except ValueError as error:
        raise BadPart(part, f"{error}, expected linear or convolutional layers to prune") from None
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise BadPart(part, "has no parameter with a gradient, expected some that training changes")
    modes: list[bool] = []

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        modes[:] = [torch.is_grad_enabled()]

    def after(module: nn.Module, inputs: tuple[Tensor, ...], given: object) -> None:
        _check(part, given, _expected(inputs[0], task, outputs))
        trains = module.training and modes == [True]
        if trains and isinstance(given, Tensor) and not given.requires_grad:
            raise BadPart(part, "outputs have no gradient, expected them to depend on its parameters")

    model.register_forward_pre_hook(before)
    model.register_forward_hook(after)
    return model


def _expected(inputs: Tensor, task: str, outputs: int) -> tuple[int, ...]:
    return len(inputs), outputs, *TASKS[task].places(tuple(inputs.shape[1:]))


def _check(part: Part, given: object, expected: tuple[int, ...]) -> None:
    """Check the outputs of a network.

    Raises:
        BadPart: they are no real numbers of the expected shape.
    """
    if not isinstance(given, Tensor):
        raise BadPart(part, f"outputs are of type {type(given).__name__}, expected a tensor {expected}")
    if tuple(given.shape) != expected:
        raise BadPart(part, f"outputs have shape {tuple(given.shape)}, expected {expected}")
    if not given.dtype.is_floating_point:
        raise BadPart(part, f"outputs are {given.dtype}, expected real numbers, such as torch.float32")


def check_pruned(config: Config, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Check after training that pruned weights are 0, if the trial has parts that could have moved them.

    Raises:
        BadPart: one is not.
    """
    movers = [part for field in _MOVERS if (part := parts.find(str(getattr(config, field))))]
    if not movers:
        return
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        if bool((weight.detach()[~mask.to(weight.device)] != 0).any()):
            raise BadPart(movers[0], f"pruned weights of {name} are not 0 after training, expected 0")
