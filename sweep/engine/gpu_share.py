"""How many trials a GPU has room for, by the memory that they are seen to take of it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import torch

from sweep import data, rules
from sweep.config import FIELDS, Config, about
from sweep.study.identity import Trial
from sweep.trial import network, scoring
from sweep.trial.prefixes import Shared
from sweep.trial.stages import Stages

# What a process takes of a GPU beside its tensors, and the share of a GPU that is filled: pieces between
# tensors, and libraries that take more for other shapes, need the rest.
_BESIDE, _FILLED = 700 * 2**20, 0.9
# Enough for what an optimizer gathers, and for a library to have chosen how it computes.
_STEPS = 3
# The fields that the memory of a trial depends on.
_KIND = attrgetter(*(name for name in FIELDS if about(name).memory))


def kinds(trials: Iterable[Trial]) -> list[Trial]:
    """A trial of each kind that may take other memory than the rest."""
    found = {_KIND(trial.config): trial for trial in trials}
    return list(found.values())


def peak(config: Config, data_root: str | Path, device: torch.device) -> int:
    """Bytes of a device's memory that scoring, some steps of training and an evaluation take; of a CPU 0.

    Raises:
        BadInput: the data set is missing, or the model does not fit its images.
    """
    whole = data.to(
        data.load(config.dataset, data_root, config.validation_fraction, config.roots.split), device
    )
    if rules.find(config.criterion).scores:
        # More iterations, and more batches, take as much again, not more.
        once = replace(config, iterations=1, score_batches=min(2, config.score_batches))
        scoring.choose(once, network.built(once, whole, once.roots.init, "init"), whole)
    training = Stages(config, whole, Shared()).training
    list(training.run(min(_STEPS, training.end)))
    training.evaluate(whole.test.part(torch.arange(min(512, len(whole.test)))))
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0


def share(taken: int, total: int) -> float:
    """The share of a GPU for each trial, of which so many bytes are taken, so that a whole number fits in."""
    return 1 / max(1, int(_FILLED * total / (taken + _BESIDE)))


def measure(canonicals: Sequence[str], data_root: str) -> float:
    """The share of this process's GPU that any of these trials needs. The process should then end."""
    device = torch.device("cuda")
    total = torch.cuda.get_device_properties(device).total_memory
    taken = 0
    for canonical in canonicals:
        try:
            taken = max(taken, peak(Trial.parse(canonical).config, data_root, device))
        except torch.OutOfMemoryError:
            return 1.0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return share(taken, total)
