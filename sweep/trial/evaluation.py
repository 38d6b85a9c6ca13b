"""A network as a trial computes with it: its precision, its loss and metric on a split, its BatchNorm."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import chain
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

import pruners
from pruners.activity import Activity
from sweep.config import Config
from sweep.data import TASKS, Data, Split
from sweep.models import losses, metrics
from sweep.models.metrics import Metric
from sweep.seeds import derive, generator

# Outputs and targets of a batch → what is kept of the outputs.
_Reduction = Callable[[Tensor, Tensor], Tensor]
_EVALUATION_BATCH = 512
# The fewest passes of each network that are timed, the most, and the seconds after which no more are needed.
_FEWEST, _MOST, _ENOUGH = 5, 100, 0.3
# The most graphs that a process may compile. Each model, batch size, mode and choice of trained parameters
# needs one.
_GRAPHS = 1000


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Compile a network, anew for each shape.

    A graph for several shapes would make a trial depend on the trials that the process ran before, and so
    would torch's own limit of eight graphs: beyond it networks run without being compiled.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = _GRAPHS
    return torch.compile(model, dynamic=False)


def seed_layers(seed: int, device: torch.device) -> None:
    """Seed the generators of layers that draw random numbers, such as dropout."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _in_float32(reduce: _Reduction, outputs: Tensor, targets: Tensor) -> Tensor:
    return reduce(outputs.float(), targets)


class Evaluation:
    """A network on the data of a trial, in the precision of the trial."""

    def __init__(self, config: Config, model: nn.Module, data: Data) -> None:
        self.config, self.data = config, data
        self._take(model)
        self._loss = losses.chosen(config.loss, data.task, config.arguments("loss"))
        self._headline = metrics.find(TASKS[data.task].headline)
        # By split and weights, what `evaluate_once` has found.
        self._evaluated: dict[tuple[int, bytes], tuple[float, float]] = {}

    def _take(self, model: nn.Module) -> None:
        """Compute with a network from now on."""
        self.model = model
        self._forward: Callable[[Tensor], Tensor] = _compiled(model) if self.config.compile else model

    def takes(self, masks: Mapping[str, Any]) -> bool:
        """Whether masks have the names and shapes of some of this network's weights.

        Raises:
            AttributeError, LookupError: they are no masks.
        """
        parameters = dict(self.model.named_parameters())
        return all(
            (mask.shape, mask.dtype) == (parameters[name].shape, torch.bool) for name, mask in masks.items()
        )

    def has_form(self, weights: Mapping[str, Any]) -> bool:
        """Whether weights have the names, shapes and types of this network's weights.

        Raises:
            AttributeError: `weights` is no mapping to tensors.
        """
        own = self.model.state_dict()
        return weights.keys() == own.keys() and all(
            (weights[name].shape, weights[name].dtype) == (tensor.shape, tensor.dtype)
            for name, tensor in own.items()
        )

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and headline metric on a split, in eval mode."""
        loss, [reduced] = self._evaluate(split, [self._headline.reduce])
        return loss, float(self._headline.compute(reduced, split.labels))

    def evaluate_once(self, split: Split) -> tuple[float, float]:
        """The same, taken from an earlier call of this method where the network has not changed since.

        That is so from a prune after the last step to the end of the trial.
        """
        digest = hashlib.blake2b()
        for name, tensor in chain(self.model.named_parameters(), self.model.named_buffers()):
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().reshape(-1).view(torch.uint8).cpu().numpy().tobytes())
        key = id(split), digest.digest()
        if key not in self._evaluated:
            self._evaluated[key] = self.evaluate(split)
        return self._evaluated[key]

    def outputs(self, split: Split) -> Tensor:
        """The outputs (N, ...) for a split, in eval mode and float32."""
        return self._evaluate(split, [lambda outputs, targets: outputs.float()])[1][0]

    def values(self, split: Split, asked: Iterable[Metric]) -> list[float]:
        """Some metrics on a split, in eval mode and of outputs in float32; one pass for all of them."""
        asked = list(asked)
        reductions = list(dict.fromkeys(metric.reduce for metric in asked))
        _, reduced = self._evaluate(split, [partial(_in_float32, reduce) for reduce in reductions])
        found = dict(zip(reductions, reduced, strict=True))
        return [metric.of_reduced(found[metric.reduce], split.labels) for metric in asked]

    def _evaluate(self, split: Split, reductions: Sequence[_Reduction]) -> tuple[float, list[Tensor]]:
        """Mean loss on a split, and all that each reduction takes of the outputs of each batch."""
        self.model.eval()
        loss, kept = 0.0, []
        with torch.inference_mode(), self._precision():
            for images, labels in split.batches(_EVALUATION_BATCH):
                output = self._forward(self.data.inputs(images))
                loss += float(self._loss.total(output, labels))
                kept.append([reduce(output, labels) for reduce in reductions])
        return loss / len(split), [torch.cat(column) for column in zip(*kept, strict=True)]

    def latencies(self, *networks: nn.Module) -> list[float]:
        """Seconds of a forward pass of each network, not compiled, on the first batch of an evaluation.

        The median of five passes or more in eval mode, after one that warms up. The networks take turns.
        """
        batch = self.data.inputs(next(iter(self.data.test.batches(_EVALUATION_BATCH)))[0])

        def seconds(network: nn.Module) -> float:
            started = perf_counter()
            network(batch)
            if batch.device.type == "cuda":
                torch.cuda.synchronize(batch.device)
            return perf_counter() - started

        passes: list[list[float]] = []
        with torch.inference_mode(), self._precision():
            for network in networks:
                seconds(network.eval())
            while len(passes) < _FEWEST or (sum(map(sum, passes)) < _ENOUGH and len(passes) < _MOST):
                passes.append([seconds(network) for network in networks])
        return [median(column) for column in zip(*passes, strict=True)]

    def activity(self) -> Activity | None:
        """What the network's ReLUs let pass of the first validation images; None: it has none."""
        images, _ = next(self.data.validation.batches(_EVALUATION_BATCH))
        with torch.inference_mode(), self._precision():
            return pruners.relu_activity(self.model, self.data.inputs(images))

    @contextmanager
    def recalibrated(self) -> Iterator[None]:
        """Give BatchNorm the statistics of one pass over the training images, not augmented, in a block.

        The activations of a pruned network have other statistics than those of the dense network before:
        adaptive BatchNorm of EagleEye (Li et al. 2020). After the block the old statistics are back.
        """
        saved = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        images, root = self.data.train, self.config.roots.order
        # All batches are full, as each has the same weight in the statistics. With this size the number of
        # images that are omitted is below the number of batches.
        size = len(images) // math.ceil(len(images) / _EVALUATION_BATCH)
        batches = images.batches(size, generator(root, "recalibration"))
        device = self.data.device
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []), self._precision():
                seed_layers(derive(root, "recalibration", "layers"), device)
                # Not the compiled network: to compile a graph takes longer than one pass.
                update_bn((self.data.inputs(batch) for batch, _ in batches), self.model)
            yield
        finally:
            for buffer, value in saved:
                buffer.copy_(value)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.data.device.type, torch.bfloat16)
