"""What trials cost: multiply-adds times steps, at the speed that was measured."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from sweep import data, models, rules
from sweep.config import Config
from sweep.errors import BadInput
from sweep.models import cost
from sweep.plan.jobs import Job, own_steps, training_steps
from sweep.store import parts

# A step forward and back through a layer costs three times its forward pass.
_PASSES = 3
# Multiply-adds that the timing may take, about a second of a CPU; larger steps are timed on fewer images.
_TIMED = 3e9
_TIMED_STEPS = 5


@dataclass
class Costs:
    """Seconds that one worker needs.

    Attributes:
        speeds: model → seconds a multiply-add in training, of earlier results.
    """

    data_root: str | Path
    device: torch.device
    speeds: dict[str, float] = field(default_factory=dict)
    _timed: dict[tuple[str, str], float] = field(default_factory=dict)
    _normalized: dict[tuple[str, str], bool] = field(default_factory=dict)
    _sizes: dict[tuple[Any, ...], data.Sizes | BadInput] = field(default_factory=dict)

    def learn(self, rows: Iterable[Mapping[str, Any]], gpu: bool = False) -> None:
        """Take the speed of each model from earlier results, rows of `trials`, on a GPU or on CPUs."""
        found: dict[str, list[float]] = {}
        for row in rows:
            if (row["device"] == "cpu") == gpu:
                continue
            told = row["trained_steps"], row["macs_dense"], row["train_seconds"]
            batch_size = (parts.config(row["config"]) or {}).get("batch_size")
            if all(
                isinstance(number, int | float) and 0 < number < math.inf for number in (*told, batch_size)
            ):
                work = row["trained_steps"] * row["macs_dense"] * batch_size
                found.setdefault(row["model"], []).append(row["train_seconds"] / (work * _PASSES))
        self.speeds |= {model: median(values) for model, values in found.items()}

    def roughly(self, job: Job) -> float:
        """Seconds of a trial, as `job` says; each the same where the data are not on this machine."""
        try:
            return self.job(job)
        except BadInput:
            return 1.0

    def job(self, job: Job) -> float:
        """Seconds of a trial that takes over what the plan says."""
        return self._seconds(job.trial.config, own_steps(job, self.epoch(job.trial.config)))

    def alone(self, config: Config) -> float:
        """Seconds of a trial that takes over nothing: none ends sooner, however many workers there are."""
        return self._seconds(config, training_steps(config, self.epoch(config)))

    def epoch(self, config: Config) -> int:
        """Steps an epoch."""
        return max(1, self._data(config).train // config.batch_size)

    def _data(self, config: Config) -> data.Sizes:
        """Looked up once, as thousands of trials ask."""
        key = config.dataset, config.validation_fraction
        if key not in self._sizes:
            try:
                self._sizes[key] = data.sizes(config.dataset, self.data_root, config.validation_fraction)
            except BadInput as missing:
                self._sizes[key] = missing
        found = self._sizes[key]
        if isinstance(found, BadInput):
            raise found
        return found

    def _seconds(self, config: Config, steps: float) -> float:
        train, validation, test, _, _ = self._data(config)
        # Evaluation is forward only: of validation and test every epoch, of training and test at the pruning,
        # and of these again after a pass for the statistics of BatchNorm.
        evaluated = (validation + test) * steps / self.epoch(config) + train + test
        if self._normalizes(config):
            evaluated += 2 * train + test
        in_steps = steps + evaluated / config.batch_size / _PASSES + self._scoring(config)
        return in_steps * config.batch_size * self._image(config)

    def _image(self, config: Config) -> float:
        """Seconds of training on an image."""
        key = config.dataset, config.model
        if key not in self._timed:
            self._timed[key] = self._multiply_adds(config) * _PASSES * self._speed(config)
        return self._timed[key]

    def _scoring(self, config: Config) -> float:
        """Scoring, in training steps: a pass over a batch costs what a step on as many images costs."""
        return rules.find(config.criterion).scored_images(config) / config.batch_size

    def _normalizes(self, config: Config) -> bool:
        """Whether the network has BatchNorm; looked up once, as thousands of trials ask."""
        key = config.dataset, config.model
        if key not in self._normalized:
            found = self._data(config)
            _, self._normalized[key] = cost.known(config.model, found.shape, found.classes)
        return self._normalized[key]

    def _multiply_adds(self, config: Config) -> int:
        found = self._data(config)
        return sum(cost.multiply_adds(config.model, found.shape, found.classes).values())

    def _speed(self, config: Config) -> float:
        return self.speeds.get(config.model) or self._time(config)

    def _time(self, config: Config) -> float:
        """Seconds a multiply-add of a few training steps."""
        # How images are drawn does not matter to how long they take.
        whole = data.load(config.dataset, self.data_root, config.validation_fraction, 0)
        each = self._multiply_adds(config)
        images = max(1, min(config.batch_size, int(_TIMED / _PASSES / _TIMED_STEPS / each), len(whole.train)))
        model = models.build(config.model, whole.shape, whole.classes, seed=0).to(self.device)
        some = whole.train.take(torch.arange(images))
        inputs, labels = whole.inputs(some.images).to(self.device), some.labels.to(self.device)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        seconds = []
        for _ in range(2 + _TIMED_STEPS):
            started = time.perf_counter()
            F.cross_entropy(model.train(images > 1)(inputs), labels).backward()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - started)
        torch.set_num_threads(threads)
        return median(seconds[2:]) / (each * images * _PASSES)
