"""The training loop: masked SGD over a data set that lies on the device as a whole."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweep.data import Data, Split, batches
from sweep.seeds import generator
from sweep.study import Config

_EVALUATION_BATCH = 512


class Training:
    """A network being trained: its weights, momentum, mask and place in the schedule.

    The learning rate follows the whole run of `epochs`, wherever in it the pruning falls. The order of the
    data in an epoch depends on the seed and the epoch alone.
    """

    def __init__(self, config: Config, model: nn.Module, data: Data) -> None:
        self.config, self.model, self.data = config, model, data
        self.epoch = 0
        self.steps_per_epoch = max(1, len(data.train.labels) // config.batch_size)
        self._masked: list[tuple[nn.Parameter, Tensor]] = []
        self._optimizer = torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def learning_rate(self, step: int) -> float:
        """Learning rate of the step-th step of the run, counted from 0."""
        if self.config.lr_schedule == "constant":
            return self.config.lr
        return (
            self.config.lr * (1 + math.cos(math.pi * step / (self.config.epochs * self.steps_per_epoch))) / 2
        )

    @torch.no_grad()
    def mask(self, masks: Mapping[str, Tensor]) -> None:
        """Put masks on: from here on the pruned weights are exactly 0.

        The momentum gathered before is cleared where it belongs to pruned weights: it would move them again.
        """
        parameters = dict(self.model.named_parameters())
        self._masked = []
        for name, mask in masks.items():
            parameter = parameters[name]
            parameter.masked_fill_(~mask, 0)
            momentum = self._optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:
                momentum.masked_fill_(~mask, 0)
            # In the gradient's own memory layout, which makes the product one plain loop.
            self._masked.append((parameter, torch.empty_like(parameter).copy_(mask)))

    def train_epoch(self) -> float:
        """One epoch; returns the mean training loss over its samples."""
        self.model.train()
        config, train = self.config, self.data.train
        order = generator(config.seed, "order", self.epoch)
        total = torch.zeros((), device=train.labels.device)
        step = self.epoch * self.steps_per_epoch
        for rows in batches(len(train.labels), config.batch_size, order):
            batch = train.take(rows.to(train.labels.device))
            for group in self._optimizer.param_groups:
                group["lr"] = self.learning_rate(step)
            self._optimizer.zero_grad()
            loss = F.cross_entropy(self.model(self.data.inputs(batch.images)), batch.labels)
            loss.backward()
            # With weight, momentum and gradient at 0, a step leaves a pruned weight at exactly 0.
            for parameter, mask in self._masked:
                if parameter.grad is not None:
                    parameter.grad.mul_(mask)
            self._optimizer.step()
            total += loss.detach()
            step += 1
        self.epoch += 1
        return float(total) / self.steps_per_epoch

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy on a split, in eval mode."""
        self.model.eval()
        loss, correct = 0.0, 0
        with torch.inference_mode():
            for start in range(0, len(split.labels), _EVALUATION_BATCH):
                labels = split.labels[start : start + _EVALUATION_BATCH]
                images = split.images[start : start + _EVALUATION_BATCH]
                output = self.model(self.data.inputs(images))
                loss += float(F.cross_entropy(output, labels, reduction="sum"))
                correct += int((output.argmax(1) == labels).sum())
        return loss / len(split.labels), correct / len(split.labels)
