"""Data that a function gives: tensors, arrays, data sets of PyTorch or of Hugging Face, checked."""

import inspect
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as Pairs
from torch.utils.data import IterableDataset

from sweep.data import catalog
from sweep.data.tasks import TASKS, guessed
from sweep.errors import BadInput
from sweep.parts import Arguments, Part, bind

# Names of the column of a Hugging Face data set that holds the targets; the other columns are the inputs.
_TARGETS = ("label", "labels", "target", "targets", "y")
# What a part of a data set may be.
_KINDS = (
    "a pair (inputs, targets) of tensors or arrays, a map-style torch.utils.data.Dataset, "
    "or a Hugging Face Dataset"
)


class Given(NamedTuple):
    """The data of a function.

    Attributes:
        train, test: inputs (N, ...) as uint8 for images, else float32 or int64; targets (N, ...).
        task: a name of `TASKS`.
        outputs: numbers that a network puts out for an input, or for a pixel.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    task: str
    outputs: int


def read(name: str, root: Path, arguments: Arguments = ()) -> Given:
    """Call the function of a data set, and check what it returns.

    Args:
        arguments: parameters of the function.

    Raises:
        BadInput: the data are no data set; the message says what is wrong with them.
    """
    give = catalog.find(name).give
    assert give is not None
    call = bind(give, arguments)
    parts = call(root) if _takes_root(give) else call()
    if not isinstance(parts, tuple | list) or len(parts) != 2:
        raise BadInput(f"{name}: gives {_kind(parts)}: give a pair (train, test)")
    (train, given), (test, held) = (
        _tensors(f"{name}: {part}", data) for part, data in zip(("train", "test"), parts, strict=True)
    )
    if (test.shape[1:], test.dtype) != (train.shape[1:], train.dtype):
        raise BadInput(
            f"{name}: test inputs are {_words(test)} and training inputs {_words(train)}: give equal ones"
        )
    shape = tuple(train.shape[1:])
    task = _task(name, given, shape)
    for part, targets in (("train", given), ("test", held)):
        if not TASKS[task].fits(targets, shape):
            raise BadInput(
                f"{name}: {part} targets are {_words(targets)} and {task} takes {TASKS[task].targets}"
            )
    given, held = TASKS[task].form(given), TASKS[task].form(held)
    if held.shape[1:] != given.shape[1:]:
        raise BadInput(
            f"{name}: test targets are {_words(held)} and training targets {_words(given)}: give equal ones"
        )
    if TASKS[task].labelled:
        _check_labels(name, given, held, gaps=TASKS[task].gaps)
    return Given((train, given), (test, held), task, TASKS[task].outputs(given))


def _takes_root(give: Any) -> bool:
    """Whether a function has a positional parameter without a default."""
    if isinstance(give, Part):
        return bool(give.inputs)
    return any(
        each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) and each.default is each.empty
        for each in inspect.signature(give).parameters.values()
    )


def _task(name: str, targets: Tensor, shape: tuple[int, ...]) -> str:
    """The task that a data set declares, or that its targets say."""
    declared = catalog.task(name)
    if declared is not None and declared not in TASKS:
        raise BadInput(f"{name}: no such task: {declared}; known: {', '.join(TASKS)}")
    task = declared or guessed(targets, shape)
    if task is None:
        known = "; ".join(f"{task} takes {TASKS[task].targets}" for task in TASKS)
        raise BadInput(f"{name}: targets of {_words(targets)} fit no task: {known}")
    return task


def _check_labels(name: str, train: Tensor, test: Tensor, *, gaps: bool) -> None:
    """Check that labels are 0, 1, 2 and so on, and that training has all of them, unless there may be gaps.

    Raises:
        BadInput: they are not.
    """
    labels = train.unique()
    if labels[0] < 0 or test.min() < 0:
        raise BadInput(f"{name}: a label is {min(int(labels[0]), int(test.min()))}: count labels from 0")
    missing = (labels != torch.arange(len(labels))).nonzero().flatten()
    if len(missing) and not gaps:
        raise BadInput(
            f"{name}: no training target is {int(missing[0])}, and some are {int(labels[-1])}: "
            "number the labels without gaps"
        )
    if test.max() > labels[-1]:
        raise BadInput(f"{name}: a test target is {int(test.max())}, which no training target is")


def _tensors(name: str, part: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a part of a data set, as tensors.

    Args:
        name: of the data set and the part, for errors.
    """
    inputs, targets = pair(name, part)
    inputs, targets = _numbers(f"{name} inputs", inputs), _numbers(f"{name} targets", targets)
    inputs = inputs.float() if inputs.dtype == torch.bool else inputs
    if not len(inputs) or not len(targets):
        raise BadInput(f"{name} is empty: give at least one input with its target")
    if len(inputs) != len(targets):
        raise BadInput(f"{name} has {len(inputs)} inputs and {len(targets)} targets: give as many of both")
    for kind, values in (("inputs", inputs), ("targets", targets)):
        if values.is_floating_point() and not values.isfinite().all():
            raise BadInput(f"{name} {kind} have NaN or infinite numbers: remove or replace them")
    as_given = _is_images(inputs) or inputs.is_floating_point()
    return inputs if as_given else inputs.long(), targets if targets.is_floating_point() else targets.long()


