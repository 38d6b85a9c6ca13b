"""Distillation: a pruned network is retrained by the outputs of the dense one (Hinton et al. 2015)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweep.config import Config
from sweep.data import Data
from sweep.study.identity import Trial
from sweep.trial import network
from sweep.trial.ends import Diverged
from sweep.trial.prefixes import Shared, teacher_point
from sweep.trial.recorder import Recorder
from sweep.trial.running import Running
from sweep.trial.training import Training


class _Run(Protocol):
    """A trial that can be run, as `sweep.trial.stages.Stages`."""

    training: Training

    def run(self) -> Recorder:
        """Train and prune."""
        ...


# Config, data, and the states that it loads and saves → a trial.
_Stages = Callable[[Config, Data, Shared], _Run]


def divergence(outputs: Tensor, aims: Tensor, temperature: float) -> Tensor:
    """τ² · KL(softmax(aims / τ) ‖ softmax(outputs / τ)), a mean over samples and places.

    With τ² the gradient is about as large at every temperature (Hinton et al. 2015, section 2).

    Args:
        outputs, aims: scores (N, classes, ...) of the network that learns, and of the one it learns from.
        temperature: τ.
    """
    own, others = ((each.float() / temperature).log_softmax(1) for each in (outputs, aims))
    return temperature**2 * F.kl_div(own, others, reduction="none", log_target=True).sum(1).mean()


class Teacher:
    """The dense run of a trial's config to its end, with the same data and seeds, as a network that teaches.

    Attributes:
        weights: of the network and its statistics; None: it was not needed yet.
    """

    def __init__(self, config: Config, data: Data, shared: Shared, dense: _Stages) -> None:
        """A teacher that is found when it is needed first.

        Args:
            config: of the trial that learns.
            shared: states of the trial, among which the teacher's is looked for.
            dense: makes a trial of the dense run, where no trial has saved its end.
        """
        self._config, self._data, self._shared, self._dense = config, data, shared, dense
        self.weights: Mapping[str, Any] | None = None
        self._network: nn.Module | None = None

    def loss(self, plain: Tensor, outputs: Tensor, inputs: Tensor) -> Tensor:
        """(1 − α) · the plain loss + α · τ² · KL, α the weight and τ the temperature of the config.

        Args:
            plain: loss of the task.
            outputs: scores (N, classes, ...) of the network that learns.
            inputs: of the batch, as networks take them.

        Raises:
            Diverged: the dense run has diverged.
        """
        weight, temperature = self._config.distill_weight, self._config.distill_temperature
        with torch.no_grad():
            aims = self.network()(inputs)
        return (1 - weight) * plain + weight * divergence(outputs, aims, temperature)

    def network(self) -> nn.Module:
        """The dense network, in eval mode.

        Raises:
            Diverged: the dense run has diverged.
        """
        if self._network is None:
            self.ready()
            own = network.built(self._config, self._data, self._config.roots.init, "init")
            own.load_state_dict(self.weights or {})
            self._network = own.eval().requires_grad_(False)
        return self._network

    def ready(self) -> tuple[int, float]:
        """Find the weights, unless they are there: those of a trial's state, or of a dense run made here.

        Returns:
            Steps and seconds of training that this took.

        Raises:
            Diverged: the dense run has diverged.
        """
        if self.weights is None:
            self.weights = self._found()
        return (0, 0.0) if self.weights is not None else self._train()

    def can_restore(self, weights: Any) -> bool:
        """Whether weights are of the network that teaches; the file of a state may have any content.

        Raises:
            AttributeError, LookupError, TypeError: they are no weights.
        """
        if weights is None:
            return True
        own = network.built(self._config, self._data, 0, "init").state_dict()
        shapes = [{name: tensor.shape for name, tensor in each.items()} for each in (own, weights)]
        return shapes[0] == shapes[1]

    def _found(self) -> Mapping[str, Tensor] | None:
        """The weights that a trial has saved at the end of its dense training; None: there are none."""
        point = teacher_point(self._config)
        state = self._shared.load(point) if point else None
        try:
            diverged, weights = state and state["diverged"], state and state["model"]
            if not self.can_restore(weights):
                return None
        except (AttributeError, LookupError, TypeError):
            return None
        if diverged:
            raise Diverged
        return weights

    def _train(self) -> tuple[int, float]:
        """Make the dense run, which saves what other trials need of it; its steps and seconds of training."""
        shared = self._shared
        points = {point for point in (*shared.path, *shared.saves) if not point.level}
        path = tuple(sorted(points, key=lambda point: point.position))
        states = replace(shared, path=path, scores={}, running=Running())
        run = self._dense(dense_config(self._config), self._data, states)
        outcome = run.run().outcome()
        if outcome["diverged"]:
            raise Diverged
        self.weights = run.training.snapshot()
        return run.training.trained, outcome["train_seconds"]


def dense_config(config: Config) -> Config:
    """The config of the dense run that teaches a trial."""
    return Trial.of(replace(config, sparsity=0, twin_seed=None)).config
