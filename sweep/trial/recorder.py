"""Collects the rows of a trial on its way: its epochs, its layers, and its outcome."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

import pruners
from pruners.masks import total_kept
from sweep import rules
from sweep.config import Config
from sweep.data import TASKS
from sweep.models import cost, metrics
from sweep.trial import network
from sweep.trial.rows import Row, are_rows, has_types
from sweep.trial.smaller import Smaller
from sweep.trial.training import Training

_MEASURED = ("train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy")
# Attributes of a recorder that its state has.
_RECORDED = (
    "_network",
    "_after_prune",
    "_moment",
    "_masks",
    "_seconds",
    "_epoch_seconds",
    "curves",
    "layers",
)
# A training has diverged when its loss is this many times the loss of the first batch.
_DIVERGED = 10


class Recorder:
    """Collects the rows of one trial. It writes nothing.

    Attributes:
        curves: a row for each epoch, and for the part of an epoch before a pruning within it.
        layers: a row for each prunable layer, of the last masks.
        diverged: the training ended early because its loss was not finite, or ten times the first.
        stopped: the training ended early because `after_epoch` stopped it.
        twin: the columns of `trials` that compare the network with its twin.
        follow: is called with the row of each epoch when the epoch ends.
    """

    def __init__(self, config: Config, training: Training) -> None:
        self._config, self._training = config, training
        self._network: Row = {}
        self._after_prune: Row = {}
        self._moment: Row = {"pruned_at_epoch": None}
        self._masks: Mapping[str, torch.Tensor] = {}
        self._smaller: Smaller | None = None
        self._epoch_seconds, self._since = 0.0, 0.0
        self._seconds = {"score_seconds": 0.0, "train_seconds": 0.0, "evaluate_seconds": 0.0}
        self.curves: list[Row] = []
        self.layers: list[Row] = []
        self.diverged = self.stopped = False
        self.twin: Row = {}
        self.follow: Callable[[Row], object] = lambda row: None

    @contextmanager
    def _clock(self, column: str) -> Iterator[None]:
        """Add the time of the block to a column."""
        started = time.perf_counter()
        yield
        self._seconds[column] += time.perf_counter() - started

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Add the time of the block to `score_seconds`."""
        with self._clock("score_seconds"):
            yield

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Add the time of the block to `evaluate_seconds`."""
        with self._clock("evaluate_seconds"):
            yield

    def timed(self, epochs: Iterator[float]) -> Iterator[float]:
        """The epochs of a training, whose time is added to `train_seconds`."""
        while True:
            self._since = time.perf_counter()
            loss = next(epochs, None)
            self._lap()
            if loss is None:
                return
            yield loss

    def _lap(self) -> None:
        """Add the time of training until now."""
        seconds = time.perf_counter() - self._since
        self._seconds["train_seconds"] += seconds
        self._epoch_seconds += seconds  # also those of an epoch that a pause interrupts

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around what interrupts a training, so that its time is not recorded as that of training."""
        self._lap()
        yield
        self._since = time.perf_counter()

    def charge(self, steps: int, seconds: float) -> None:
        """Add what another training cost that the trial made for itself."""
        self._training.trained += steps
        self._seconds["train_seconds"] += seconds

    def state(self) -> dict[str, Any]:
        """All that is recorded until now."""
        return {name: getattr(self, name) for name in _RECORDED}

    def can_restore(self, state: Mapping[str, Any]) -> bool:
        """Whether `state` made a state. The file of a state may have any content."""
        try:
            rows, seconds = (
                [state[name] for name in ("_network", "_after_prune", "_moment")],
                state["_seconds"],
            )
            masks = [(name, [*mask.shape], mask.dtype) for name, mask in state["_masks"].items()]
            return (
                seconds.keys() == self._seconds.keys()
                and all(type(value) is float for value in (*seconds.values(), state["_epoch_seconds"]))
                and all(has_types(row, "trials") for row in rows)
                and are_rows(state["curves"], "curves")
                and are_rows(state["layers"], "layers")
                and masks == [(row["name"], row["shape"], torch.bool) for row in state["layers"]]
            )
        except (AttributeError, LookupError, TypeError):
            return False

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name in _RECORDED:
            setattr(self, name, copy.copy(state[name]))

    def record_epoch(self, phase: str, train_loss: float) -> bool:
        """Evaluate the network and record the epoch that has just ended.

        Returns:
            False if the training has diverged.
        """
        training = self._training
        removed = training.total - training.kept
        measured = self._measure(train_loss)
        self.curves.append(
            {
                "phase": phase,
                "epoch": training.epoch,
                "kept": training.kept,
                **measured,
                "pq_index": network.pq_index(training.model, {}, 0 if self._smaller else removed),
                "lr": training.rate,
                "seconds": self._epoch_seconds,
            }
        )
        self._epoch_seconds = 0.0
        self.follow(self.curves[-1])
        return _finite(measured) and self.is_bounded(train_loss)

    def is_bounded(self, train_loss: float) -> bool:
        """Whether the mean loss of an epoch is finite, and not ten times that of the first batch."""
        first = self._training.first_loss
        return math.isfinite(train_loss) and (first is None or train_loss <= _DIVERGED * abs(first))

    def record_moment(self) -> None:
        """Record that an indicator, or its latest epoch, has ended the dense training here."""
        self._moment = {"pruned_at_epoch": self._training.epoch}

    def record_masks(self, model: nn.Module, chosen: pruners.Step) -> None:
        """Record the network and its layers under masks, from the weights before the masks are applied."""
        data, config = self._training.data, self._config
        masks = self._masks = chosen.masks
        form, arguments = data.form, config.arguments("model")
        macs = cost.multiply_adds(config.model, form.shape, data.classes, arguments, form.dtype)
        self._network, effective = network.columns(model, masks, macs, network.example(data))
        removed = sum(mask.numel() for mask in masks.values()) - total_kept(masks.values())
        self._network["pq_index"] = network.pq_index(model, masks, removed)
        weights = dict(model.named_parameters())
        density, effective_density = pruners.densities(masks), pruners.densities(effective or {})
        self._network["flops"] = 2 * sum(macs.values())
        self.layers = [
            {
                "layer": index,
                "name": name,
                "shape": list(mask.shape),
                "params": mask.numel(),
                "kept": int(mask.count_nonzero()),
                "density": density[name],
                "effective_density": effective_density.get(name),
                "score_mean": float(chosen.scores[name].mean()) if name in chosen.scores else None,
                "pq_index": pruners.pq_index(weights[name].detach()[mask]),
                "ramanujan_gap": pruners.ramanujan_gap(mask),
            }
            for index, (name, mask) in enumerate(masks.items())
        ]

    def record_smaller(self, smaller: Smaller) -> None:
        """Record the network that the masks leave, which is trained from now on."""
        example = network.example(self._training.data)
        self._network["flops"] = 2 * sum(pruners.multiply_adds(smaller.network, example).values())
        self._smaller = smaller

    def masks(self) -> list[Row]:
        """A row for each prunable layer: its last mask, a bit for each weight."""
        return [
            {name: layer[name] for name in ("layer", "name", "shape", "params", "kept")}
            | {"bits": np.packbits(mask.cpu().numpy(), axis=None).tobytes()}
            for layer, mask in zip(self.layers, self._masks.values(), strict=True)
        ]

    def record_pruned(self) -> None:
        """Evaluate the network right after the pruning, as it is and with recomputed BatchNorm statistics."""
        training = self._training
        with self._clock("evaluate_seconds"):
            plain = recalibrated = self._evaluate_pruned()
            if cost.normalizes(training.model):
                with training.recalibrated():
                    recalibrated = self._evaluate_pruned()
        self._after_prune = plain | {f"{name}_recalibrated": value for name, value in recalibrated.items()}

    def _evaluate_pruned(self) -> dict[str, float]:
        training = self._training
        loss, accuracy = training.evaluate(training.data.test)
        evaluate = training.evaluate if training.step < training.end else training.evaluate_once
        train_loss, _ = evaluate(training.data.train)
        return {"pre_train_loss": train_loss, "pre_test_loss": loss, "pre_test_accuracy": accuracy}

    def _measure(self, train_loss: float) -> dict[str, float]:
        with self._clock("evaluate_seconds"):
            validation = self._training.evaluate(self._training.data.validation)
            test = self._training.evaluate(self._training.data.test)
        return dict(zip(_MEASURED, (train_loss, *validation, *test), strict=True))

    def metrics(self, names: Iterable[str]) -> list[Row]:
        """A row for each metric of the network as it is, on validation and on test data.

        Raises:
            BadInput: a metric does not exist, or is not for the task.
        """
        training = self._training
        asked = {name: metrics.find(name) for name in names}
        if not asked:
            return []
        rows = []
        for split, data in (("validation", training.data.validation), ("test", training.data.test)):
            values = training.values(data, asked.values())
            for (name, metric), value in zip(asked.items(), values, strict=True):
                rows.append(
                    {
                        "name": name,
                        "split": split,
                        "value": value if math.isfinite(value) else None,
                        "higher_is_better": metric.higher_is_better,
                    }
                )
        return rows

    def outcome(self) -> Row:
        """The columns of `trials` that say how the trial ended, and at what cost.

        Accuracies are values of the task's headline metric, in the epochs after the last pruning. Where the
        density falls along training, they are those of the epochs at the final density.
        """
        training = self._training
        # Without a training step, the mean over the steps is the number of weights that the masks keep.
        active = training.active / training.spent if training.spent else training.kept
        row = self._network | self._after_prune | self._moment | self._seconds
        row |= {"headline": TASKS[training.data.task].headline}
        row |= {"mean_active_params": active, "spent_steps": training.spent}
        row |= {"trained_steps": training.trained, "explored": training.explored}
        if self.diverged:
            return row | {"status": "diverged", "diverged": True}
        if self.stopped:
            return row | {"status": "stopped", "diverged": False}
        phase = rules.find(self._config.criterion).last_phase
        epochs = [row for row in self.curves if row["phase"] == phase and row["kept"] == training.kept]
        if not epochs:  # pruned after the last step: no epoch follows, so the network is evaluated as it is
            with self._clock("evaluate_seconds"):
                train_loss, _ = training.evaluate_once(training.data.train)
            epochs = [self._measure(train_loss)]
            if not _finite(epochs[-1]):
                return row | {"status": "diverged", "diverged": True}
        if activity := training.activity():
            row |= activity._asdict()
        last, best = epochs[-1], max(epochs, key=lambda epoch: epoch["val_accuracy"])
        return (
            row
            | self._latency()
            | self.twin
            | {
                "status": "ok",
                "diverged": False,
                **{column: last[column] for column in _MEASURED},
                "best_val_accuracy": best["val_accuracy"],
                "test_accuracy_at_best_val": best["test_accuracy"],
                "test_accuracy_selected_on_test": max(epoch["test_accuracy"] for epoch in epochs),
            }
        )

    def _latency(self) -> Row:
        """The time of a forward pass, and how much faster it is than that of the whole network.

        NULL where the network is not made smaller.
        """
        if not self._smaller:
            return {"latency_ms": None, "speedup": None}
        with self._clock("evaluate_seconds"):
            seconds, whole = self._training.latencies(self._smaller.network, self._smaller.whole)
        return {"latency_ms": seconds * 1e3, "speedup": whole / seconds}


def _finite(measured: Mapping[str, Any]) -> bool:
    return all(math.isfinite(measured[column]) for column in _MEASURED)