def pair(name: str, part: Any) -> tuple[Any, Any]:
    """Inputs and targets of a part of a data set, as they are given.

    Args:
        name: of the data set and the part, for errors.

    Raises:
        BadInput: the part is of no known form.
    """
    if isinstance(part, IterableDataset):
        raise BadInput(f"{name} is an IterableDataset: give {_KINDS}")
    if isinstance(part, Pairs):
        return _stacked(name, part)
    if hasattr(part, "column_names") and hasattr(part, "with_format"):
        return _columns(name, part)
    if isinstance(part, tuple | list) and len(part) == 2:
        inputs, targets = part
        return inputs, targets
    raise BadInput(f"{name} is {_kind(part)}: give {_KINDS}")


def _is_images(inputs: Tensor) -> bool:
    """Whether inputs are images: uint8 (N, C, H, W) of one to four channels."""
    return inputs.dtype == torch.uint8 and inputs.dim() == 4 and 1 <= inputs.shape[1] <= 4


def _numbers(name: str, values: Any) -> Tensor:
    """A tensor of one dimension or more on the CPU: float32 for real numbers, else of its own type."""
    if not isinstance(values, Tensor):
        if isinstance(values, str) or not (hasattr(values, "__array__") or isinstance(values, list)):
            raise BadInput(f"{name} are {_kind(values)}: give a tensor or an array")
        try:
            array = np.asarray(values)
        except ValueError:  # lists of different lengths
            raise BadInput(f"{name} are not of one shape: give a tensor or an array") from None
        values = _from_array(name, array)
    if values.is_complex() or values.is_sparse or values.is_quantized:
        raise BadInput(f"{name} are a tensor of {values.dtype}, {values.layout}: give plain numbers")
    if not values.dim():
        raise BadInput(f"{name} are a single number: give one for each sample")
    plain: Tensor = values.detach().cpu()
    return plain.float() if plain.is_floating_point() else plain


def _from_array(name: str, array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor with the numbers of an array, in memory of its own and in the machine's order of bytes."""
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{name} are an array of {array.dtype}: give numbers")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def _stacked(name: str, part: Pairs[Any]) -> tuple[Any, Any]:
    """Inputs and targets of a data set of PyTorch, whose items are pairs."""
    if not hasattr(part, "__len__"):
        raise BadInput(f"{name} is {_kind(part)} without a length: give {_KINDS}")
    items = [part[index] for index in range(len(part))]
    for item in items:
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise BadInput(f"{name} has {_kind(item)} as an item: give pairs (input, target)")
    inputs, targets = ([item[place] for item in items] for place in (0, 1))
    return _stack(f"{name} inputs", inputs), _stack(f"{name} targets", targets)


def _stack(name: str, values: list[Any]) -> Tensor | list[Any]:
    """One tensor of many values: tensors, arrays, numbers, or Pillow's images, (H, W) or (H, W, C)."""
    tensors = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
            continue
        array = np.asarray(value)
        if hasattr(value, "getbands"):  # an image of Pillow
            array = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
        tensors.append(_from_array(name, array))
    if len({each.shape for each in tensors}) > 1:
        raise BadInput(f"{name} are not of one shape: give equal shapes")
    return torch.stack(tensors) if tensors else tensors


def _columns(name: str, part: Any) -> tuple[Any, Any]:
    """Inputs and targets of a Hugging Face data set: its column of labels, and the other columns."""
    names = list(part.column_names)
    labels = [column for column in names if column in _TARGETS]
    if len(labels) != 1 or len(names) < 2:
        raise BadInput(
            f"{name} has the columns {', '.join(names)}: name one of them label; the others are the inputs"
        )
    columns = part.with_format("torch")[:]
    others = [columns[column] for column in names if column not in labels]
    if len(others) == 1:
        return others[0], columns[labels[0]]
    for column, values in zip((each for each in names if each not in labels), others, strict=True):
        if not isinstance(values, Tensor) or values.dim() != 1:
            raise BadInput(
                f"{name} column {column} is no column of numbers: keep one column beside the label"
            )
    return torch.stack([values.float() for values in others], 1), columns[labels[0]]


def _kind(value: object) -> str:
    kind = type(value).__name__
    many = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}{many}"


def _words(values: Tensor) -> str:
    return f"{tuple(values.shape[1:])} of {str(values.dtype).removeprefix('torch.')}"
