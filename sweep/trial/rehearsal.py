"""A trial in small: a few steps on a few images, twice, to see whether the parts that it names work."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from sweep import data, parts
from sweep.config import Config
from sweep.data import Data, Split, reading
from sweep.errors import BadInput
from sweep.models import losses
from sweep.models import metrics as known_metrics
from sweep.parts import BadPart, Part
from sweep.parts.guard import settings_kept
from sweep.store.schema import is_timing
from sweep.study.identity import Trial
from sweep.trial.prefixes import Shared
from sweep.trial.run import loaded, one_thread
from sweep.trial.stages import Stages
from sweep.trial.time_limit import TooLong

# Samples of the training part, of a batch, and steps.
_SAMPLES, _BATCH, _STEPS = 64, 8, 4


def rehearse(trial: Trial, known: Sequence[Part], data_root: str, metrics: Sequence[str] = ()) -> str:
    """Run a trial in small, twice.

    Args:
        known: the parts that the trial or the metrics may name.
        metrics: names of the metrics of the final network.

    Returns:
        One line that says what is wrong with a part, with its file and line; empty: nothing is.
    """
    try:
        config = _small(trial.config)
    except BadInput:  # a setting that has no small form
        return ""
    outcomes = []
    try:
        for seed in (1, 2):
            with one_thread(torch.device("cpu")), settings_kept(), _draws(seed):
                stages = _SmallStages(config, _samples(config, data_root), trial.config.epochs)
                outcomes.append(_outcome(stages, metrics))
    except TooLong:
        raise
    except BaseException as error:  # a part may call sys.exit
        return parts.line(error, parts.guilty(error, trial.canonical, known))
    if outcomes[0] != outcomes[1]:
        suspect = parts.guilty(None, trial.canonical, known)
        problem = "two runs with one seed differ, expected equal numbers: seed what it draws"
        return parts.line(None, suspect, problem)
    return ""


@contextmanager
def _draws(seed: int) -> Iterator[None]:
    """Seed the random numbers that all code of the process shares, and restore their state after the block.

    A trial does not seed them: what a part draws from them would be other numbers in each process.
    """
    kept = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


def _small(config: Config) -> Config:
    """The config with few steps, small batches, at most two iterations and random weights."""
    return Trial.of(
        replace(
            config,
            epochs=None,
            steps=_STEPS,
            batch_size=_BATCH,
            score_batches=1,
            score_batch_size=_BATCH,
            score_domain="all",
            score_length=None,
            iterations=min(2, config.iterations),
            prune_epoch=0,
            prune_when=None,
            prune_threshold=None,
            rewind_epoch=None if config.rewind_epoch is None else 0,
            retrain_epochs=None,
            retrain_lr=None,
            update_every=1,
            warmup_epochs=0,
            compile=False,
            weights=None,
            keep_mask=False,
        )
    ).config


def _samples(config: Config, data_root: str) -> Data:
    """A few samples of the data; random images where the data set is not on this machine."""
    if parts.is_name(config.dataset):  # it is called each time
        reading.find.cache_clear()
        data.load.cache_clear()
    try:
        complete = loaded(config, data_root)
    except BadInput:
        entry = data.DATASETS.get(config.dataset)
        if not entry or entry.give:
            raise
        return _random(config.dataset)
    train, validation, test = map(_few, (complete.train, complete.validation, complete.test))
    return replace(complete, train=train, validation=validation, test=test, scoring=train)


def _few(split: Split) -> Split:
    return split.part(torch.arange(min(_SAMPLES, len(split))))


def _random(dataset: str) -> Data:
    shape, classes = data.DATASETS[dataset].shape, data.DATASETS[dataset].classes
    assert shape and classes  # it is read from files
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(256, (_SAMPLES, *shape), generator=draws, dtype=torch.uint8)
    split = Split(images, torch.arange(_SAMPLES) % classes)
    half = torch.full((1, shape[0], 1, 1), 127.5)
    return Data(split, split, split, split, classes, half, half)


class _SmallStages(Stages):
    """Stages in which all epochs of the complete trial pass within few steps: a rule may count in epochs."""

    def __init__(self, config: Config, samples: Data, epochs: int | None) -> None:
        """Build the network and its training.

        Args:
            epochs: of the complete trial; None: its length is given in steps.
        """
        self._epochs = epochs
        super().__init__(config, samples, Shared())

    def steps_of(self, epochs: float) -> int:
        """The steps that a number of epochs of the complete trial has here."""
        if self._epochs:
            return round(epochs * self.end / self._epochs)
        return min(self.end, super().steps_of(epochs))


def _outcome(stages: Stages, metrics: Sequence[str]) -> object:
    """The numbers of a run that a second run must repeat."""
    known_metrics.check(metrics, stages.data.task)
    _check_finite(stages.config, stages, stages.data)
    recorder = stages.run()
    outcome = recorder.outcome()
    layers = [(row["name"], row["kept"], row["score_mean"]) for row in recorder.layers]
    numbers = [repr(value) for name, value in sorted(outcome.items()) if not is_timing(name)]
    measured = [(row["name"], row["split"], repr(row["value"])) for row in recorder.metrics(metrics)]
    return layers, numbers, measured


def _check_finite(config: Config, stages: Stages, samples: Data) -> None:
    """Check that the outputs and the loss of the untrained network are finite.

    Raises:
        BadPart: they are not, and the network or the loss is a part.
    """
    few = samples.train.part(torch.arange(_BATCH))
    outputs = stages.training.outputs(few)
    suspects: tuple[str, ...] = ("model", "init", "augment")
    problem = "the untrained network puts out NaN or infinity"
    if outputs.isfinite().all():
        loss = losses.chosen(config.loss, samples.task, config.arguments("loss"))
        if loss.compute(outputs, few.labels).isfinite():
            return
        suspects, problem = ("loss", "model"), "the loss of the untrained network is NaN or infinite"
    for field in suspects:
        if part := parts.find(str(getattr(config, field))):
            raise BadPart(part, f"{problem}, expected finite numbers")
