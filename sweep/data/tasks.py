"""The kinds of task: which targets belong to one, what a network puts out for them, what says how well."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

CLASSIFICATION = "classification"
LANGUAGE = "language"


@dataclass(frozen=True)
class Task:
    """A kind of task.

    Attributes:
        targets: which targets belong to it, in words.
        fits: targets and the shape of an input → whether the targets belong to it.
        form: targets (N, ...) → as losses and metrics take them.
        outputs: such targets of training → numbers that a network puts out for an input, or for a pixel.
        loss: name of the loss that trains and scores where a trial names none.
        headline: name of the metric in the accuracy columns of results; higher is better.
        labelled: whether targets are numbers of classes, counted from 0.
        gaps: whether some of these numbers may be no target of training.
        places: shape of an input → those of its dimensions that have outputs and targets of their own.
        in_order: whether neighbouring inputs are alike, so that validation is a stretch of them.
    """

    targets: str
    fits: Callable[[Tensor, tuple[int, ...]], bool]
    form: Callable[[Tensor], Tensor]
    outputs: Callable[[Tensor], int]
    loss: str
    headline: str
    labelled: bool = False
    gaps: bool = False
    places: Callable[[tuple[int, ...]], tuple[int, ...]] = lambda shape: ()
    in_order: bool = False


def _classes(labels: Tensor) -> int:
    return int(labels.max()) + 1


def _width(targets: Tensor) -> int:
    return targets.shape[1]


def _is_map(targets: Tensor, shape: tuple[int, ...]) -> bool:
    whole = not targets.is_floating_point()
    return whole and targets.dim() == 3 and len(shape) == 3 and tuple(targets.shape[1:]) == shape[1:]


def _is_of_switches(targets: Tensor, shape: tuple[int, ...]) -> bool:
    return targets.dim() == 2 and bool(((targets == 0) | (targets == 1)).all())


TASKS = {
    CLASSIFICATION: Task(
        "(N,) of whole numbers",
        lambda targets, shape: targets.dim() == 1 and not targets.is_floating_point(),
        Tensor.long,
        _classes,
        "cross-entropy",
        "accuracy",
        labelled=True,
    ),
    "regression": Task(
        "(N,) or (N, k) of real numbers",
        lambda targets, shape: targets.dim() in (1, 2),
        # One column, so that no loss broadcasts (N,) against the outputs (N, 1).
        lambda targets: targets.float().view(len(targets), -1),
        _width,
        "mse",
        "r2",
    ),
    "multi-label": Task(
        "(N, k) of 0 and 1", _is_of_switches, Tensor.float, _width, "binary-cross-entropy", "map"
    ),
    "segmentation": Task(
        "(N, H, W) of whole numbers for inputs (N, C, H, W)",
        _is_map,
        Tensor.long,
        _classes,
        "cross-entropy",
        "miou",
        labelled=True,
        places=lambda shape: shape[1:],
    ),
    LANGUAGE: Task(
        "(N, T) of whole numbers for inputs (N, T): the token that follows each",
        lambda targets, shape: (
            targets.dim() == 2 and not targets.is_floating_point() and tuple(targets.shape[1:]) == shape
        ),
        Tensor.long,
        _classes,
        "cross-entropy",
        "token-accuracy",
        labelled=True,
        gaps=True,
        places=lambda shape: shape,
        in_order=True,
    ),
}


def guessed(targets: Tensor, shape: tuple[int, ...]) -> str | None:
    """The name of the task that targets (N, ...) belong to; None: there is none.

    Real numbers are for regression. Whole numbers are one class for each input, one class for each pixel, or
    a matrix of 0 and 1.

    Args:
        shape: of one input.
    """
    whole = (CLASSIFICATION, "segmentation", "multi-label")
    names = ("regression",) if targets.is_floating_point() else whole
    return next((name for name in names if TASKS[name].fits(targets, shape)), None)


class _Inputs(Protocol):
    """Inputs (N, ...) of a data set, in memory or in files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of inputs, and the shape of each."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers."""
        ...


@dataclass(frozen=True)
class Form:
    """What the inputs of a data set are, and what is asked about them.

    Attributes:
        shape: of one input; of an image channels, height and width.
        task: a name of `TASKS`.
        images: whether inputs are images of 8 bits, which are normalized and can be augmented.
        dtype: of the inputs as a network gets them: float32, or int64 for whole numbers and bytes of text.
    """

    shape: tuple[int, ...]
    task: str = CLASSIFICATION
    images: bool = True
    dtype: torch.dtype = torch.float32

    @staticmethod
    def of(inputs: _Inputs, task: str) -> "Form":
        """The form of inputs of a task. Inputs (N, C, H, W) of uint8 are images."""
        images = inputs.dtype == torch.uint8 and len(inputs.shape) == 4
        real = images or inputs.dtype.is_floating_point
        return Form(tuple(inputs.shape[1:]), task, images, torch.float32 if real else torch.int64)
