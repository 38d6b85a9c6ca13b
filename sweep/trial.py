"""One trial: dense training to `prune_epoch`, prune, evaluate, retrain, evaluate. Needs no Ray."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pruners
from sweep import data, models, network
from sweep.seeds import derive, generator
from sweep.study import DENSE, PROTOCOL, Config, Trial
from sweep.training import Training

Row = dict[str, Any]
_MEASURED = ("train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy")


@dataclass
class Result:
    """What a trial found: its row of `trials`, and its rows of `curves` and `layers`."""

    trial: Row
    curves: list[Row] = field(default_factory=list)
    layers: list[Row] = field(default_factory=list)


def run(trial: Trial, data_root: str | Path = "data", device: str | torch.device = "cpu") -> Result:
    """Run one trial from its config to its result.

    On CPUs of one kind the result is the same bit by bit whoever runs it: one thread, own seeds, no global
    state.

    Raises:
        BadInput: the data set is missing, or the model does not fit its images.
    """
    started = datetime.now(UTC)
    clock = time.perf_counter()
    config, device = trial.config, torch.device(device)
    with _one_thread(device):
        whole = data.load(config.dataset, Path(data_root), config.validation_fraction, config.split_seed)
        stages = _Stages(config, data.to(whole, device), device)
        outcome = stages.run()
    row = {
        **identity(trial),
        **outcome,
        "score_seconds": stages.score_seconds,
        "train_seconds": stages.train_seconds,
        "wall_seconds": time.perf_counter() - clock,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "started_at": started,
        "finished_at": datetime.now(UTC),
    }
    named = {"trial_id": trial.id}
    return Result(row, [named | r for r in stages.curves], [named | r for r in stages.layers])


def identity(trial: Trial) -> Row:
    """The columns of a row that say which trial it is."""
    config = trial.config
    return {
        "trial_id": trial.id,
        "protocol": PROTOCOL,
        "config": trial.canonical,
        **{
            column: getattr(config, column)
            for column in ("dataset", "model", "criterion", "scope", "sparsity", "iterations", "schedule")
        },
        "prune_epoch": float(config.prune_epoch),
        "epochs": config.epochs,
        "retrain": "all",
        "rewind_epoch": None,
        "ablation": "none",
        "seed": config.seed,
    }


def failure(trial: Trial, error: str) -> Result:
    """The result of a trial that could not be finished."""
    now = datetime.now(UTC)
    return Result(
        identity(trial) | {"status": "failed", "error": error, "started_at": now, "finished_at": now}
    )


class _Stages:
    """The stages of one trial, and what they record on the way."""

    def __init__(self, config: Config, whole: data.Data, device: torch.device) -> None:
        self.config, self.data = config, whole
        model = models.build(config.model, whole.shape, whole.classes, derive(config.seed, "init"))
        self.model = model.to(device)
        self.training = Training(config, self.model, whole)
        self.curves: list[Row] = []
        self.layers: list[Row] = []
        self.score_seconds = self.train_seconds = 0.0

    def run(self) -> Row:
        config = self.config
        finite = self._train("dense", config.prune_epoch)
        row: Row = {}
        if finite:
            pruned = self._prune()
            row = self._facts(pruned)
            self.training.mask(pruned.masks)
            pre_test_loss, pre_test_accuracy = self.training.evaluate(self.data.test)
            row |= {
                "pre_train_loss": self.training.evaluate(self.data.train)[0],
                "pre_test_loss": pre_test_loss,
                "pre_test_accuracy": pre_test_accuracy,
            }
            finite = self._train("retrain", config.epochs)
        return row | self._outcome(finite)

    def _train(self, phase: str, until: int) -> bool:
        """Train to the end of epoch `until`; False, and no further, once a loss is no longer finite."""
        while self.training.epoch < until:
            started = time.perf_counter()
            lr = self.training.learning_rate(self.training.epoch * self.training.steps_per_epoch)
            measured = self._measure(self.training.train_epoch())
            seconds = time.perf_counter() - started
            self.train_seconds += seconds
            self.curves.append(
                {
                    "phase": phase,
                    "epoch": self.training.epoch,
                    **measured,
                    "lr": lr,
                    "seconds": seconds,
                }
            )
            if not _finite(measured):
                return False
        return True

    def _prune(self) -> pruners.Step:
        config = self.config
        if config.criterion == DENSE:
            weights = pruners.prunable(self.model)
            return pruners.Step(
                {}, {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
            )
        started = time.perf_counter()
        steps = pruners.trajectory(
            config.criterion,
            self.model,
            _ScoringData(config, self.data),
            sparsity=config.sparsity,
            scope=config.scope,
            iterations=config.iterations,
            schedule=config.schedule,
            seed=derive(config.seed, "mask"),
        )
        last = pruners.final(steps, config.iterations)
        self.score_seconds = time.perf_counter() - started
        return last

    def _facts(self, pruned: pruners.Step) -> Row:
        masks = pruned.masks
        macs = network.multiply_adds(self.config.model, self.data.shape, self.data.classes)
        example = self.data.inputs(self.data.train.images[:1])
        row, effective = network.facts(self.model, masks, macs, example)
        weights = dict(self.model.named_parameters())
        density, effective_density = pruners.densities(masks), pruners.densities(effective)
        self.layers = [
            {
                "layer": index,
                "name": name,
                "shape": list(mask.shape),
                "params": mask.numel(),
                "kept": int(mask.sum()),
                "density": density[name],
                "effective_density": effective_density[name],
                "score_mean": float(pruned.scores[name].mean()) if name in pruned.scores else None,
                "pq_index": pruners.pq_index(weights[name].detach()[mask]),
            }
            for index, (name, mask) in enumerate(masks.items())
        ]
        params, kept = row["params"], row["kept"]
        assert isinstance(params, int) and isinstance(kept, int)
        dense_share = self.config.prune_epoch / self.config.epochs
        return row | {"mean_active_params": dense_share * params + (1 - dense_share) * kept}

    def _measure(self, train_loss: float) -> dict[str, float]:
        validation = self.training.evaluate(self.data.validation)
        return dict(
            zip(_MEASURED, (train_loss, *validation, *self.training.evaluate(self.data.test)), strict=True)
        )

    def _outcome(self, finite: bool) -> Row:
        """The columns after retraining: the last epoch, and the epoch that is best on validation data."""
        # Pruned at the very end, what can be measured right then is all there is.
        after = [epoch for epoch in self.curves if epoch["phase"] == "retrain"]
        if finite and not after:
            after = [self._measure(self.training.evaluate(self.data.train)[0])]
            finite = _finite(after[-1])
        if not finite:
            return {"status": "diverged", "diverged": True}
        last, best = after[-1], max(after, key=lambda epoch: epoch["val_accuracy"])
        return {
            "status": "ok",
            "diverged": False,
            **{column: last[column] for column in _MEASURED},
            "best_val_accuracy": best["val_accuracy"],
            "test_accuracy_at_best_val": best["test_accuracy"],
        }


def _finite(measured: Mapping[str, float]) -> bool:
    return all(math.isfinite(measured[column]) for column in _MEASURED)


class _ScoringData:
    """Training batches to score with; every pass draws fresh ones, in the same order in every run."""

    def __init__(self, config: Config, whole: data.Data) -> None:
        self.config, self.data, self.passes = config, whole, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = generator(self.config.seed, "scoring", self.passes)
        self.passes += 1
        train = self.data.train
        size = self.config.score_batch_size
        # Shuffled again where more batches are asked for than one pass over the images holds.
        chunks = chain.from_iterable(data.batches(len(train.labels), size, order) for _ in count())
        for rows in islice(chunks, self.config.score_batches):
            batch = train.take(rows.to(train.labels.device))
            yield self.data.inputs(batch.images), batch.labels


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU a sum's order depends on the number of threads; a sweep fills the cores with trials anyway."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def from_canonical(text: str) -> Trial:
    """The trial of a canonical config, such as the `config` column of a result."""
    fields = json.loads(text)
    fields.pop("protocol")
    return Trial(Config(**fields))
