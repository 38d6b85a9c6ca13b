"""How long trials take: multiply-adds times training steps, at the speed that was measured."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from sweep import data, models, rules
from sweep.config import Config
from sweep.errors import BadInput
from sweep.models import cost, losses
from sweep.parts import Arguments
from sweep.plan.jobs import Job, own_steps, training_steps
from sweep.store import parts
from sweep.trial import twins
from sweep.trial.prefixes import teacher_point

# A training step computes as much as three forward passes: one forward, and two for the gradients of inputs
# and weights.
_PASSES = 3
# The most multiply-adds of a timing, about a second of a CPU. Larger steps are timed with fewer images.
_TIMED_MULTIPLY_ADDS = 3e9
_TIMED_STEPS = 5
# Steps before the timed ones, which are slower.
_WARM_UP_STEPS = 2
# The data set, the model and the model's parameters.
_Network = tuple[str, str, Arguments]


@dataclass
class Costs:
    """Seconds that trials take on one worker.

    Attributes:
        data_root: where the data sets are.
        device: of the workers.
        speeds: model → seconds of a multiply-add in training, from earlier results.
    """

    data_root: str | Path
    device: torch.device
    speeds: dict[str, float] = field(default_factory=dict)
    _seconds_per_image: dict[_Network, float] = field(default_factory=dict)
    _normalized: dict[_Network, bool] = field(default_factory=dict)
    _sizes: dict[tuple[Any, ...], data.Sizes | BadInput] = field(default_factory=dict)

    def learn(self, rows: Iterable[Mapping[str, Any]], gpu: bool = False) -> None:
        """Learn the speed of each model from earlier results.

        Args:
            rows: of `trials`; incomplete rows are ignored.
            gpu: whether to learn from the results of GPUs, not from those of CPUs.
        """
        speeds: dict[str, list[float]] = {}
        for row in rows:
            if (row["device"] == "cpu") == gpu:
                continue
            config = parts.config(row["config"]) or {}
            # Its steps take fewer multiply-adds than the whole network has, or those of its teacher too.
            if config.get("shrink") or config.get("retrain_loss"):
                continue
            batch_size = config.get("batch_size")
            numbers = row["trained_steps"], row["macs_dense"], row["train_seconds"], batch_size
            if all(isinstance(number, int | float) and 0 < number < math.inf for number in numbers):
                multiply_adds = row["trained_steps"] * row["macs_dense"] * batch_size * _PASSES
                speeds.setdefault(row["model"], []).append(row["train_seconds"] / multiply_adds)
        self.speeds |= {model: median(values) for model, values in speeds.items()}

    def roughly(self, job: Job) -> float:
        """Seconds of a job; 1 for every job whose data are not on this machine."""
        try:
            return self.job(job)
        except BadInput:
            return 1.0

    def job(self, job: Job) -> float:
        """Seconds of a job that goes on from its start.

        Raises:
            BadInput: the data set is missing.
        """
        return self._seconds(job.trial.config, own_steps(job, self.epoch(job.trial.config)))

    def alone(self, config: Config) -> float:
        """Seconds of a trial that trains all its steps itself.

        Raises:
            BadInput: the data set is missing.
        """
        return self._seconds(config, training_steps(config, self.epoch(config)))

    def epoch(self, config: Config) -> int:
        """Steps of an epoch.

        Raises:
            BadInput: the data set is missing.
        """
        return max(1, self._data(config).train // config.batch_size)

    def _data(self, config: Config) -> data.Sizes:
        """The sizes of a data set, read once for all trials; that it is missing is remembered too."""
        key = dataset, share, arguments = (
            config.dataset,
            config.validation_fraction,
            config.arguments("dataset"),
        )
        if key not in self._sizes:
            try:
                self._sizes[key] = data.sizes(dataset, self.data_root, share, arguments)
            except BadInput as missing:
                self._sizes[key] = missing
        sizes = self._sizes[key]
        if isinstance(sizes, BadInput):
            raise sizes
        return sizes

    def _seconds(self, config: Config, steps: float) -> float:
        """Seconds of a trial with a number of training steps."""
        train, validation, test, _, _ = self._data(config)
        # Validation and test images are evaluated after each epoch, training and test images at the pruning.
        # For networks with BatchNorm these are evaluated again, after a pass over the training images.
        evaluated = (validation + test) * steps / self.epoch(config) + train + test
        if self._normalizes(config):
            evaluated += 2 * train + test
        if config.twin_seed is not None:
            evaluated += twins.POINTS * train * (2 if self._normalizes(config) else 1)
        if teacher_point(config):
            evaluated += rules.find(config.criterion).repeated(config, self.epoch(config)) * config.batch_size
        # Evaluation is a forward pass only, and so is a teacher's part of a step. Scoring an image computes
        # as much as training on it.
        scored = rules.find(config.criterion).scored_images(config) / config.batch_size
        in_steps = steps + evaluated / config.batch_size / _PASSES + scored
        return in_steps * config.batch_size * self._image_seconds(config)

    def _image_seconds(self, config: Config) -> float:
        """Seconds of training on one image."""
        key = config.dataset, config.model, config.arguments("model")
        if key not in self._seconds_per_image:
            speed = self.speeds.get(config.model) or self._timed_speed(config)
            self._seconds_per_image[key] = self._multiply_adds(config) * _PASSES * speed
        return self._seconds_per_image[key]

    def _normalizes(self, config: Config) -> bool:
        """Whether the network has BatchNorm, looked up once for all trials."""
        key = config.dataset, config.model, config.arguments("model")
        if key not in self._normalized:
            _, self._normalized[key] = cost.known(*self._network(config))
        return self._normalized[key]

    def _multiply_adds(self, config: Config) -> int:
        """Multiply-adds of a forward pass of one input."""
        return sum(cost.multiply_adds(*self._network(config)).values())

    def _network(self, config: Config) -> tuple[str, data.Shape, int, Arguments, torch.dtype]:
        """What the multiply-adds of a config's network depend on."""
        sizes = self._data(config)
        form = sizes.form
        return config.model, form.shape, sizes.classes, config.arguments("model"), form.dtype

    def _timed_speed(self, config: Config) -> float:
        """Seconds of a multiply-add, measured in a few training steps with one thread."""
        # The time does not depend on the split: its seed is 0.
        given, share = config.arguments("dataset"), config.validation_fraction
        loaded = data.load(config.dataset, self.data_root, share, 0, arguments=given)
        per_image = self._multiply_adds(config)
        affordable = int(_TIMED_MULTIPLY_ADDS / _PASSES / _TIMED_STEPS / per_image)
        images = max(1, min(config.batch_size, affordable, len(loaded.train)))
        form, arguments = loaded.form, config.arguments("model")
        model = models.build(
            config.model, form.shape, loaded.classes, seed=0, dtype=form.dtype, arguments=arguments
        )
        model.to(self.device)
        loss = losses.chosen(config.loss, form.task, config.arguments("loss"))
        batch = loaded.train.take(torch.arange(images))
        inputs, labels = loaded.inputs(batch.images).to(self.device), batch.labels.to(self.device)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        seconds = []
        for _ in range(_WARM_UP_STEPS + _TIMED_STEPS):
            started = time.perf_counter()
            loss.compute(model.train(images > 1)(inputs), labels).backward()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - started)
        torch.set_num_threads(threads)
        return median(seconds[_WARM_UP_STEPS:]) / (per_image * images * _PASSES)
