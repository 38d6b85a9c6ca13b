"""Metrics by name: numbers that say how well a network does its task. Each is computed in float64.

The headline of each task is computed here, every epoch. torchmetrics computes most others. It takes seconds
to import, so the first metric that needs it imports it.
"""

import math
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor

from sweep import parts
from sweep.errors import BadInput


def _unchanged(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs


def _predicted(outputs: Tensor, targets: Tensor) -> Tensor:
    """The predicted class of each sample, pixel or token, (N, ...), from its scores (N, classes, ...)."""
    return outputs.argmax(1)


def _entropies(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each sample or token, (N, ...), in nats."""
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        compute: outputs (N, ...) and targets (N, ...) of a whole split → number.
        tasks: names of the tasks that it is for; None: any task.
        higher_is_better: whether a higher value is a better one.
        reduce: outputs and targets of a batch → all that `compute` takes of the outputs, so that less memory
            is held.
    """

    compute: Callable[[Tensor, Tensor], float | Tensor]
    tasks: Collection[str] | None = None
    higher_is_better: bool = True
    reduce: Callable[[Tensor, Tensor], Tensor] = _unchanged

    def value(self, outputs: Tensor, targets: Tensor) -> float:
        """The metric of outputs (N, ...) of a network; NaN where it has none."""
        return self.of_reduced(self.reduce(outputs, targets), targets)

    def of_reduced(self, reduced: Tensor, targets: Tensor) -> float:
        """The metric of what `reduce` takes of all outputs of a network; NaN where it has none."""
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchmetrics warns where it returns NaN
            return float(self.compute(reduced, targets))

    def fits(self, task: str) -> bool:
        """Whether the metric is for a task."""
        return self.tasks is None or task in self.tasks


# Headlines


def _accuracy(predicted: Tensor, targets: Tensor) -> float:
    return int((predicted == targets).count_nonzero()) / targets.numel()


def _r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 − Σ (t − y)² / Σ (t − mean t)², mean over the columns; for a constant column 1 if exact, else 0."""
    outputs, targets = outputs.double(), targets.double()
    missed = (targets - outputs).square().sum(0)
    spread = (targets - targets.mean(0)).square().sum(0)
    return torch.where(spread > 0, 1 - missed / spread, (missed == 0).double()).mean()


def _mean_average_precision(outputs: Tensor, targets: Tensor) -> Tensor:
    """Average precision Σ (R_i − R_(i−1)) P_i, mean over the labels that occur; 0 if none does."""
    each = [
        _average_precision(scores, truth)
        for scores, truth in zip(outputs.double().unbind(1), targets.unbind(1), strict=True)
        if truth.any()
    ]
    return torch.stack(each).mean() if each else torch.zeros(())


def _average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    order = scores.argsort(descending=True)
    hits = truth[order].double().cumsum(0)
    # Samples of one score are one threshold.
    ends = torch.cat([scores[order].diff() != 0, torch.ones_like(truth[:1], dtype=torch.bool)])
    counts = ends.nonzero().flatten() + 1
    precision, recall = hits[ends] / counts, hits[ends] / hits[-1]
    return (recall.diff(prepend=recall.new_zeros(1)) * precision).sum()


def _confusion(predicted: Tensor, targets: Tensor) -> Tensor:
    """How often each class (row) is predicted as each class (column), in float64."""
    classes = int(torch.maximum(predicted.max(), targets.max())) + 1
    pairs = (targets * classes + predicted).flatten()
    return pairs.bincount(minlength=classes**2).view(classes, classes).double()


def _mean_iou(predicted: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of each class, mean over the classes that are true or predicted anywhere."""
    confusion = _confusion(predicted, targets)
    union = confusion.sum(0) + confusion.sum(1) - confusion.diag()
    return (confusion.diag() / union)[union > 0].mean()


# Other metrics


def _mean_dice(predicted: Tensor, targets: Tensor) -> Tensor:
    """2·intersection / (predicted + true), mean over the classes that are true or predicted anywhere."""
    confusion = _confusion(predicted, targets)
    size = confusion.sum(0) + confusion.sum(1)
    return (2 * confusion.diag() / size)[size > 0].mean()


def _recalls(predicted: Tensor, targets: Tensor) -> Tensor:
    """Accuracy of each class, of the classes that are true anywhere."""
    confusion = _confusion(predicted, targets)
    counts = confusion.sum(1)
    return (confusion.diag() / counts)[counts > 0]


def _balanced_accuracy(predicted: Tensor, targets: Tensor) -> Tensor:
    return _recalls(predicted, targets).mean()


def _worst_class(predicted: Tensor, targets: Tensor) -> Tensor:
    return _recalls(predicted, targets).min()


def _top5(outputs: Tensor, targets: Tensor) -> float:
    """Share of samples whose class is among the five of highest score; NaN with fewer than six classes."""
    if outputs.shape[1] < 6:
        return torch.nan
    among = (outputs.topk(5, 1).indices == targets.unsqueeze(1)).any(1)
    return int(among.count_nonzero()) / len(targets)


def _nll(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs.double(), targets)


def _brier(outputs: Tensor, targets: Tensor) -> Tensor:
    """Σ (p − t)² over the classes, mean over samples (Brier 1950): from 0 to 2."""
    truth = torch.nn.functional.one_hot(targets, outputs.shape[1])
    return (outputs.double().softmax(1) - truth).square().sum(1).mean()


def _bits(entropies: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of a byte in bits: 8 for a uniform guess."""
    return entropies.double().mean() / math.log(2)


def _functional(name: str, **options: Any) -> Callable[..., Any]:
    """A function of `torchmetrics.functional`, with some of its options."""
    return partial(resolve_name(f"torchmetrics.functional.{name}"), **options)


def _of_probabilities(name: str, **options: Any) -> Callable[[Tensor, Tensor], Any]:
    """A metric of torchmetrics, of the probabilities of classes, or of each of several labels."""

    def compute(outputs: Tensor, targets: Tensor) -> Any:
        outputs = outputs.double()
        if targets.is_floating_point():
            function = _functional(
                f"classification.multilabel_{name}", num_labels=outputs.shape[1], **options
            )
            return function(outputs.sigmoid(), targets.int())
        # Never "binary": with two classes too, both have their score.
        function = _functional(f"classification.multiclass_{name}", num_classes=outputs.shape[1], **options)
        return function(outputs.softmax(1), targets)

    return compute


def _of_columns(name: str, **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """A metric of torchmetrics, of real numbers, mean over the columns."""

    def compute(outputs: Tensor, targets: Tensor) -> Tensor:
        function = _functional(name, **options)
        columns = zip(outputs.double().unbind(1), targets.double().unbind(1), strict=True)
        return torch.stack([function(predicted, truth) for predicted, truth in columns]).mean()

    return compute


_CLASSES = frozenset({"classification"})
_LABELS = frozenset({"multi-label"})
_NUMBERS = frozenset({"regression"})
_PIXELS = frozenset({"segmentation"})
_TOKENS = frozenset({"language"})
METRICS = {
    "accuracy": Metric(_accuracy, _CLASSES, reduce=_predicted),
    "top5": Metric(_top5, _CLASSES),
    "balanced-accuracy": Metric(_balanced_accuracy, _CLASSES, reduce=_predicted),
    "worst-class-accuracy": Metric(_worst_class, _CLASSES, reduce=_predicted),
    "ece": Metric(_of_probabilities("calibration_error", n_bins=15, norm="l1"), _CLASSES, False),
    "nll": Metric(_nll, _CLASSES, False),
    "brier": Metric(_brier, _CLASSES, False),
    "kappa": Metric(_of_probabilities("cohen_kappa"), _CLASSES),
    "mcc": Metric(_of_probabilities("matthews_corrcoef"), _CLASSES),
    "precision": Metric(_of_probabilities("precision", average="macro"), _CLASSES | _LABELS),
    "recall": Metric(_of_probabilities("recall", average="macro"), _CLASSES | _LABELS),
    "f1": Metric(_of_probabilities("f1_score", average="macro"), _CLASSES | _LABELS),
    "auroc": Metric(_of_probabilities("auroc", average="macro"), _CLASSES | _LABELS),
    "map": Metric(_mean_average_precision, _LABELS),
    "exact-match": Metric(_of_probabilities("exact_match"), _LABELS),
    "r2": Metric(_r2, _NUMBERS),
    "rmse": Metric(_of_columns("mean_squared_error", squared=False), _NUMBERS, False),
    "mae": Metric(_of_columns("mean_absolute_error"), _NUMBERS, False),
    "pearson": Metric(_of_columns("pearson_corrcoef"), _NUMBERS),
    "spearman": Metric(_of_columns("spearman_corrcoef"), _NUMBERS),
    "miou": Metric(_mean_iou, _PIXELS, reduce=_predicted),
    "mean-dice": Metric(_mean_dice, _PIXELS, reduce=_predicted),
    "pixel-accuracy": Metric(_accuracy, _PIXELS, reduce=_predicted),
    "token-accuracy": Metric(_accuracy, _TOKENS, reduce=_predicted),
    "bits_per_byte": Metric(_bits, _TOKENS, False, reduce=_entropies),
}


def find(name: str) -> Metric:
    """The metric of a name: one of `METRICS`, or a part.

    Raises:
        BadInput: there is none.
    """
    if name not in METRICS and not parts.is_name(name):
        raise BadInput(f"no such metric: {name}; known: {', '.join(METRICS)}")
    return parts.entry(METRICS, name, Metric)


def check(names: Iterable[str], task: str) -> None:
    """Check that metrics are for a task.

    Raises:
        BadInput: one is not, or does not exist.
    """
    for name in names:
        if not find(name).fits(task):
            known = ", ".join(each for each, metric in METRICS.items() if metric.fits(task))
            raise BadInput(f"metrics {name}: it is not for {task}: take some of {known}")
