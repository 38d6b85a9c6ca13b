"""Decorators for parts. They say what cannot be guessed; a study reads them without running the source.

Each takes `version`: a number or a word that takes the place of the source's fingerprint in trials' ids.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

T = TypeVar("T", bound=Callable[..., Any])
Version = int | str | None


def _as_it_is(part: T) -> T:
    return part


def rule(
    *,
    reads: Sequence[str] | None = None,
    phase: str = "retrain",
    exact: bool = True,
    version: Version = None,
) -> Callable[[T], T]:
    """A rule: a function `(run, *, …)` that trains and prunes with the moves of `sweep.rules.Run`.

    Args:
        reads: the fields of pruning that the outcome depends on; None: all of them.
        phase: the name under which it trains the pruned network.
        exact: whether it ends at the sparsity of the trial, which is checked; False: at another one, which
            the column `density` says.
    """
    return _as_it_is


def model(
    *, smallest: int = 1, patch: int | None = None, bf16: bool = True, version: Version = None
) -> Callable[[T], T]:
    """A network: a function `(shape, classes, *, …)` that returns a module, or a class of modules.

    Args:
        smallest: the smallest side of an image that it takes.
        patch: the side of the square patches that it cuts images into.
        bf16: whether its layers compute in bfloat16 on a GPU.
    """
    return _as_it_is


def dataset(
    *,
    task: Literal["classification", "regression", "multi-label", "segmentation", "language"] | None = None,
    mirrored: bool = False,
    version: Version = None,
) -> Callable[[T], T]:
    """A data set: a function `(root, *, …)` or `(*, …)` that returns its training and test part.

    Each part is a pair of inputs and targets (tensors or arrays), or a data set of torch or Hugging Face.

    Args:
        task: what the targets are; None: their type and shape tell.
        mirrored: whether a mirror image shows the same thing, so that recipes may flip images.
    """
    return _as_it_is


def loss(*, tasks: Sequence[str] | None = None, version: Version = None) -> Callable[[T], T]:
    """A loss: a function `(outputs, targets, *, …)` that returns a scalar with a gradient.

    Args:
        tasks: those that it fits; None: all.
    """
    return _as_it_is


def metric(
    *, higher_is_better: bool = True, tasks: Sequence[str] | None = None, version: Version = None
) -> Callable[[T], T]:
    """A metric: a function `(outputs, targets, *, …)` of a complete split that returns a number."""
    return _as_it_is


def optimizer(*, reads: Sequence[str] = (), version: Version = None) -> Callable[[T], T]:
    """An optimizer: a function `(parameters, settings, *, …)`; settings has the fields of the config.

    Args:
        reads: the fields that it reads of those that not all optimizers read: `momentum`, `nesterov`.
    """
    return _as_it_is


def lr_schedule(*, reads: Sequence[str] = (), version: Version = None) -> Callable[[T], T]:
    """A learning-rate schedule: `(progress, settings, *, …)` → factor of the highest learning rate.

    Args:
        reads: the fields that it reads of those that not all schedules read: `lr_drops`, `lr_drop_factor`.
    """
    return _as_it_is


def init(*, version: Version = None) -> Callable[[T], T]:
    """An initialization: a function `(weight, *, …)` that draws a weight in place."""
    return _as_it_is


def augment(*, version: Version = None) -> Callable[[T], T]:
    """An augmentation: a function `(images, generator, *, …)` that returns new images."""
    return _as_it_is
