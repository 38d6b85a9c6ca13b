"""The stages of a trial: train, prune, retrain, as its config says."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

import pruners
from sweep import data, rules
from sweep.config import Config
from sweep.errors import BadInput
from sweep.store.schema import SCHEMAS
from sweep.store.states import State
from sweep.trial import masking, network, scoring
from sweep.trial.prefixes import Point, Shared, rewound
from sweep.trial.recorder import Record
from sweep.trial.training import Between, Training

# Asked after each epoch of retraining, with its number from 1, the validation accuracy, and whether it is the
# last; True if the trial is to be stopped.
AfterEpoch = Callable[[int, float, bool], bool]


class _Diverged(Exception):
    """The training has no way back."""


class _Stopped(Exception):
    """The training goes on no further: it was told so."""


class Stages:
    """The stages of one trial, as its rule takes them; each move of `sweep.rules.Run`.

    Attributes:
        exclude: names of the prunable weights that `layers` does not choose.
        total: how many weights may be pruned.
    """

    def __init__(
        self, config: Config, whole: data.Data, shared: Shared, after_epoch: AfterEpoch | None = None
    ) -> None:
        self.config, self.data, self.shared, self.after_epoch = config, whole, shared, after_epoch
        self.rule = rules.find(config.criterion)
        self.model = network.built(config, whole, config.roots.init, "init")
        self.training = Training(config, self.model, whole)
        for name in ("prune_epoch", "rewind_epoch"):
            if self.steps_of(getattr(config, name) or 0) > self.end:
                raise BadInput(f"{name} is beyond the {self.end} steps of training")
        self.recorder = Record(config, self.training)
        self.exclude = masking.left_out(config, self.model)
        self.total = sum(weight.numel() for weight in pruners.prunable(self.model, self.exclude).values())
        self.training.kept = self.total
        # The step to go back to after a pruning, and the weights of that step once training has come to it.
        back = self.rule.rewinds_to(config)
        self._back = None if back is None else self.steps_of(back)
        self._snapshot: tuple[int, Mapping[str, torch.Tensor]] | None = None

    def run(self) -> Record:
        """Train and prune as the rule says; what was recorded."""
        try:
            self.rule.run(self)
        except _Diverged:
            self.recorder.diverged = True
        except _Stopped:
            self.recorder.stopped = True
        return self.recorder

    @property
    def end(self) -> int:
        """The last step of training."""
        return self.training.end

    def steps_of(self, epochs: float) -> int:
        """The steps that a number of epochs has."""
        return self.training.steps_of(epochs)

    def whole(self) -> masking.Masks:
        """Masks that keep every weight that may be pruned."""
        weights = pruners.prunable(self.model, self.exclude)
        return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}

    def score(self) -> pruners.Step:
        """The masks that the trial's criterion chooses, and their scores."""
        return scoring.choose(self.config, self.model, self.data, self.shared.scores)

    def scoring(self) -> AbstractContextManager[None]:
        """Around the choice of masks, so that its time is recorded."""
        return self.recorder.scoring()

    def dense(self, until: int) -> None:
        """Train without masks to a step, from the furthest state that another trial has left."""
        training = self.training
        if self._back == 0:
            self._snapshot = 0, training.snapshot()
        taken = self._take_over([point for point in self.shared.path if not point.level], self._can_go_back)
        if taken:
            # What is counted as a prunable weight is each trial's own.
            training.active = training.kept * training.spent
            self.recorder.curves = [row | {"kept": training.kept} for row in self.recorder.curves]
            if taken["diverged"]:
                raise _Diverged
        leave = deque(
            point
            for point in sorted(self.shared.saves, key=self._step)
            # A point beyond the end is of a trial that cannot be: it fails by itself.
            if not point.level and training.step < self._step(point) <= training.end
        )
        stops = {self._step(point) for point in leave}
        if self._back is not None and self._snapshot is None:
            stops.add(self._back)
        try:
            for step in sorted(stops):
                # For others' sake, or for later: the epoch under way goes on.
                self.train("dense", step, pause=True)
                if step == self._back:
                    self._snapshot = step, training.snapshot()
                while leave and self._step(leave[0]) == step:
                    self._leave(leave.popleft())
        except _Diverged:
            for point in leave:
                self._leave(point, diverged=True)
            raise
        self.train("dense", until)

    def _step(self, point: Point) -> int:
        """The step at which the dense training is at a point."""
        return self.training.end if point.epoch is None else self.training.steps_of(point.epoch)

    def _take_over(self, path: Sequence[Point], fits: Callable[[State], bool]) -> State | None:
        """Go on from the last of these points that has a state, one that fits."""
        for point in reversed(path):
            state = self._load(point)
            if state and fits(state):
                self.training.restore(state)
                self.recorder.curves = list(state["curves"])
                return state
        return None

    def _load(self, point: Point) -> State | None:
        """The state at a point; one that no training like this one can have left is as good as none."""
        state = self.shared.load(point)
        return state if state is not None and self._is_own(point, state) else None

    def _is_own(self, point: Point, state: State) -> bool:
        try:
            known = isinstance(state["diverged"], bool) and all(map(_is_epoch, state["curves"]))
            if point.level:
                step, weights = state["snapshot"]
                counts = isinstance(state["counts"], list)
                known = known and counts and type(step) is int and self.training.has_form(weights)
        except (AttributeError, LookupError, TypeError, ValueError):
            return False
        return known and self.training.can_restore(state)

    def _can_go_back(self, state: State) -> bool:
        """Have what will be gone back to, where that lies before a state of the dense training."""
        if self._back is None or self._snapshot or self._back > state["step"]:
            return True
        point = rewound(self.config)
        earlier = self._load(point) if point else None
        if earlier:
            self._snapshot = self._back, earlier["model"]
        return bool(earlier)

    def _leave(self, point: Point, **also: object) -> None:
        """Leave behind where this training is, for others to go on from."""
        state = {**self.training.state(), "curves": self.recorder.curves, "diverged": False, **also}
        self.shared.save(point, state)

    def take_levels(self, counts: list[int]) -> int:
        """Go on from the last state whose levels kept these counts of weights; how many levels it has."""
        taken = self._take_over(
            [point for point in self.shared.path if point.level],
            lambda state: state["counts"] == counts[: len(state["counts"])],
        )
        if not taken:
            return 0
        self._snapshot = taken["snapshot"]
        return len(taken["counts"])

    def leave_levels(self, counts: list[int]) -> None:
        """Leave a state after the last level, for trials with more levels."""
        for point in self.shared.saves:
            if point.level:
                phases = {"retrain": f"level {point.level}"}
                curves = [
                    row | {"phase": phases.get(row["phase"], row["phase"])} for row in self.recorder.curves
                ]
                self._leave(point, curves=curves, counts=counts, snapshot=self._snapshot)

    def prune(self, chosen: pruners.Step) -> None:
        """Put masks on, and record the network before and after."""
        self._masks = chosen.masks
        if self.config.structure == "filter":
            self._masks = chosen.masks | masking.biases(self.model, chosen.masks)
        self.recorder.masked(self.model, chosen)
        self.mask(self._masks)
        self.recorder.pruned()

    def mask(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Put masks on, and record nothing."""
        self.training.mask(masks)

    def record(self, masks: masking.Masks) -> None:
        """Record the layers at masks that are on."""
        self.recorder.masked(self.model, pruners.Step({}, masks))

    def resume(self, reinit: bool) -> None:
        """Make the changes between a pruning and the training after it: new weights, a rewind, a schedule."""
        config, training = self.config, self.training
        step, state = self._snapshot or (training.step, training.snapshot())
        if reinit:
            state = network.built(config, self.data, config.roots.init, "reinit").state_dict()
        if reinit or self._snapshot:
            training.rewind(state, step)
        chosen = masking.retrained(config, self.model)
        if config.retrain_epochs is not None:
            length = training.steps_of(config.retrain_epochs)
            training.restart(training.step, length, config.retrain_lr or config.lr, chosen)
        elif chosen:
            training.only(chosen)
        training.mask(self._masks)

    def train(self, phase: str, until: int, between: Between | None = None, pause: bool = False) -> None:
        """Train to a step, and record each epoch under the name of a phase.

        Args:
            pause: the epoch under way goes on afterwards.
        """
        for loss in self.recorder.timed(self.training.run(until, between, pause)):
            if not self.recorder.epoch(phase, loss):
                raise _Diverged
            if phase == "retrain" and self.after_epoch:
                accuracies = [row["val_accuracy"] for row in self.recorder.curves if row["phase"] == phase]
                last = self.training.step >= until
                if self.after_epoch(len(accuracies), accuracies[-1], last) and not last:
                    raise _Stopped


def _is_epoch(row: Any) -> bool:
    """Whether a row of learning curves is one, as `Record` takes them down."""
    numbers = (value for name, value in row.items() if name != "phase")
    return (
        isinstance(row["phase"], str)
        and row.keys() <= set(SCHEMAS["curves"].names)
        and all(value is None or type(value) in (int, float) for value in numbers)
    )
