"""Parts as trials call them: each answer is checked, and settings of the process are as before the call."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from numbers import Real
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sweep.parts.bad_part import BadPart, Called

# A call of a part with the inputs that a trial gives it.
Call = Callable[..., Any]


def _to_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


def _folder() -> Path | None:
    """The working folder; None: somebody has removed it."""
    try:
        return Path.cwd()
    except OSError:
        return None


def _to_folder(folder: Path | None) -> None:
    if folder is not None:
        os.chdir(folder)


# Settings of the process that a part must not change for others: name, how it is read, how it is set.
_Setting = tuple[str, Callable[[], Any], Callable[[Any], Any]]
_CHEAP: tuple[_Setting, ...] = (
    ("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    (
        "torch's deterministic mode",
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    ("Python's recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    ("the working folder", _folder, _to_folder),
)
# Those that take microseconds to read are only restored after a trial.
_ALL: tuple[_Setting, ...] = (
    *_CHEAP,
    ("torch's default device", torch.get_default_device, _to_device),
    (
        "torch's precision of products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
)


@contextmanager
def settings_kept(part: Called | None = None) -> Iterator[None]:
    """Restore the settings of the process after a block.

    Args:
        part: whose code the block runs; None: several parts'.

    Raises:
        BadPart: the part has changed one of them.
    """
    settings = _CHEAP if part else _ALL
    before = [read() for _, read, _ in settings]
    changed = []
    try:
        yield
    finally:
        for (name, read, write), earlier in zip(settings, before, strict=True):
            now = read()
            if now != earlier:
                write(earlier)
                changed.append(f"leaves {name} at {now}, expected {earlier} as before")
    if part and changed:
        raise BadPart(part, changed[0])


def call(part: Called, inputs: tuple[Any, ...], parameters: Mapping[str, Any]) -> Any:
    """Call the object of a part, and check what it gives.

    Raises:
        BadPart: the answer is not of its kind, or the call has changed something that is not the part's.
        Exception: whatever its code raises.
    """
    with settings_kept(part):
        function = part.load()
        if not callable(function):
            raise BadPart(part, f"is {kind(function)}, expected a function or a class")

        def bound(*inputs: Any) -> Any:
            return function(*inputs, **parameters)

        check = _CHECKS.get(part.kind)
        return check(part, bound, *inputs) if check else bound(*inputs)


def kind(value: object) -> str:
    """A value in words, such as `a list` or `shape (2, 3)`."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _rule(part: Called, call: Call, run: Any) -> None:
    answer = call(run)
    if answer is not None:
        raise BadPart(part, f"returns {kind(answer)}, expected None: call the moves of run, without yield")


# Networks that parts have given, while they live.
_GIVEN: "WeakSet[nn.Module]" = WeakSet()


def _model(part: Called, call: Call, shape: tuple[int, ...], classes: int) -> nn.Module:
    model = call(shape, classes)
    if not isinstance(model, nn.Module):
        raise BadPart(part, f"returns {kind(model)}, expected a network (nn.Module)")
    if lazy := [name for name, each in model.named_parameters() if is_lazy(each)]:
        raise BadPart(part, f"returns {lazy[0]} without a shape, as of LazyLinear, expected complete layers")
    if model in _GIVEN:
        raise BadPart(part, "returns one network twice, expected a new one from each call")
    _GIVEN.add(model)
    return model


def _loss(part: Called, call: Call, outputs: Tensor, targets: Tensor) -> Tensor:
    before = _version(targets)
    loss = call(outputs, targets)
    if not isinstance(loss, Tensor) or loss.dim():
        raise BadPart(part, f"returns {kind(loss)}, expected a tensor of one number, such as a mean")
    if outputs.requires_grad and not loss.requires_grad:
        raise BadPart(
            part, "returns a loss that has no gradient, expected one of the outputs, by torch's functions"
        )
    if _version(targets) != before:
        raise BadPart(part, "changes the targets in place, expected them as they were: clone them first")
    return loss


def _version(tensor: Tensor) -> int | None:
    """A number that each change in place raises; None: the tensor is a copy that nobody else reads."""
    return None if tensor.is_inference() else tensor._version


def _metric(part: Called, call: Call, outputs: Tensor, targets: Tensor) -> float:
    # Copies: other metrics and trials read the same tensors.
    return _number(part, call(outputs.clone(), targets.clone()))


def _lr_schedule(part: Called, call: Call, progress: float, settings: Any) -> float:
    factor = _number(part, call(progress, settings))
    if not 0 <= factor < math.inf:
        raise BadPart(part, f"returns {factor} at {progress:.3g}, expected a finite number from 0")
    return factor


def _number(part: Called, value: object) -> float:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return float(value)
    if not isinstance(value, Real):
        raise BadPart(part, f"returns {kind(value)}, expected a number")
    return float(value)


def _optimizer(
    part: Called, call: Call, parameters: Sequence[nn.Parameter], settings: Any
) -> torch.optim.Optimizer:
    optimizer = call(parameters, settings)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise BadPart(part, f"returns {kind(optimizer)}, expected a torch.optim.Optimizer")
    own = {id(parameter) for parameter in parameters}
    theirs = [each for group in optimizer.param_groups for each in group["params"]]
    if not theirs or any(id(each) not in own for each in theirs):
        raise BadPart(part, "returns an optimizer of other tensors, expected one of the given parameters")
    if any(
        each.default is each.empty and each.kind == each.POSITIONAL_OR_KEYWORD for each in _takes(optimizer)
    ):
        raise BadPart(part, "returns an optimizer whose step needs arguments, expected one that takes none")
    return optimizer


def _takes(optimizer: torch.optim.Optimizer) -> Iterable[Any]:
    return signature(optimizer.step).parameters.values()


def _init(part: Called, call: Call, weight: Tensor) -> None:
    before = weight.shape, weight.dtype, weight.device
    with torch.no_grad():
        answer = call(weight)
    if (weight.shape, weight.dtype, weight.device) != before:
        raise BadPart(
            part, f"leaves a weight of {_form(weight)}, expected {tuple(before[0])}, {before[1]}, {before[2]}"
        )
    if answer is not None and not (isinstance(answer, Tensor) and answer.data_ptr() == weight.data_ptr()):
        raise BadPart(part, f"returns {kind(answer)}, expected it to draw the weight in place")
    if not weight.isfinite().all():
        raise BadPart(part, "draws NaN or infinite weights, expected finite numbers")


def _augment(part: Called, call: Call, images: Tensor, generator: torch.Generator) -> Tensor:
    form = images.shape, images.dtype
    altered = call(images, generator)
    if not isinstance(altered, Tensor) or (altered.shape, altered.dtype) != form:
        given = _form(altered) if isinstance(altered, Tensor) else kind(altered)
        raise BadPart(part, f"returns {given}, expected a tensor of {tuple(form[0])}, {form[1]}")
    return altered.to(images.device)


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}, {tensor.dtype}, {tensor.device}"


_CHECKS: dict[str, Callable[..., Any]] = {
    "rule": _rule,
    "model": _model,
    "loss": _loss,
    "metric": _metric,
    "optimizer": _optimizer,
    "lr_schedule": _lr_schedule,
    "init": _init,
    "augment": _augment,
}
