"""The stages of a trial: it trains, prunes and retrains, as its config says."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

import torch

import pruners
from pruners.batches import Batch, Loss
from pruners.scopes import Scope
from sweep import rules
from sweep.config import Config
from sweep.data import Data
from sweep.rules import spread
from sweep.rules.run import Between, LowRank, Run, Watch
from sweep.store.states import State
from sweep.study import consistency
from sweep.trial import compensating, masking, network, scoring, watch
from sweep.trial.ends import Diverged, Stopped
from sweep.trial.prefixes import Shared
from sweep.trial.recorder import Recorder
from sweep.trial.shared_states import SharedStates
from sweep.trial.smaller import Smaller
from sweep.trial.teacher import Teacher
from sweep.trial.training import Training
from sweep.trial.twins import Twin

# Called after each epoch of retraining with its number from 1, its validation accuracy, and whether it is the
# last epoch. True stops the trial.
AfterEpoch = Callable[[int, float, bool], bool]


class Stages:
    """The stages of one trial: each move of `sweep.rules.Run`, with a network, a training and a recorder.

    Attributes:
        exclude: names of the prunable weights that `layers` does not choose.
        masks: the masks that are on: of the whole network, also where the smaller one is trained.
        smaller: the network that the masks leave, which is trained; None: it is not made smaller.
        total: how many weights may be pruned.
        units: of the config's structure, group by group; none for single weights.
        start: masks that are on from the start; None: there are none.
        snapshot: the step to rewind to with its weights, as soon as the training has passed it.
        teacher: the dense network by whose outputs the training after the prune learns; None: it does not.
        twin: the second training after the last pruning; None: the trial has none.
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
        self.training.kept = self.training.total = self.total
        self.training.counted = frozenset(weights)
        self.units: pruners.Units = masking.units(config, self.model, self.exclude, self.example)
        self.masks: Mapping[str, torch.Tensor] = {}
        self.smaller: Smaller | None = None
        self.start = masking.start(config, self.model)
        if self.start:
            self.mask(self.start)
        # The step to rewind to after a pruning; None: there is no rewind.
        epoch = self.rule.rewinds_to(config)
        self._rewind_step = None if epoch is None else self.steps_of(epoch)
        self.snapshot: tuple[int, Mapping[str, torch.Tensor]] | None = None
        self.twin: Twin | None = None
        if config.twin_seed is not None:
            parts = self.rule.parts_at(config)
            self.twin = Twin(config, self.training, self.recorder, self.exclude, parts)
        self._states = SharedStates(shared, self.training, self.recorder)
        taught = rules.find(config.criterion).prunes and config.retrain_loss == "distill"
        self.teacher = Teacher(config, data, shared, Stages) if taught else None

    def run(self, moves: Run | None = None) -> Recorder:
        """Train and prune as the rule says; the recorder has the rows of the trial.

        Args:
            moves: what the rule makes its moves with; None: these stages.
        """
        try:
            self.rule.run(moves or self)
        except Diverged:
            self.recorder.diverged = True
        except Stopped:
            self.recorder.stopped = True
        else:
            if not self.smaller:
                watch.check_pruned(self.config, self.model, self.masks)
        return self.recorder

    @property
    def end(self) -> int:
        """The last step of training."""
        return self.training.end

    @property
    def scope(self) -> Scope:
        """How the kept weights spread over the layers."""
        return spread.scope(self.config, self.model, self.exclude)

    @property
    def example(self) -> torch.Tensor:
        """One training input as the network takes it."""
        return network.example(self.data)

    def steps_of(self, epochs: float) -> int:
        """The steps that a number of epochs has."""
        return self.training.steps_of(epochs)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, as the config's schedule says."""
        return self.training.learning_rate(step)

    def full_masks(self) -> pruners.Masks:
        """Masks that keep every weight that may be pruned."""
        weights = pruners.prunable(self.model, self.exclude)
        return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}

    def decide(self, number: int) -> int:
        """The number: nothing is known of an earlier try."""
        return number

    def score(self) -> pruners.Step:
        """The masks that the trial's criterion chooses, and their scores."""
        return scoring.choose(self.config, self.model, self.data, self.shared.scores, self.start, self.units)

    def compensated(self, chosen: pruners.Step, known: bool = False) -> pruners.Step:
        """Masks with what makes up for the weights they remove; known: with zeros in its place."""
        weights = compensating.weights(self.config, self.model, self.data, self.exclude, chosen.masks, known)
        return chosen._replace(weights={**chosen.weights, **weights})

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
        loaded = self._states.continue_from_dense(self._load_snapshot_before)
        if loaded:
            # The other trial may prune other layers. The counts are of the weights that this trial may prune.
            training.active = training.kept * training.spent
            self.recorder.curves = [row | {"kept": training.kept} for row in self.recorder.curves]
            if loaded["diverged"]:
                raise Diverged

    def dense(self, until: int, watch: Watch | None = None, resumed: bool = False) -> None:
        """Train to a step, from the furthest state that another trial has saved.

        There are no masks but those of a sparse start. On the way it saves the states that other trials go
        on from, and keeps the weights to rewind to.

        Args:
            watch: is asked after each epoch whether to end the training there.
            resumed: the training is at a checkpoint within this move.
        """
        training = self.training
        if not resumed:
            self._begin_dense()
        to_save = self._states.to_save(until)
        stops = set(map(self._states.step, to_save))
        if self._rewind_step is not None and self.snapshot is None:
            stops.add(self._rewind_step)
        twin = self.twin if self.twin and not self.twin.start else None
        if twin and twin.step is not None:
            stops.add(twin.step)
        epochs = training.epochs_before(until) if watch else {}
        try:
            for step in sorted(stops | epochs.keys()):
                self.train("dense", step, pause=True)
                if step == self._rewind_step:
                    self.snapshot = step, training.snapshot()
                if twin and step == twin.step:
                    twin.part()
                while to_save and self._states.step(to_save[0]) == step:
                    self._states.save(to_save.popleft())
                if watch and step in epochs:
                    with self.recorder.scoring():
                        until = step if watch(epochs[step]) else until
                    if until == step:
                        break
        except Diverged:
            for point in to_save:
                self._states.save(point, diverged=True)
            raise
        self.train("dense", until)
        if watch:
            self.recorder.record_moment()

    def _load_snapshot_before(self, state: State) -> bool:
        """Load the weights to rewind to, if they are from before a state. False if they are missing."""
        if self._rewind_step is None or self.snapshot or self._rewind_step > state["step"]:
            return True
        weights = self._states.rewound(self.config)
        self.snapshot = (self._rewind_step, weights) if weights else None
        return weights is not None

    def load_levels(self, counts: list[int]) -> int:
        """Go on from the last state whose levels kept these counts of weights; how many levels it has."""
        state = self._states.continue_from_levels(counts)
        if not state:
            return 0
        self.snapshot = state["snapshot"]
        self.mask_again(state["masks"])
        return int(state["level"])

    def save_levels(self, counts: list[int]) -> None:
        """Save the state after the last level, for trials with more levels."""
        self._states.save_levels(counts=counts, snapshot=self.snapshot, masks=dict(self.masks))

    def prune(self, chosen: pruners.Step, measured: bool = True) -> None:
        """Put masks on, and record the network before and after if it is to be measured."""
        masks: Mapping[str, torch.Tensor] = chosen.masks
        if measured:
            self.recorder.record_masks(self.model, chosen)
        if self.training.put(chosen.weights) and self.units:  # new biases belong to units too
            self.units = masking.units(self.config, self.model, self.exclude, self.example)
        if self.units and masks:
            masks = chosen.masks | pruners.other_masks(self.model, self.units, chosen.masks)
        self.mask(masks)
        if measured:
            self.recorder.record_pruned()

    def mask(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Put masks on, and record nothing."""
        self.masks = masks
        self.training.mask(masks)

    def mask_again(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Put masks on that come from a file."""
        self.mask({name: mask.to(self.data.device) for name, mask in masks.items()})

    def record(self, masks: pruners.Masks) -> None:
        """Record the layers at masks that are on."""
        self.recorder.record_masks(self.model, pruners.Step({}, masks))

    def resume(self, reinit: bool) -> LowRank | None:
        """Make the changes between a pruning and the training after it: new weights, a rewind, a schedule."""
        config, training = self.config, self.training
        step, weights = self.snapshot or (training.step, training.snapshot())
        if reinit:
            weights = network.built(config, self.data, config.roots.init, "reinit").state_dict()
        if reinit or self.snapshot:
            training.rewind(weights, step)
        trained, training.adapted = masking.retrained(config, self.model)
        training.teacher = self.teacher
        if config.retrain_epochs is not None:
            length = training.steps_of(config.retrain_epochs)
            training.restart(training.step, length, config.retrain_lr or config.lr, trained)
        elif trained:
            training.only(trained)
        training.mask(self.masks)
        if config.shrink and self.masks:
            self.shrink()
        if self.twin:
            self.twin.part()
        return training.adapters

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
        """What the masks leave of a network of this form; raises as `shrink` does."""
        return Smaller(whole, self.masks, self.config.structure, self.units, self.example)

    def whole_state(self) -> dict[str, torch.Tensor]:
        """The weights and statistics in the shapes of the whole network."""
        return self.smaller.widened() if self.smaller else dict(self.model.state_dict())

    def train(self, phase: str, until: int, between: Between | None = None, pause: bool = False) -> None:
        """Train to a step, and record each epoch under the name of a phase.

        Args:
            between: called before each step of the optimizer.
            pause: the epoch in which `until` lies goes on afterwards, and is recorded at its end.
        """
        if self.training.teacher and self.teacher:
            self.recorder.charge(*self.teacher.ready())
        for loss in self.recorder.timed(self.training.run(until, between, pause)):
            if not self.recorder.record_epoch(phase, loss):
                raise Diverged
            if phase == "retrain" and self.after_epoch:
                accuracies = [row["val_accuracy"] for row in self.recorder.curves if row["phase"] == phase]
                last = self.training.step >= until
                if self.after_epoch(len(accuracies), accuracies[-1], last) and not last:
                    raise Stopped
