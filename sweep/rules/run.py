"""The moves that a rule makes with the network of a trial, and what it hands over to the training."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor, nn

import pruners
from pruners.batches import Batch, Loss
from pruners.scopes import Scope
from sweep.config import Config

# Called with the number of a step when its gradients are ready; True replaces the optimizer's step. A trial
# can go on in the middle of such a training if this has `state_dict` and `load_state_dict`, as optimizers do.
Between = Callable[[int], bool]


class Watch(Protocol):
    """What watches a dense training, and is part of its checkpoints."""

    def __call__(self, epoch: int) -> bool:
        """Called at the end of each epoch with its number from 1; True ends the training there."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that later answers depend on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        ...


class LowRank(Protocol):
    """Low-rank adapters that train weights."""

    def estimates(self, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name of a weight → its gradient in this step, as those of its adapters estimate it."""
        ...


class Run(Protocol):
    """The moves that a rule makes with the network of one trial. `sweep.trial.stages.Stages` has them.

    Attributes:
        config: of the trial.
        model: the network, which the moves change.
        exclude: names of the prunable weights that `layers` does not choose.
        total: how many weights may be pruned.
        units: of the trial's structure, group by group; none for single weights.
        end: the last step of training.
        start: masks that are on from the start; None: the start is dense.
        masks: the masks that are on; empty: none have been put on.
        snapshot: the step to rewind to with its weights, as soon as the training has passed it.
    """

    config: Config
    model: nn.Module
    exclude: list[str]
    total: int
    units: pruners.Units
    start: pruners.Masks | None
    masks: Mapping[str, Tensor]
    snapshot: tuple[int, Mapping[str, Tensor]] | None

    @property
    def end(self) -> int:
        """The last step of training."""
        ...

    @property
    def scope(self) -> Scope:
        """How the kept weights spread over the layers, as `pruners.prune` takes it."""
        ...

    @property
    def example(self) -> Tensor:
        """One training input as the network takes it, for what needs its shape."""
        ...

    def steps_of(self, epochs: float) -> int:
        """The steps that a number of epochs has."""
        ...

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, as the config's schedule says."""
        ...

    def dense(self, until: int, watch: Watch | None = None) -> None:
        """Train without new masks to a step, from the furthest state that another trial has saved.

        Args:
            watch: may end the training before, at the end of an epoch; the epoch of the end is recorded.
        """
        ...

    def decide(self, number: int) -> int:
        """A number that the rule took from the network and that its next moves depend on.

        Returns:
            The number; in a trial that goes on from a checkpoint that of the earlier try, as the weights that
            the number is of are gone.
        """
        ...

    def score(self) -> pruners.Step:
        """The masks that the trial's criterion chooses, and their scores."""
        ...

    def batches(self) -> Iterable[Batch]:
        """The scoring batches, for criteria that look at data: each pass draws others, alike in every run."""
        ...

    @property
    def loss(self) -> Loss:
        """The loss that scores."""
        ...

    def compensated(self, chosen: pruners.Step) -> pruners.Step:
        """Masks with the weights that make up for what they remove, as the trial's `compensate` says."""
        ...

    def scoring(self) -> AbstractContextManager[None]:
        """Around the choice of masks, so that its time is recorded."""
        ...

    def full_masks(self) -> pruners.Masks:
        """Masks that keep every weight that may be pruned."""
        ...

    def prune(self, chosen: pruners.Step) -> None:
        """Put masks on, and record the network before and after."""
        ...

    def resume(self, reinit: bool) -> LowRank | None:
        """Make the changes between a pruning and the training after it: new weights, a rewind, a schedule.

        Returns:
            The adapters that train weights from now on; None: there are none.
        """
        ...

    def train(self, phase: str, until: int, between: Between | None = None) -> None:
        """Train to a step, and record each epoch under the name of a phase."""
        ...

    def mask(self, masks: pruners.Masks) -> None:
        """Put masks on, and record nothing."""
        ...

    def record(self, masks: pruners.Masks) -> None:
        """Record the layers at masks that are on."""
        ...

    def load_levels(self, counts: list[int]) -> int:
        """Go on from the last state whose levels kept these counts of weights; how many levels it has.

        Args:
            counts: none for levels that choose their own.
        """
        ...

    def save_levels(self, counts: list[int]) -> None:
        """Save the state after the last level, for trials with more levels."""
        ...
