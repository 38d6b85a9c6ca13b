"""One trial: train, prune, evaluate, retrain, evaluate, as its config says. Needs no Ray."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

import pruners
from sweep import data, masking, network
from sweep.config import ALONG, DENSE, PROTOCOL, Config, Trial
from sweep.errors import BadInput
from sweep.record import Record, Row
from sweep.sparse import Updates
from sweep.training import Between, Training


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
        whole = data.load(
            config.dataset,
            Path(data_root),
            config.validation_fraction,
            config.split_seed,
            random_labels=config.random_labels,
        )
        record = _Stages(config, data.to(whole, device)).run()
    row = {
        **identity(trial),
        **record.outcome(),
        "wall_seconds": time.perf_counter() - clock,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "started_at": started,
        "finished_at": datetime.now(UTC),
    }
    named = {"trial_id": trial.id}
    return Result(row, [named | r for r in record.curves], [named | r for r in record.layers])


def identity(trial: Trial) -> Row:
    """The columns of a row that say which trial it is."""
    config = trial.config
    same = ("dataset", "model", "criterion", "scope", "sparsity", "iterations", "schedule", "prune_epoch")
    also = ("epochs", "steps", "structure", "retrain", "rewind_epoch", "ablation", "seed")
    return {
        "trial_id": trial.id,
        "protocol": PROTOCOL,
        "config": trial.canonical,
        **{column: getattr(config, column) for column in (*same, *also)},
    }


def failure(trial: Trial, error: str) -> Result:
    """The result of a trial that could not be finished."""
    now = datetime.now(UTC)
    return Result(
        identity(trial) | {"status": "failed", "error": error, "started_at": now, "finished_at": now}
    )


# The last dense training of this process, up to its prune epoch: the trials of a pack often share one. Config
# without what comes after -> its data, the training's state, what to rewind to, its rows of `curves`.
_DONE: dict[str, tuple[data.Data, dict[str, Any], tuple[int, dict[str, torch.Tensor]] | None, list[Row]]] = {}


class _Diverged(Exception):
    """The training has no way back."""


class _Stages:
    """The stages of one trial, in the order they come."""

    def __init__(self, config: Config, whole: data.Data) -> None:
        self.config, self.data = config, whole
        self.model = network.built(config, whole, "init")
        self.training = Training(config, self.model, whole)
        for name in ("prune_epoch", "rewind_epoch"):
            if self.training.steps_of(getattr(config, name) or 0) > self.training.end:
                raise BadInput(f"{name} is beyond the {self.training.end} steps of training")
        self.record = Record(config, self.training)
        self._snapshot: tuple[int, dict[str, torch.Tensor]] | None = None

    def run(self) -> Record:
        dense = pruners.prunable(self.model, masking.left_out(self.config, self.model))
        self.training.kept = sum(weight.numel() for weight in dense.values())
        try:
            if self.config.criterion == "imp":
                self._level_by_level()
            elif self.config.criterion in ALONG:
                self._along()
            else:
                self._once()
        except _Diverged:
            self.record.diverged = True
        return self.record

    def _once(self) -> None:
        """Dense training to the prune epoch, one pruning, retraining."""
        config, training = self.config, self.training
        self._dense()
        if config.criterion == DENSE:
            self._put_on(pruners.Step({}, masking.whole(config, self.model)))
        else:
            with self.record.scoring():
                pruned = masking.choose(config, self.model, self.data)
            self._put_on(pruned)
        self._change(reinit=config.ablation == "reinit")
        self._train("retrain", training.end)

    def _dense(self) -> None:
        """Dense training to the prune epoch; what the trial before has done already is not done again."""
        config, training = self.config, self.training
        prefix = config.dense
        done = _DONE.get(prefix)
        # The very data: the same set from another folder, or on another device, is other data.
        if done is None or done[0] is not self.data:
            self._train_through("dense", training.steps_of(config.prune_epoch), config.rewind_epoch)
            if config.prune_epoch:
                _DONE.clear()
                _DONE[prefix] = self.data, training.state(), self._snapshot, list(self.record.curves)
            return
        _, state, self._snapshot, curves = done
        training.restore(state)
        self.record.curves = list(curves)

    def _level_by_level(self) -> None:
        """Iterative magnitude pruning: train to the end, prune, rewind, and again (Frankle & Carbin 2019)."""
        config, training = self.config, self.training
        exclude = masking.left_out(config, self.model)
        total = training.kept
        kept = pruners.kept_count(total, config.sparsity)
        # Rounded, so that 0.8² and 0.8³ are steps of one rate: a level is then the beginning of the next.
        rate = round((1 - config.sparsity) ** (1 / config.iterations), 9)
        for level in range(1, config.iterations + 1):
            phase = "dense" if level == 1 else f"level {level - 1}"
            self._train_through(phase, training.end, config.rewind_epoch or 0)
            last = level == config.iterations
            count = kept if last else max(kept, round(total * rate**level))
            with self.record.scoring():
                steps = pruners.trajectory(
                    "magnitude",
                    self.model,
                    sparsity=1 - Fraction(count, total),
                    scope=config.scope,
                    exclude=exclude,
                    min_per_layer=config.min_per_layer,
                )
                pruned = next(steps)
            self._put_on(pruned)
            self._change(reinit=last and config.ablation == "reinit")
        self._train("retrain", training.end)

    def _along(self) -> None:
        """Masks that change while the network trains."""
        updates = Updates(self.config, self.training)
        self._train("sparse", self.training.end, updates.between)
        self.record.masked(self.model, pruners.Step({}, updates.masks))

    def _put_on(self, pruned: pruners.Step) -> None:
        self._masks = pruned.masks
        if self.config.structure == "filter":
            self._masks = pruned.masks | masking.biases(self.model, pruned.masks)
        self.record.masked(self.model, pruned)
        self.training.mask(self._masks)
        self.record.pruned()

    def _change(self, reinit: bool) -> None:
        """What comes between pruning and retraining: other weights, an earlier time, another schedule."""
        config, training = self.config, self.training
        step, state = self._snapshot or (training.step, training.snapshot())
        if reinit:
            state = network.built(config, self.data, "reinit").state_dict()
        if reinit or self._snapshot:
            training.rewind(state, step)
        chosen = masking.retrained(config, self.model)
        if config.retrain_epochs is not None:
            length = training.steps_of(config.retrain_epochs)
            training.restart(training.step, length, config.retrain_lr or config.lr, chosen)
        elif chosen:
            training.only(chosen)
        training.mask(self._masks)

    def _train_through(self, phase: str, until: int, rewind_epoch: float | None) -> None:
        """Train to a step, and on the way remember the one that will be gone back to."""
        if rewind_epoch is not None and self._snapshot is None:
            self._train(phase, self.training.steps_of(rewind_epoch))
            self._snapshot = self.training.step, self.training.snapshot()
        self._train(phase, until)

    def _train(self, phase: str, until: int, between: Between | None = None) -> None:
        """Train to a step and record every epoch."""
        for loss in self.record.timed(self.training.run(until, between)):
            if not self.record.epoch(phase, loss):
                raise _Diverged


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
