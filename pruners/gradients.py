"""Gradients with respect to many tensors, and checks of the loss they are taken of."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.batches import Loss
from pruners.forward import single_tensor


def slopes(
    output: Tensor, leaves: Sequence[Tensor], create_graph: bool = False, retain_graph: bool = False
) -> tuple[Tensor, ...]:
    """Gradients; 0 for a leaf that the output does not depend on, such as a layer that is not used."""
    return torch.autograd.grad(
        output,
        leaves,
        retain_graph=create_graph or retain_graph,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )


def check_number(outputs: object, loss: Tensor) -> None:
    """Raise `ValueError` where the loss of finite outputs is NaN.

    Such a loss is a mean over no targets, and its gradient would be 0 without a word.
    """
    if loss.isnan().any() and isinstance(outputs, Tensor) and outputs.isfinite().all():
        raise ValueError("the loss of a batch is NaN: give targets, at least one of them not ignored")


def of_one_number(loss: Loss) -> Loss:
    """The loss, raising `ValueError` where its value is not a tensor of one number."""

    def checked(outputs: Tensor, targets: Tensor) -> Tensor:
        try:
            value = loss(outputs, targets)
        except (TypeError, AttributeError):
            single_tensor(outputs)  # the likely cause: outputs that are no tensor
            raise
        if not isinstance(value, Tensor) or value.numel() != 1:
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"the loss gives {given}: give one that is a mean, a tensor of one number")
        return value

    return checked
