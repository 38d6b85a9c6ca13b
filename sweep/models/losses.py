"""Losses by name, which train a network and score its weights."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from sweep import parts
from sweep.data import TASKS
from sweep.errors import BadInput
from sweep.parts import Arguments


def _summed_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Summed over samples; over pixels or tokens a mean. One division less than a mean, times the samples."""
    return F.cross_entropy(outputs, targets, reduction="sum") / targets[0].numel()


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes:
        compute: outputs and targets → their mean loss over samples, a tensor of one number.
        tasks: names of the tasks that it is for; None: any task.
        smooths: whether `compute` takes `label_smoothing`, the share of a label that all classes get.
        summed: outputs and targets → their summed loss over samples; None: the mean times their number.
    """

    compute: Callable[..., Tensor]
    tasks: Collection[str] | None = None
    smooths: bool = False
    summed: Callable[[Tensor, Tensor], Tensor] | None = None

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, summed over samples."""
        if self.summed:
            return self.summed(outputs, targets)
        return self.compute(outputs, targets) * len(targets)

    def smoothed(self, share: float) -> Callable[[Tensor, Tensor], Tensor]:
        """The mean loss with label smoothing, where the loss takes it."""
        return partial(self.compute, label_smoothing=share) if self.smooths else self.compute

    def fits(self, task: str) -> bool:
        """Whether the loss is for a task."""
        return self.tasks is None or task in self.tasks


def _focal(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each class times (1 − p)², p the probability of the true one (Lin et al. 2017)."""
    entropy = F.cross_entropy(outputs, targets, reduction="none")
    return ((1 - (-entropy).exp()).square() * entropy).mean()


def _hinge(outputs: Tensor, targets: Tensor) -> Tensor:
    """Σ max(0, 1 − x_t + x_j) over the other classes j / number of classes (Crammer & Singer 2001).

    As `F.multi_margin_loss`, which is slow where weights are scored by single samples.
    """
    margins = (1 - outputs.gather(1, targets.unsqueeze(1)) + outputs).relu()
    return ((margins.sum(1) - 1) / outputs.shape[1]).mean()  # the true class itself has a margin of 1


def _dice(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 − 2 Σ p·t / Σ (p + t), Σ over the pixels of an image; mean over classes and images.

    Milletari et al. 2016, with the sum of p and t of Sudre et al. 2017.
    """
    shares = outputs.float().softmax(1)
    truth = F.one_hot(targets, outputs.shape[1]).movedim(-1, 1).to(shares.dtype)
    overlap, size = (shares * truth).flatten(2).sum(2), (shares + truth).flatten(2).sum(2)
    return 1 - (2 * overlap / size).mean()


_CLASSES = frozenset({"classification", "segmentation", "language"})
_NUMBERS = frozenset({"regression"})
LOSSES = {
    "cross-entropy": Loss(F.cross_entropy, _CLASSES, smooths=True, summed=_summed_entropy),
    "focal": Loss(_focal, _CLASSES),
    "hinge": Loss(_hinge, frozenset({"classification"})),
    "dice": Loss(_dice, frozenset({"segmentation"})),
    "mse": Loss(F.mse_loss, _NUMBERS),
    "mae": Loss(F.l1_loss, _NUMBERS),
    "huber": Loss(F.huber_loss, _NUMBERS),
    "binary-cross-entropy": Loss(F.binary_cross_entropy_with_logits, frozenset({"multi-label"})),
}


def find(name: str) -> Loss:
    """The loss of a name: one of `LOSSES`, or a part.

    Raises:
        BadInput: there is none.
    """
    if name not in LOSSES and not parts.is_name(name):
        raise BadInput(f"no such loss: {name}; known: {', '.join(LOSSES)}")
    return parts.entry(LOSSES, name, Loss)


def chosen(name: str | None, task: str, arguments: Arguments = ()) -> Loss:
    """The loss that a trial names, or the task's own.

    Args:
        arguments: parameters of the loss.

    Raises:
        BadInput: there is no such loss.
    """
    loss = find(name or TASKS[task].loss)
    return replace(loss, compute=parts.bind(loss.compute, arguments)) if arguments else loss
