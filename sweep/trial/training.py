"""The training loop: masked training over a data set, to any step and from any step."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from pruners.masks import total_kept
from sweep.config import Config
from sweep.data import Data, Split
from sweep.models.optimizers import LR_SCHEDULES, OPTIMIZERS
from sweep.seeds import derive, generator

_EVALUATION_BATCH = 512
# Graphs that a process may compile: of each model, batch, mode and choice of what is trained one.
_GRAPHS = 1000
_PROGRESS = ("step", "spent", "active", "first_loss", "_summed")
# Called with the gradients of a step; True if what it did stands in for the optimizer's step.
Between = Callable[[int], bool]


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Whole, and anew for each shape: which graph runs must not depend on what the process trained before."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = _GRAPHS
    return torch.compile(model, dynamic=False)


def _seed(draws: int, device: torch.device) -> None:
    """Seed the generators that layers draw from."""
    torch.default_generator.manual_seed(draws)  # not torch.manual_seed, which reaches every GPU
    if device.type == "cuda":
        torch.cuda.manual_seed(draws)


class Training:
    """A network being trained: its weights, momentum, mask and place in the schedule.

    The learning rate follows the whole run, wherever in it the pruning falls, but for what `restart` begins.
    The order of the data in an epoch, and how they are augmented, depend on a seed and the epoch alone.

    Attributes:
        step: steps done since the training began, or the step that was gone back to.
        steps_per_epoch: of full batches.
        first_loss: mean loss of the very first batch; None before it.
        trained: steps this very training did, those of a state it went on from not among them.
        active: sum over the steps done of the prunable weights that were not pruned.
        spent: steps done, those before a rewind included.
        kept: prunable weights that are not pruned now.
        rate: learning rate at the beginning of the last epoch, or part of one, that was trained.
    """

    def __init__(self, config: Config, model: nn.Module, data: Data) -> None:
        self.config, self.model, self.data = config, model, data
        self.steps_per_epoch = max(1, len(data.train) // config.batch_size)
        self.step = self.spent = self.active = self.trained = 0
        self.first_loss: float | None = None
        # Of the epoch, or the part of one, that is under way: its losses added up, and its steps.
        self._sum, self._summed = torch.zeros((), device=data.mean.device), 0
        self._forward: Callable[[Tensor], Tensor] = _compiled(model) if config.compile else model
        self._masked: list[tuple[nn.Parameter, Tensor]] = []
        self._trainable = [name for name, p in model.named_parameters() if p.requires_grad]
        self.kept = 0
        self.rate = 0.0
        whole = config.steps or self.steps_of(config.epochs or 0)
        self.restart(0, whole, config.lr)

    def steps_of(self, epochs: float) -> int:
        """Steps that so many epochs take, to the nearest."""
        return round(epochs * self.steps_per_epoch)

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.step / self.steps_per_epoch

    @property
    def end(self) -> int:
        """The last step of the learning rate's schedule."""
        return self._start + self._length

    def restart(self, start: int, length: int, lr: float, train: Callable[[str], bool] | None = None) -> None:
        """Begin a schedule at a step, with a fresh optimizer.

        Args:
            train: which parameters, by name, go on being trained; None: all.
        """
        self._start, self._length, self._lr = start, length, lr
        for name in self._trainable:
            self.model.get_parameter(name).requires_grad_(train is None or train(name))
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self._optimizer = OPTIMIZERS[self.config.optimizer].make(trained, self.config)

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, counted from the start of the training."""
        warmup = self.steps_of(self.config.warmup_epochs)
        done = step - self._start
        rise = (done + 1) / warmup if done < warmup else 1.0
        schedule = LR_SCHEDULES[self.config.lr_schedule]
        return rise * self._lr * schedule.rate(done / self._length, self.config)

    @torch.no_grad()
    def mask(self, masks: Mapping[str, Tensor]) -> None:
        """Put masks on: from here on the pruned weights are exactly 0.

        What the optimizer gathered before is cleared where it belongs to pruned weights: it would move them
        again.
        """
        parameters = dict(self.model.named_parameters())
        # Biases, that filters take with them, are no prunable weights.
        self._masked, self.kept = [], total_kept(mask for mask in masks.values() if mask.dim() > 1)
        for name, mask in masks.items():
            parameter = parameters[name]
            parameter.masked_fill_(~mask, 0)
            for gathered in self._optimizer.state[parameter].values():
                if isinstance(gathered, Tensor) and gathered.shape == parameter.shape:
                    gathered.masked_fill_(~mask, 0)
            # In the gradient's own memory layout, which makes the product one plain loop.
            self._masked.append((parameter, torch.empty_like(parameter).copy_(mask)))

    def run(self, until: int, between: Between | None = None, pause: bool = False) -> Iterator[float]:
        """Train to a step. Yields the mean training loss of each epoch when it ends, and of the last part.

        Args:
            pause: the epoch in which `until` lies goes on after it: its loss is yielded at its end.
        """
        device = self.data.mean.device
        while self.step < until:
            epoch, within = divmod(self.step, self.steps_per_epoch)
            order = generator(self.config.roots.order, "order", epoch)
            stop = min(within + until - self.step, self.steps_per_epoch)
            batches = self.data.train.batches(
                self.config.batch_size, order, self.config.augment, within, stop
            )
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                self._train(batches, between)
            if self.step % self.steps_per_epoch == 0:
                yield self._mean_loss()
        if self._summed and not pause:
            yield self._mean_loss()

    def _mean_loss(self) -> float:
        mean = float(self._sum) / self._summed
        self._sum, self._summed = torch.zeros_like(self._sum), 0
        return mean

    def _train(self, batches: Iterator[tuple[Tensor, Tensor]], between: Between | None) -> None:
        self.model.train()
        config, roots = self.config, self.config.roots
        if not self._summed:
            self.rate = self.learning_rate(self.step)
        for images, labels in batches:
            # For layers that draw, such as dropout: the same in a step whatever was drawn before it.
            _seed(derive(roots.order, "layers", self.step), images.device)
            for group in self._optimizer.param_groups:
                group["lr"] = self.learning_rate(self.step)
            self._optimizer.zero_grad()
            with self._precision():
                loss = F.cross_entropy(
                    self._forward(self.data.inputs(images)),
                    labels,
                    label_smoothing=config.label_smoothing,
                )
            loss.backward()
            if between is None or not between(self.step):
                # With weight, momentum and gradient at 0, a step leaves a pruned weight at exactly 0.
                for parameter, mask in self._masked:
                    if parameter.grad is not None:
                        parameter.grad.mul_(mask)
                self._optimizer.step()
            self._sum += loss.detach()
            if self.first_loss is None:
                self.first_loss = float(loss.detach())
            self._summed += 1
            self.step += 1
            self.spent += 1
            self.trained += 1
            self.active += self.kept

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy on a split, in eval mode."""
        self.model.eval()
        loss, correct = 0.0, 0
        with torch.inference_mode(), self._precision():
            for images, labels in split.batches(_EVALUATION_BATCH):
                output = self._forward(self.data.inputs(images))
                loss += float(F.cross_entropy(output, labels, reduction="sum"))
                correct += int((output.argmax(1) == labels).count_nonzero())
        return loss / len(split.labels), correct / len(split.labels)

    @contextmanager
    def recalibrated(self) -> Iterator[None]:
        """Within it BatchNorm has the statistics of one pass over the training images, not augmented.

        Activations of a pruned network have other statistics than those of the network that was trained:
        adaptive BatchNorm of EagleEye (Li et al. 2020). Afterwards all is as it was.
        """
        kept = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        images, root = self.data.train, self.config.roots.order
        # Full batches only, as each counts alike: of this size fewer images than batches are left out.
        size = len(images) // math.ceil(len(images) / _EVALUATION_BATCH)
        batches = images.batches(size, generator(root, "recalibration"))
        device = self.data.mean.device
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []), self._precision():
                _seed(derive(root, "recalibration", "layers"), device)
                # The plain network: to compile a graph for one pass would take longer than the pass.
                update_bn((self.data.inputs(batch) for batch, _ in batches), self.model)
            yield
        finally:
            for buffer, before in kept:
                buffer.copy_(before)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.data.mean.device.type, torch.bfloat16)

    def state(self) -> dict[str, Any]:
        """All that going on from here depends on, as a copy."""
        return copy.deepcopy(
            {
                "model": self.model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "sum": self._sum,
                "rate": self.rate,
                **{name: getattr(self, name) for name in _PROGRESS},
            }
        )

    def can_restore(self, state: Mapping[str, Any]) -> bool:
        """Whether a state is of a training like this one, whoever has left it where states lie."""
        own = self._optimizer.state_dict()["param_groups"]
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        try:
            groups, gathered = state["optimizer"]["param_groups"], state["optimizer"]["state"]
            shapes = [
                value.shape in (parameters[index].shape, ())
                for index, values in gathered.items()
                for value in values.values()
                if value is not None
            ]
            alike = [
                (found.keys(), found["params"]) == (group.keys(), group["params"])
                for found, group in zip(groups, own, strict=True)
            ]
            counts = [type(state[name]) is int for name in _PROGRESS if name != "first_loss"]
            losses = [isinstance(state[name], float | None) for name in ("first_loss", "rate")]
            total = state["sum"].shape == self._sum.shape
        except (AttributeError, LookupError, TypeError, ValueError):
            return False
        return all((*shapes, *alike, *counts, *losses, total)) and self.has_form(state["model"])

    def has_form(self, weights: Mapping[str, Any]) -> bool:
        """Whether weights have the names, shapes and types of this network's. Raises where they are none."""
        own = self.model.state_dict()
        return weights.keys() == own.keys() and all(
            (weights[name].shape, weights[name].dtype) == (tensor.shape, tensor.dtype)
            for name, tensor in own.items()
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a training like this one."""
        self.model.load_state_dict(state["model"])
        # Copied: an optimizer goes on with the very tensors it is given.
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self._sum, self.rate = state["sum"].to(self._sum.device, copy=True), state["rate"]
        for name in _PROGRESS:
            setattr(self, name, state[name])

    def snapshot(self) -> dict[str, Tensor]:
        """Weights and statistics as they are now."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def only(self, train: Callable[[str], bool]) -> None:
        """Go on in the schedule, but train only some of the parameters."""
        self.restart(self._start, self._length, self._lr, train)

    def rewind(self, snapshot: Mapping[str, Tensor], step: int) -> None:
        """Go back to what the network was at a step, with a fresh optimizer and the schedule from there."""
        self.model.load_state_dict(snapshot)
        self.restart(self._start, self._length, self._lr)
        self.step = step
