"""What a trial writes down on its way: every epoch, the layers, and what it comes to."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

import pruners
from sweep import rules
from sweep.config import Config
from sweep.models import cost
from sweep.trial import network
from sweep.trial.training import Training

Row = dict[str, Any]
_MEASURED = ("train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy")
# A training loss so many times the first batch's is not going to come back.
_DIVERGED = 10


class Record:
    """Rows of one trial in the making.

    Attributes:
        curves: a row for every epoch, and for the part of one before a pruning within it.
        layers: a row for every prunable layer, of the last masks.
        diverged: the training ended early because its loss was not finite, or ten times the first.
        stopped: it ended early because it was told to.
    """

    def __init__(self, config: Config, training: Training) -> None:
        self._config, self._training = config, training
        self._network: Row = {}
        self._before: Row = {}
        self._epoch_seconds = 0.0
        self._seconds = {"score_seconds": 0.0, "train_seconds": 0.0, "evaluate_seconds": 0.0}
        self.curves: list[Row] = []
        self.layers: list[Row] = []
        self.diverged = self.stopped = False

    @contextmanager
    def _clock(self, column: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[column] += time.perf_counter() - started

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Around the choice of masks."""
        with self._clock("score_seconds"):
            yield

    def timed(self, epochs: Iterator[float]) -> Iterator[float]:
        """The epochs of a training, timed."""
        while True:
            started = time.perf_counter()
            loss = next(epochs, None)
            seconds = time.perf_counter() - started
            self._seconds["train_seconds"] += seconds
            self._epoch_seconds += seconds  # of an epoch that was begun before a pause too
            if loss is None:
                return
            yield loss

    def epoch(self, phase: str, train_loss: float) -> bool:
        """Take down an epoch that has just ended. False if the training has diverged."""
        training = self._training
        measured = self._measure(train_loss)
        self.curves.append(
            {
                "phase": phase,
                "epoch": training.epoch,
                "kept": training.kept,
                **measured,
                "lr": training.rate,
                "seconds": self._epoch_seconds,
            }
        )
        self._epoch_seconds = 0.0
        first = training.first_loss
        return _finite(measured) and (first is None or train_loss <= _DIVERGED * first)

    def masked(self, model: nn.Module, pruned: pruners.Step) -> None:
        """Take down what masks make of the network, before they are put on."""
        data, config = self._training.data, self._config
        masks = pruned.masks
        macs = cost.multiply_adds(config.model, data.shape, data.classes)
        example = data.inputs(data.train.take(torch.arange(1)).images)
        self._network, effective = network.facts(model, masks, macs, example)
        weights = dict(model.named_parameters())
        density, effective_density = pruners.densities(masks), pruners.densities(effective or {})
        self.layers = [
            {
                "layer": index,
                "name": name,
                "shape": list(mask.shape),
                "params": mask.numel(),
                "kept": int(mask.count_nonzero()),
                "density": density[name],
                "effective_density": effective_density.get(name),
                "score_mean": float(pruned.scores[name].mean()) if name in pruned.scores else None,
                "pq_index": pruners.pq_index(weights[name].detach()[mask]),
            }
            for index, (name, mask) in enumerate(masks.items())
        ]

    def pruned(self) -> None:
        """Take down what the network does right after it was pruned, and with fresh BatchNorm statistics."""
        training = self._training
        with self._clock("evaluate_seconds"):
            found = again = self._right_now()
            if cost.normalizes(training.model):
                with training.recalibrated():
                    again = self._right_now()
        self._before = found | {f"{column}_recalibrated": value for column, value in again.items()}

    def _right_now(self) -> dict[str, float]:
        training = self._training
        loss, accuracy = training.evaluate(training.data.test)
        train_loss, _ = training.evaluate(training.data.train)
        return {"pre_train_loss": train_loss, "pre_test_loss": loss, "pre_test_accuracy": accuracy}

    def _measure(self, train_loss: float) -> dict[str, float]:
        with self._clock("evaluate_seconds"):
            validation = self._training.evaluate(self._training.data.validation)
            test = self._training.evaluate(self._training.data.test)
        return dict(zip(_MEASURED, (train_loss, *validation, *test), strict=True))

    def outcome(self) -> Row:
        """The columns of the trial that say what came of it."""
        training = self._training
        # Before its first step a training has been through nothing: it is what the masks leave of it.
        active = training.active / training.spent if training.spent else training.kept
        row = self._network | self._before | self._seconds
        row |= {"mean_active_params": active, "trained_steps": training.trained}
        if self.diverged:
            return row | {"status": "diverged", "diverged": True}
        if self.stopped:
            return row | {"status": "stopped", "diverged": False}
        # Where the density falls along training, the epochs before it is the planned one do not count.
        phase = rules.find(self._config.criterion).last_phase
        after = [row for row in self.curves if row["phase"] == phase and row["kept"] == training.kept]
        if not after:  # pruned at the very end: what can be measured right then is all there is
            with self._clock("evaluate_seconds"):
                train_loss, _ = training.evaluate(training.data.train)
            after = [self._measure(train_loss)]
            if not _finite(after[-1]):
                return row | {"status": "diverged", "diverged": True}
        last, best = after[-1], max(after, key=lambda epoch: epoch["val_accuracy"])
        return row | {
            "status": "ok",
            "diverged": False,
            **{column: last[column] for column in _MEASURED},
            "best_val_accuracy": best["val_accuracy"],
            "test_accuracy_at_best_val": best["test_accuracy"],
            "test_accuracy_selected_on_test": max(epoch["test_accuracy"] for epoch in after),
        }


def _finite(measured: Mapping[str, Any]) -> bool:
    return all(math.isfinite(measured[column]) for column in _MEASURED)
