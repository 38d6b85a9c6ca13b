"""A trial in small: a few steps on a few images, twice, to see whether the parts that it names work."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from sweep import data, parts
from sweep.config import Config
from sweep.data import Data, Split
from sweep.errors import BadInput
from sweep.parts import Part
from sweep.study.identity import Trial
from sweep.trial.prefixes import Shared
from sweep.trial.run import one_thread
from sweep.trial.stages import Stages

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
    try:
        with one_thread(torch.device("cpu")):
            one, other = (_outcome(config, _samples(config, data_root), metrics) for _ in range(2))
    except Exception as error:
        return parts.line(error, guilty(trial, known, error))
    if one != other:
        suspect = guilty(trial, known)
        return parts.line(None, suspect, "two runs with one seed differ: draw from torch's own generator")
    return ""


def guilty(trial: Trial, known: Sequence[Part], error: BaseException | None = None) -> Part:
    """The part in whose files an error is; else the first that the trial names."""
    named = [part for part in known if f'"{part.name}"' in trial.canonical]
    return next((part for part in known if error and parts.trace(error, [part])), [*named, *known][0])


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
            iterations=min(2, config.iterations),
            prune_epoch=0,
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
    try:
        loaded = data.load(
            config.dataset,
            data_root,
            config.validation_fraction,
            config.roots.split,
            arguments=config.arguments("dataset"),
        )
    except BadInput:
        entry = data.DATASETS.get(config.dataset)
        if not entry or entry.give:
            raise
        return _random(config.dataset)
    train, validation, test = map(_few, (loaded.train, loaded.validation, loaded.test))
    return replace(loaded, train=train, validation=validation, test=test, scoring=train)


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


def _outcome(config: Config, samples: Data, metrics: Sequence[str]) -> object:
    """The numbers of a run that a second run must repeat."""
    recorder = Stages(config, samples, Shared()).run()
    outcome = recorder.outcome()
    layers = [(row["name"], row["kept"], row["score_mean"]) for row in recorder.layers]
    numbers = [repr(value) for name, value in sorted(outcome.items()) if not name.endswith("_seconds")]
    measured = [(row["name"], row["split"], repr(row["value"])) for row in recorder.metrics(metrics)]
    return layers, numbers, measured
