"""The stages of a trial: it trains, prunes and retrains, as its config says."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

import torch

import pruners
from pruners.batches import Batch, Loss
from sweep import rules
from sweep.config import Config
from sweep.data import Data
from sweep.rules.rule import Between, Run
from sweep.store.states import State
from sweep.study import consistency
from sweep.trial import masking, network, scoring, watch
from sweep.trial.prefixes import Point, Shared, rewind_point
from sweep.trial.recorder import Recorder
from sweep.trial.shared_states import SharedStates
from sweep.trial.smaller import Smaller
from sweep.trial.training import Training

# Called after each epoch of retraining with its number from 1, its validation accuracy, and whether it is the
# last epoch. True stops the trial.
AfterEpoch = Callable[[int, float, bool], bool]


class _Diverged(Exception):
    """The loss of the training is infinite, no number, or far too large."""


class _Stopped(Exception):
    """`after_epoch` stopped the trial."""


class Stages:
    """The stages of one trial: each move of `sweep.rules.Run`, with a network, a training and a recorder.

    Attributes:
        exclude: names of the prunable weights that `layers` does not choose.
        masks: the masks that are on: of the whole network, also where the smaller one is trained.
        smaller: the network that the masks leave, which is trained; None: it is not made smaller.
        total: how many weights may be pruned.
        units: of the config's structure, group by group; none for single weights.
        snapshot: the step to rewind to with its weights, as soon as the training has passed it.
    """

    def __init__(
        self, config: Config, data: Data, shared: Shared, after_epoch: AfterEpoch | None = None
    ) -> None:
        """Build the network and its training.

        Raises:
            BadInput: the config does not go with the data, the prune or the rewind comes after the last step
                of training, the network has none of the layers that the config names or nothing of its
                structure, or the trained weights are not here or are no weights of this network.
        """
        consistency.check_form(config, data.form)
        self.config, self.data, self.shared, self.after_epoch = config, data, shared, after_epoch
        self.rule = rules.find(config.criterion)
        self.model = network.initial(config, data, shared.weights)
        self.training = Training(config, self.model, data)
        consistency.check_steps(config, lambda: self.training.steps_per_epoch)
        self.recorder = Recorder(config, self.training)
        self.exclude = masking.excluded(config, self.model)
        weights = pruners.prunable(self.model, self.exclude)
        self.total = sum(weight.numel() for weight in weights.values())
        self.training.kept, self.training.counted = self.total, frozenset(weights)
        example = data.inputs(data.train.take(torch.arange(1)).images)
        self.units: pruners.Units = masking.units(config, self.model, self.exclude, example)
        self.masks: Mapping[str, torch.Tensor] = {}
        self.smaller: Smaller | None = None
        # Masks that are on from the start; None: there are none.
        self._start = masking.start(config, self.model) if config.keep_mask else None
        if self._start:
            self.mask(self._start)
        # The step to rewind to after a pruning; None: there is no rewind.
        epoch = self.rule.rewinds_to(config)
        self._rewind_step = None if epoch is None else self.steps_of(epoch)
        self.snapshot: tuple[int, Mapping[str, torch.Tensor]] | None = None
        self._states = SharedStates(shared, self.training, self.recorder)

    def run(self, moves: Run | None = None) -> Recorder:
        """Train and prune as the rule says.

        Args:
            moves: what the rule makes its moves with; None: these stages.

        Returns:
            The recorder with the rows of the trial.
        """
        try:
            self.rule.run(moves or self)
        except _Diverged:
            self.recorder.diverged = True
        except _Stopped:
            self.recorder.stopped = True
        else:
            if not self.smaller:
                watch.check_pruned(self.config, self.model, self.masks)
        return self.recorder

    @property
    def end(self) -> int:
        """The last step of training."""
        return self.training.end

    def steps_of(self, epochs: float) -> int:
        """The steps that a number of epochs has."""
        return self.training.steps_of(epochs)

    def full_masks(self) -> pruners.Masks:
        """Masks that keep every weight that may be pruned."""
        weights = pruners.prunable(self.model, self.exclude)
        return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}

    def score(self) -> pruners.Step:
        """The masks that the trial's criterion chooses, and their scores."""
        return scoring.choose(self.config, self.model, self.data, self.shared.scores, self._start, self.units)

    def batches(self) -> Iterable[Batch]:
        """The scoring batches: each pass draws others, alike in every run."""
        return scoring.ScoringData(self.config, self.data)

    @property
    def loss(self) -> Loss:
        """The loss that scores."""
        return scoring.loss(self.config, self.data.task)

    def scoring(self) -> AbstractContextManager[None]:
        """Around the choice of masks, so that its time is recorded."""
        return self.recorder.scoring()

    def _begin_dense(self) -> None:
        """Go to the furthest state that another trial has saved."""
        training = self.training
        if self._rewind_step == 0:
            self.snapshot = 0, training.snapshot()
        loaded = self._states.continue_from(
            [point for point in self.shared.path if not point.level], self._load_snapshot_before
        )
        if loaded:
            # The other trial may prune other layers. The counts are of the weights that this trial may prune.
            training.active = training.kept * training.spent
            self.recorder.curves = [row | {"kept": training.kept} for row in self.recorder.curves]
            if loaded["diverged"]:
                raise _Diverged

    def dense(self, until: int, resumed: bool = False) -> None:
        """Train to a step, from the furthest state that another trial has saved.

        There are no masks but those of a sparse start. On the way it saves the states that other trials go
        on from, and keeps the weights to rewind to.

        Args:
            resumed: the training is at a checkpoint within this move.
        """
        training = self.training
        if not resumed:
            self._begin_dense()
        to_save = deque(
            point
            for point in sorted(self.shared.saves, key=self._step)
            # A trial that prunes after the end fails by itself: its point is left out.
            if not point.level and training.step < self._step(point) <= training.end
        )
        stops = {self._step(point) for point in to_save}
        if self._rewind_step is not None and self.snapshot is None:
            stops.add(self._rewind_step)
        try:
            for step in sorted(stops):
                self.train("dense", step, pause=True)
                if step == self._rewind_step:
                    self.snapshot = step, training.snapshot()
                while to_save and self._step(to_save[0]) == step:
                    self._states.save(to_save.popleft())
        except _Diverged:
            for point in to_save:
                self._states.save(point, diverged=True)
            raise
        self.train("dense", until)

    def _step(self, point: Point) -> int:
        """The step at which the dense training passes a point."""
        return self.training.end if point.epoch is None else self.training.steps_of(point.epoch)

    def _load_snapshot_before(self, state: State) -> bool:
        """Load the weights to rewind to, if they are from before a state. False if they are missing."""
        if self._rewind_step is None or self.snapshot or self._rewind_step > state["step"]:
            return True
        point = rewind_point(self.config)
        earlier = self._states.load(point) if point else None
        if earlier:
            self.snapshot = self._rewind_step, earlier["model"]
        return bool(earlier)

    def load_levels(self, counts: list[int]) -> int:
        """Go on from the last state whose levels kept these counts of weights; how many levels it has."""
        state = self._states.continue_from(
            [point for point in self.shared.path if point.level],
            lambda state: state["counts"] == counts[: len(state["counts"])],
        )
        if not state:
            return 0
        self.snapshot = state["snapshot"]
        return len(state["counts"])

    def save_levels(self, counts: list[int]) -> None:
        """Save the state after the last level, for trials with more levels."""
        for point in self.shared.saves:
            if point.level:
                phases = {"retrain": f"level {point.level}"}
                curves = [
                    row | {"phase": phases.get(row["phase"], row["phase"])} for row in self.recorder.curves
                ]
                self._states.save(point, curves=curves, counts=counts, snapshot=self.snapshot)

    def prune(self, chosen: pruners.Step, measured: bool = True) -> None:
        """Put masks on, and record the network before and after if it is to be measured."""
        masks: Mapping[str, torch.Tensor] = chosen.masks
        if self.units and chosen.masks:
            masks = chosen.masks | pruners.other_masks(self.model, self.units, chosen.masks)
        if measured:
            self.recorder.record_masks(self.model, chosen)
        self.mask(masks)
        if measured:
            self.recorder.record_pruned()

    def mask(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Put masks on, and record nothing."""
        self.masks = masks
        self.training.mask(masks)

    def record(self, masks: pruners.Masks) -> None:
        """Record the layers at masks that are on."""
        self.recorder.record_masks(self.model, pruners.Step({}, masks))

    def resume(self, reinit: bool) -> None:
        """Make the changes between a pruning and the training after it: new weights, a rewind, a schedule."""
        config, training = self.config, self.training
        step, weights = self.snapshot or (training.step, training.snapshot())
        if reinit:
            weights = network.built(config, self.data, config.roots.init, "reinit").state_dict()
        if reinit or self.snapshot:
            training.rewind(weights, step)
        trained = masking.retrained(config, self.model)
        if config.retrain_epochs is not None:
            length = training.steps_of(config.retrain_epochs)
            training.restart(training.step, length, config.retrain_lr or config.lr, trained)
        elif trained:
            training.only(trained)
        training.mask(self.masks)
        if config.shrink and self.masks:
            self.shrink()

    def shrink(self) -> None:
        """Go on with the network that the masks leave, really smaller, with its part of the momentum.

        Raises:
            BadInput: the network has layers from which nothing can be cut.
        """
        self.smaller = self.smaller_of(self.model)
        self.model = self.smaller.network
        self.training.shrink(self.model, self.smaller.cut)
        self.recorder.record_smaller(self.smaller)

    def smaller_of(self, whole: torch.nn.Module) -> Smaller:
        """What the masks leave of a network of this form.

        Raises:
            BadInput: as `shrink`.
        """
        data = self.data
        example = data.inputs(data.train.take(torch.arange(1)).images)
        return Smaller(whole, self.masks, self.config.structure, self.units, example)

    def whole_state(self) -> dict[str, torch.Tensor]:
        """The weights and statistics in the shapes of the whole network."""
        return self.smaller.widened() if self.smaller else dict(self.model.state_dict())

    def train(self, phase: str, until: int, between: Between | None = None, pause: bool = False) -> None:
        """Train to a step, and record each epoch under the name of a phase.

        Args:
            between: called before each step of the optimizer.
            pause: the epoch in which `until` lies goes on afterwards, and is recorded at its end.
        """
        for loss in self.recorder.timed(self.training.run(until, between, pause)):
            if not self.recorder.record_epoch(phase, loss):
                raise _Diverged
            if phase == "retrain" and self.after_epoch:
                accuracies = [row["val_accuracy"] for row in self.recorder.curves if row["phase"] == phase]
                last = self.training.step >= until
                if self.after_epoch(len(accuracies), accuracies[-1], last) and not last:
                    raise _Stopped
