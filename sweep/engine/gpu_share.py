"""The share of a GPU that each trial needs, by the memory that trials of its kind take."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import torch

from sweep import data, rules
from sweep.config import FIELDS, Config, about
from sweep.parts import Part, register
from sweep.study.identity import Trial
from sweep.trial import network, scoring
from sweep.trial.prefixes import Shared
from sweep.trial.run import loaded
from sweep.trial.stages import Stages

# Bytes that a process takes of a GPU beside its tensors.
_BESIDE_TENSORS = 700 * 2**20
# The share of a GPU that trials may fill. The rest is for gaps between tensors, and for libraries that take
# more memory for other shapes.
_FILLED = 0.9
# Training steps of a measurement: by then optimizers have their states, and libraries their algorithms.
_STEPS = 3
# The fields that the memory of a trial depends on.
_kind = attrgetter(*(name for name in FIELDS if about(name).memory), "parameters")


def kinds(trials: Iterable[Trial]) -> list[Trial]:
    """One trial of each kind. Trials of one kind take the same memory."""
    by_kind = {_kind(trial.config): trial for trial in trials}
    return list(by_kind.values())


def peak(config: Config, data_root: str | Path, device: torch.device) -> int:
    """The most bytes of a GPU that scoring, a few training steps and an evaluation take; 0 for a CPU.

    Raises:
        BadInput: the data set is missing, or the model does not take its images.
    """
    on_device = data.to(loaded(config, data_root), device)
    config = replace(config, weights=None)  # trained weights take as much memory as random ones
    if rules.find(config.criterion).scores:
        # Further iterations, and batches after the second, need no more memory.
        shorter = replace(config, iterations=1, score_batches=min(2, config.score_batches))
        scoring.choose(shorter, network.initial(shorter, on_device, None), on_device)
    stages = Stages(config, on_device, Shared())
    training = stages.training
    if stages.teacher:
        # A trained one takes as much memory.
        stages.teacher.weights, training.teacher = training.snapshot(), stages.teacher
    list(training.run(min(_STEPS, training.end)))
    training.evaluate(on_device.test.part(torch.arange(min(512, len(on_device.test)))))
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0


def share(taken: int, total: int) -> float:
    """The share of a GPU for each trial, so that as many trials as possible have equal shares.

    Args:
        taken: bytes that the tensors of one trial take.
        total: bytes of the GPU.
    """
    return 1 / max(1, int(_FILLED * total / (taken + _BESIDE_TENSORS)))


def measure(canonicals: Sequence[str], data_root: str, parts: Sequence[Part] = ()) -> float:
    """The share of this process's GPU that the largest of some trials needs. The process should then end.

    Args:
        canonicals: the canonical configs of the trials.
        parts: of one's own that they name.
    """
    register(parts)
    device = torch.device("cuda")
    total = torch.cuda.get_device_properties(device).total_memory
    most = 0
    for canonical in canonicals:
        try:
            most = max(most, peak(Trial.parse(canonical).config, data_root, device))
        except torch.OutOfMemoryError:
            return 1.0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return share(most, total)
