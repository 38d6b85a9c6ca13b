"""The plan: which trials a worker does in one go, in what order, and how long all of it may take."""

import math
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

import pruners
from sweep import models
from sweep.config import ALONG, DENSE, Config, Trial
from sweep.data import Data

_TIMED_STEPS = 5


@dataclass(frozen=True)
class Pack:
    """Trials that one worker does in one go."""

    number: int
    trials: tuple[Trial, ...]


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def packs(trials: Iterable[Trial], workers: int) -> list[Pack]:
    """Cut the trials into packs for `workers`.

    One seed of everything comes first, so that a study broken off is already a picture. A pack is a quarter
    of a worker's share of what is left: few packs in all, as each costs its worker time to receive, yet small
    ones at the end, so that all workers finish together.
    """
    trials = list(trials)
    first = {trial.config.dense: place for place, trial in reversed(list(enumerate(trials)))}
    # By seed, then those together that share dense training, which a worker then does once; else in the order
    # of the file.
    ordered = sorted(trials, key=lambda trial: (trial.config.seed, first[trial.config.dense]))
    cut: list[Pack] = []
    while ordered:
        size = math.ceil(len(ordered) / (4 * workers))
        cut.append(Pack(len(cut), tuple(ordered[:size])))
        ordered = ordered[size:]
    return cut


def estimate(trials: Iterable[Trial], whole: Data, device: torch.device) -> float:
    """Seconds one worker needs for all trials of one data set: steps times measured seconds a step."""
    groups: dict[tuple[str, int], list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[trial.config.model, trial.config.batch_size].append(trial)
    total = 0.0
    for (model, batch_size), members in groups.items():
        step = _seconds_per_step(model, batch_size, whole, device)
        # Evaluation costs about a third of a training step per image, on validation and test every epoch.
        evaluated = (len(whole.validation.labels) + len(whole.test.labels)) / batch_size / 3
        once = len(whole.train.labels) / batch_size / 3
        shared: set[str] = set()
        for trial in members:
            config = trial.config
            an_epoch = max(1, len(whole.train.labels) // batch_size)
            trained = training_steps(config, an_epoch)
            if config.dense in shared and config.criterion not in ("imp", *ALONG):
                trained -= config.prune_epoch * an_epoch
            shared.add(config.dense)
            steps = trained * (1 + evaluated / an_epoch) + once
            if config.criterion in pruners.names() and pruners.find(config.criterion).needs_data:
                steps += config.iterations * config.score_batches * config.score_batch_size / batch_size
            total += steps * step
    return total


def training_steps(config: Config, steps_per_epoch: int) -> float:
    """Steps of all training that a trial does, what it does again after a rewind included."""
    whole = config.steps or (config.epochs or 0) * steps_per_epoch
    if config.criterion == "imp":
        return whole + config.iterations * (whole - (config.rewind_epoch or 0) * steps_per_epoch)
    if config.criterion in ALONG or config.criterion == DENSE:
        return whole
    if config.retrain_epochs is not None:
        return (config.prune_epoch + config.retrain_epochs) * steps_per_epoch
    again = 0 if config.rewind_epoch is None else config.prune_epoch - config.rewind_epoch
    return whole + again * steps_per_epoch


@cache
def _seconds_per_step(model: str, batch_size: int, whole: Data, device: torch.device) -> float:
    network = models.build(model, whole.shape, whole.classes, seed=0).to(device)
    inputs = whole.inputs(whole.train.images[:batch_size].to(device))
    labels = whole.train.labels[:batch_size].to(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    for _ in range(2 + _TIMED_STEPS):
        started = time.perf_counter()
        F.cross_entropy(network(inputs), labels).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return sorted(seconds[2:])[_TIMED_STEPS // 2]
