"""The training loop: trains a network under masks, from any step to any step."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pruners import compensation
from pruners.masks import prunable, total_kept
from sweep import parts
from sweep.config import Config
from sweep.data import Data, augmentation
from sweep.models import optimizers
from sweep.rules.run import Between
from sweep.seeds import derive, generator
from sweep.trial import optimizer_states
from sweep.trial.adapters import Adapters
from sweep.trial.evaluation import Evaluation, seed_layers
from sweep.trial.exploration import Exploration

# Attributes of a training that its state has.
_PROGRESS = ("step", "spent", "active", "first_loss", "_summed")


class Teaches(Protocol):
    """What trains by more than targets: `sweep.trial.teacher.Teacher`."""

    def loss(self, plain: Tensor, outputs: Tensor, inputs: Tensor) -> Tensor:
        """The loss of a batch, from that of the task, the network's outputs and its inputs."""
        ...


class Training(Evaluation):
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
        counted: names of the prunable weights, which `kept` counts.
        total: prunable weights that masks may remove.
        adapted: names of the weights that adapters train, from the next `restart` on.
        adapters: those that train weights now; None: there are none.
        teacher: gives the loss that trains in place of the task's, which is still the one that is yielded.
        rate: learning rate at the beginning of the last epoch, or part of an epoch, that was trained.
        before_step: is called before each step, when all that was trained before is recorded.
    """

    def __init__(self, config: Config, model: nn.Module, data: Data) -> None:
        super().__init__(config, model, data)
        self.steps_per_epoch = max(1, len(data.train) // config.batch_size)
        self.step = self.spent = self.active = self.trained = 0
        self.first_loss: float | None = None
        # Sum of the losses since the last epoch was yielded, and how many steps it is of.
        self._sum, self._summed = torch.zeros((), device=data.device), 0
        self._training_loss = self._loss.smoothed(config.label_smoothing)
        self._augment = augmentation.find(config.augment, config.arguments("augment"))
        self._masked: list[tuple[nn.Parameter, Tensor]] = []
        # The masks of the prunable weights, of the whole network.
        self._weight_masks: Mapping[str, Tensor] = {}
        self._trainable = _trained(model)
        self.adapted: frozenset[str] = frozenset()
        self.adapters: Adapters | None = None
        self.teacher: Teaches | None = None
        self.kept, self.total, self.rate = 0, 0, 0.0
        self.counted = frozenset(prunable(model))
        self._exploration = Exploration(model)
        self.before_step: Callable[[], object] = lambda: None
        schedule = optimizers.lr_schedule(config.lr_schedule)
        # Share of the training done, and the config → factor of the highest learning rate.
        self._falls = parts.bind(schedule.rate, config.arguments("lr_schedule"))
        self.restart(0, config.steps or self.steps_of(config.epochs or 0), config.lr)

    def steps_of(self, epochs: float) -> int:
        """The steps of a number of epochs, rounded."""
        return round(epochs * self.steps_per_epoch)

    def epochs_before(self, until: int) -> dict[int, int]:
        """The last step of each epoch that ends after the current step and before another, and its number."""
        each = self.steps_per_epoch
        first, last = self.step // each + 1, (until - 1) // each
        return {epoch * each: epoch for epoch in range(first, last + 1)}

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
        trained = self._optimized()
        make = optimizers.optimizer(self.config.optimizer).make
        arguments = self.config.arguments("optimizer")
        self._optimizer = parts.bind(make, arguments)(trained, self.config)

    def _optimized(self) -> list[nn.Parameter]:
        """What the optimizer trains: parameters of the network, and adapters in place of weights."""
        config, named = self.config, dict(self.model.named_parameters())
        adapted = {name: p for name, p in named.items() if name in self.adapted}
        self.adapters = (
            Adapters(adapted, config.lora_rank, config.lora_alpha, config.roots.order) if adapted else None
        )
        own = [p for name, p in named.items() if p.requires_grad and name not in adapted]
        return own + (self.adapters.parameters if self.adapters else [])

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
        self._exploration.note(self._weight_masks, self.spent)
        parameters = dict(self.model.named_parameters())
        # Of removed units biases, normalization and positions have masks too: these are no prunable weights.
        self._weight_masks = {name: mask for name, mask in masks.items() if name in self.counted}
        self._masked, self.kept = [], total_kept(self._weight_masks.values())
        for name, mask in masks.items():
            parameter = parameters[name]
            parameter.masked_fill_(~mask, 0)
            # Not `state[parameter]`: of an untrained parameter that makes an entry, and then no state dict.
            for moment in self._optimizer.state.get(parameter, {}).values():
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                    moment.masked_fill_(~mask, 0)
            # The memory layout of the gradient makes their product one plain loop.
            self._masked.append((parameter, torch.empty_like(parameter).copy_(mask)))

    def put(self, weights: Mapping[str, Tensor]) -> bool:
        """Give parameters new values, and layers biases, which are trained; whether there are such biases."""
        if added := compensation.put(self.model, weights):
            self._trainable += added
            self._optimizer.add_param_group({"params": [self.model.get_parameter(name) for name in added]})
        return bool(added)

    def shrink(self, network: nn.Module, cut: Callable[[str, Tensor], Tensor]) -> None:
        """Go on with the smaller network that the masks leave, with what the optimizer has of its weights.

        Args:
            cut: name of a parameter and a tensor of its shape → what the smaller network has of the tensor.

        Raises:
            BadInput: an optimizer of one's own keeps other numbers than one for each weight.
        """
        whole, moments = dict(self.model.named_parameters()), self._optimizer.state
        trained = set(_trained(self.model))
        self._take(network)
        self._masked, kept = [], {name for name, _ in network.named_parameters()}
        self._trainable = [name for name in self._trainable if name in kept]
        self.restart(self._start, self._length, self._lr, trained.__contains__)
        label = self.config.optimizer.partition("@")[0]
        optimizer_states.carry(label, moments, whole, network, self._optimizer, cut)

    @property
    def explored(self) -> float:
        """Share of the prunable weights that were kept in a step of the training, or are kept now."""
        return self._exploration.share(self._weight_masks, self.spent)

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
            self.before_step()
            # Layers such as dropout draw the same numbers in a step, whatever was drawn before it.
            seed_layers(derive(self.config.roots.order, "layers", self.step), images.device)
            for group in self._optimizer.param_groups:
                group["lr"] = self.learning_rate(self.step)
            self._optimizer.zero_grad()
            if self.adapters:
                self.model.zero_grad()  # the weights, which are not the optimizer's
            inputs = self.data.inputs(images)
            with self._precision():
                outputs = self._forward(inputs)
                loss = plain = self._training_loss(outputs, labels)
                if self.teacher:
                    loss = self.teacher.loss(plain, outputs, inputs)
            loss.backward()
            if between is None or not between(self.step):
                # Where weight, momentum and gradient are 0, the weight stays exactly 0.
                for parameter, mask in self._masked:
                    if parameter.grad is not None:
                        parameter.grad.mul_(mask)
                self._step()
            self._sum += plain.detach()
            if self.first_loss is None:
                self.first_loss = float(plain.detach())
            self._summed += 1
            self.step += 1
            self.spent += 1
            self.trained += 1
            self.active += self.kept

    def _step(self) -> None:
        """A step of the optimizer by the gradients, which are masked."""
        if self.adapters:
            self.adapters.take_gradients()
        self._optimizer.step()
        if self.adapters:
            self.adapters.merge(self._masked)

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on; not copied: training changes its tensors."""
        adapters = {"adapters": self.adapters.state()} if self.adapters else {}
        return adapters | {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "sum": self._sum,
            "rate": self.rate,
            "explored": self._exploration.state(),
            **{name: getattr(self, name) for name in _PROGRESS},
        }

    def can_restore(self, state: Mapping[str, Any]) -> bool:
        """Whether a state is of a training like this one. The file of a state may have any content."""
        try:
            known = not parts.is_name(self.config.optimizer)
            sound = optimizer_states.fits(self._optimizer, state["optimizer"], known)
            if self.adapters:
                sound = self.adapters.can_restore(state["adapters"]) and sound
            counts = [type(state[name]) is int for name in _PROGRESS if name != "first_loss"]
            losses = [isinstance(state[name], float | None) for name in ("first_loss", "rate")]
            same_sum = state["sum"].shape == self._sum.shape
            same_sum = same_sum and self._exploration.can_restore(state["explored"])
        except (AttributeError, LookupError, TypeError, ValueError):
            return False
        return all((sound, *counts, *losses, same_sum)) and self.has_form(state["model"])

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a training like this one."""
        self.model.load_state_dict(state["model"])
        # Copied, as the optimizer changes the tensors that it loads.
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        if self.adapters:
            self.adapters.restore(state["adapters"])
        self._sum, self.rate = state["sum"].to(self._sum.device, copy=True), state["rate"]
        self._exploration.restore(state["explored"], self.data.device)
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


def _trained(model: nn.Module) -> list[str]:
    """The names of the parameters that training changes."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]
