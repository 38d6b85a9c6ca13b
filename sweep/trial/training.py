"""The training loop: trains a network under masks, from any step to any step."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from pruners.masks import total_kept
from sweep import parts
from sweep.config import Config
from sweep.data import TASKS, Data, Split, augmentation
from sweep.models import losses, metrics, optimizers
from sweep.rules.rule import Between
from sweep.seeds import derive, generator

_EVALUATION_BATCH = 512
# The most graphs that a process may compile. Each model, batch size, mode and choice of trained parameters
# needs one.
_GRAPHS = 1000
# Attributes of a training that its state has.
_PROGRESS = ("step", "spent", "active", "first_loss", "_summed")


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Compile a network, anew for each shape.

    A graph for several shapes would make a trial depend on the trials that the process ran before, and so
    would torch's own limit of eight graphs: beyond it networks run without being compiled.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = _GRAPHS
    return torch.compile(model, dynamic=False)


def _seed_layers(seed: int, device: torch.device) -> None:
    """Seed the generators of layers that draw random numbers, such as dropout."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class Training:
    """A network in training: its weights, optimizer, masks and place in the learning-rate schedule.

    One schedule covers the training before and after the pruning, unless `restart` begins another. The order
    of the images in an epoch, and their augmentation, depend on a seed and the epoch alone.

    Attributes:
        step: the current step, from 0. A rewind lowers it.
        steps_per_epoch: full batches of an epoch.
        first_loss: mean loss of the first batch; None before it.
        trained: steps that this object trained, without those of a state that it restored.
        spent: all steps of the training: those of a restored state and those before a rewind count.
        active: sum over these steps of the prunable weights that were kept.
        kept: prunable weights that the current masks keep.
        rate: learning rate at the beginning of the last epoch, or part of an epoch, that was trained.
    """

    def __init__(self, config: Config, model: nn.Module, data: Data) -> None:
        self.config, self.model, self.data = config, model, data
        self.steps_per_epoch = max(1, len(data.train) // config.batch_size)
        self.step = self.spent = self.active = self.trained = 0
        self.first_loss: float | None = None
        # The sum of the losses since the last epoch was yielded, and how many steps it is of.
        self._sum, self._summed = torch.zeros((), device=data.device), 0
        self._loss = losses.chosen(config.loss, data.task, config.arguments("loss"))
        self._training_loss = self._loss.smoothed(config.label_smoothing)
        self._augment = augmentation.find(config.augment, config.arguments("augment"))
        self._headline = metrics.find(TASKS[data.task].headline)
        self._forward: Callable[[Tensor], Tensor] = _compiled(model) if config.compile else model
        self._masked: list[tuple[nn.Parameter, Tensor]] = []
        self._trainable = [name for name, p in model.named_parameters() if p.requires_grad]
        self.kept, self.rate = 0, 0.0
        schedule = optimizers.lr_schedule(config.lr_schedule)
        # Share of the training done, and the config → factor of the highest learning rate.
        self._falls = parts.bind(schedule.rate, config.arguments("lr_schedule"))
        self.restart(0, config.steps or self.steps_of(config.epochs or 0), config.lr)

    def steps_of(self, epochs: float) -> int:
        """The steps of a number of epochs, rounded."""
        return round(epochs * self.steps_per_epoch)

    @property
    def epoch(self) -> float:
        """The current step in epochs."""
        return self.step / self.steps_per_epoch

    @property
    def end(self) -> int:
        """The last step of the learning-rate schedule."""
        return self._start + self._length

    def restart(self, start: int, length: int, lr: float, train: Callable[[str], bool] | None = None) -> None:
        """Begin a learning-rate schedule with a fresh optimizer.

        Args:
            start: step at which the schedule begins.
            length: steps of the schedule.
            lr: its learning rate at its highest.
            train: whether to train the parameter of a name; None: all are trained.
        """
        self._start, self._length, self._lr = start, length, lr
        for name in self._trainable:
            self.model.get_parameter(name).requires_grad_(train is None or train(name))
        trained = [p for p in self.model.parameters() if p.requires_grad]
        make = optimizers.optimizer(self.config.optimizer).make
        arguments = self.config.arguments("optimizer")
        self._optimizer = parts.bind(make, arguments)(trained, self.config)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step."""
        warmup = self.steps_of(self.config.warmup_epochs)
        done = step - self._start
        rise = (done + 1) / warmup if done < warmup else 1.0
        return rise * self._lr * float(self._falls(done / self._length, self.config))

    @torch.no_grad()
    def mask(self, masks: Mapping[str, Tensor]) -> None:
        """Put masks on: from now on the pruned weights are exactly 0.

        The optimizer's momentum of pruned weights is set to 0 too, or it would move them again.
        """
        parameters = dict(self.model.named_parameters())
        # The biases of pruned filters have one dimension. They are not prunable weights.
        self._masked, self.kept = [], total_kept(mask for mask in masks.values() if mask.dim() > 1)
        for name, mask in masks.items():
            parameter = parameters[name]
            parameter.masked_fill_(~mask, 0)
            for moment in self._optimizer.state[parameter].values():
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                    moment.masked_fill_(~mask, 0)
            # The memory layout of the gradient makes their product one plain loop.
            self._masked.append((parameter, torch.empty_like(parameter).copy_(mask)))

    def run(self, until: int, between: Between | None = None, pause: bool = False) -> Iterator[float]:
        """Train to a step.

        Args:
            until: the step.
            between: called before each step of the optimizer.
            pause: the epoch in which `until` lies goes on afterwards, and its loss is yielded at its end.

        Yields:
            The mean training loss of each epoch when it ends, and of the part of an epoch before `until`.
        """
        device = self.data.device
        while self.step < until:
            epoch, within = divmod(self.step, self.steps_per_epoch)
            order = generator(self.config.roots.order, "order", epoch)
            stop = min(within + until - self.step, self.steps_per_epoch)
            batches = self.data.train.batches(self.config.batch_size, order, self._augment, within, stop)
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
        if not self._summed:
            self.rate = self.learning_rate(self.step)
        for images, labels in batches:
            # Layers such as dropout draw the same numbers in a step, whatever was drawn before it.
            _seed_layers(derive(self.config.roots.order, "layers", self.step), images.device)
            for group in self._optimizer.param_groups:
                group["lr"] = self.learning_rate(self.step)
            self._optimizer.zero_grad()
            with self._precision():
                loss = self._training_loss(self._forward(self.data.inputs(images)), labels)
            loss.backward()
            if between is None or not between(self.step):
                # Where weight, momentum and gradient are 0, the weight stays exactly 0.
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
        """Mean loss and headline metric on a split, in eval mode."""
        loss, outputs = self._evaluate(split, self._headline.reduce)
        return loss, float(self._headline.compute(outputs, split.labels))

    def outputs(self, split: Split) -> Tensor:
        """The outputs (N, ...) for a split, in eval mode and float32."""
        return self._evaluate(split, Tensor.float)[1]

    def _evaluate(self, split: Split, reduce: Callable[[Tensor], Tensor]) -> tuple[float, Tensor]:
        """Mean loss on a split, and all that `reduce` takes of the outputs of each batch."""
        self.model.eval()
        loss, kept = 0.0, []
        with torch.inference_mode(), self._precision():
            for images, labels in split.batches(_EVALUATION_BATCH):
                output = self._forward(self.data.inputs(images))
                loss += float(self._loss.total(output, labels))
                kept.append(reduce(output))
        return loss / len(split), torch.cat(kept)

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
                _seed_layers(derive(root, "recalibration", "layers"), device)
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

    def state(self) -> dict[str, Any]:
        """A copy of all that the rest of the training depends on."""
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
        """Whether a state is of a training like this one. The file of a state may have any content."""
        own_groups = self._optimizer.state_dict()["param_groups"]
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        try:
            groups, moments = state["optimizer"]["param_groups"], state["optimizer"]["state"]
            shapes = [
                value.shape in (parameters[index].shape, ())
                for index, values in moments.items()
                for value in values.values()
                if value is not None
            ]
            same_groups = [
                (group.keys(), group["params"]) == (own.keys(), own["params"])
                for group, own in zip(groups, own_groups, strict=True)
            ]
            counts = [type(state[name]) is int for name in _PROGRESS if name != "first_loss"]
            losses = [isinstance(state[name], float | None) for name in ("first_loss", "rate")]
            same_sum = state["sum"].shape == self._sum.shape
        except (AttributeError, LookupError, TypeError, ValueError):
            return False
        return all((*shapes, *same_groups, *counts, *losses, same_sum)) and self.has_form(state["model"])

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

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a training like this one."""
        self.model.load_state_dict(state["model"])
        # Copied, as the optimizer changes the tensors that it loads.
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self._sum, self.rate = state["sum"].to(self._sum.device, copy=True), state["rate"]
        for name in _PROGRESS:
            setattr(self, name, state[name])

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the weights and the BatchNorm statistics."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def only(self, train: Callable[[str], bool]) -> None:
        """Go on in the learning-rate schedule with a fresh optimizer, but train only some parameters.

        Args:
            train: whether to train the parameter of a name.
        """
        self.restart(self._start, self._length, self._lr, train)

    def rewind(self, snapshot: Mapping[str, Tensor], step: int) -> None:
        """Go back to the weights and the learning rate of a step, with a fresh optimizer."""
        self.model.load_state_dict(snapshot)
        self.restart(self._start, self._length, self._lr)
        self.step = step
