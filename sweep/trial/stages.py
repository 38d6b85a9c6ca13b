"""The stages of a trial: train, prune, retrain, as its config says."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch

import pruners
from sweep import data
from sweep.errors import BadInput
from sweep.store.schema import SCHEMAS
from sweep.store.states import State
from sweep.study.config import ALONG, DENSE, Config
from sweep.trial import masking, network
from sweep.trial.mask_updates import Updates
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
    """The stages of one trial: dense training, pruning, retraining, as its config says."""

    def __init__(
        self, config: Config, whole: data.Data, shared: Shared, after_epoch: AfterEpoch | None = None
    ) -> None:
        self.config, self.data, self.shared, self.after_epoch = config, whole, shared, after_epoch
        self.model = network.built(config, whole, config.roots.init, "init")
        self.training = Training(config, self.model, whole)
        for name in ("prune_epoch", "rewind_epoch"):
            if self.training.steps_of(getattr(config, name) or 0) > self.training.end:
                raise BadInput(f"{name} is beyond the {self.training.end} steps of training")
        self.record = Record(config, self.training)
        # The step to go back to after the pruning, and the weights as they were there once that is known.
        back = config.rewind_epoch if config.criterion != "imp" else config.rewind_epoch or 0
        self._back = None if back is None else self.training.steps_of(back)
        self._snapshot: tuple[int, Mapping[str, torch.Tensor]] | None = None

    def run(self) -> Record:
        """Go through them all; what was taken down on the way."""
        dense = pruners.prunable(self.model, masking.left_out(self.config, self.model))
        self.training.kept = sum(weight.numel() for weight in dense.values())
        try:
            if self.config.criterion == "imp":
                self._level_by_level()
            elif self.config.criterion in ALONG:
                self._along()
            else:
                self._once()
        except _Diverged:
            self.record.diverged = True
        except _Stopped:
            self.record.stopped = True
        return self.record

    def _once(self) -> None:
        """Dense training to the prune epoch, one pruning, retraining."""
        config, training = self.config, self.training
        if config.criterion == DENSE:
            # Nothing is pruned, and looked at as the others are when they are pruned before the training.
            self._put_on(pruners.Step({}, masking.whole(config, self.model)))
            self._dense(training.end)
            return
        self._dense(training.steps_of(config.prune_epoch))
        with self.record.scoring():
            pruned = masking.choose(config, self.model, self.data, self.shared.scores)
        self._put_on(pruned)
        self._change(reinit=config.ablation == "reinit")
        self._train("retrain", training.end)

    def _dense(self, until: int) -> None:
        """Dense training to a step, from the furthest moment of it that another trial has left behind."""
        training = self.training
        if self._back == 0:
            self._snapshot = 0, training.snapshot()
        taken = self._take_over([point for point in self.shared.path if not point.level], self._can_go_back)
        if taken:
            # What is counted as a prunable weight is each trial's own.
            training.active = training.kept * training.spent
            self.record.curves = [row | {"kept": training.kept} for row in self.record.curves]
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
                self._train("dense", step, pause=True)
                if step == self._back:
                    self._snapshot = step, training.snapshot()
                while leave and self._step(leave[0]) == step:
                    self._leave(leave.popleft())
        except _Diverged:
            for point in leave:
                self._leave(point, diverged=True)
            raise
        self._train("dense", until)

    def _step(self, point: Point) -> int:
        """The step at which the dense training is at a point."""
        return self.training.end if point.epoch is None else self.training.steps_of(point.epoch)

    def _take_over(self, path: Sequence[Point], fits: Callable[[State], bool]) -> State | None:
        """Go on from the last of these points that has a state, one that fits."""
        for point in reversed(path):
            state = self._load(point)
            if state and fits(state):
                self.training.restore(state)
                self.record.curves = list(state["curves"])
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
        state = {**self.training.state(), "curves": self.record.curves, "diverged": False, **also}
        self.shared.save(point, state)

    def _level_by_level(self) -> None:
        """Iterative magnitude pruning: train to the end, prune, rewind, and again (Frankle & Carbin 2019)."""
        config, training = self.config, self.training
        exclude = masking.left_out(config, self.model)
        total = training.kept
        kept = pruners.kept_count(total, config.sparsity)
        counts = [
            max(kept, round(total * config.level_density**level)) for level in range(1, config.iterations)
        ] + [kept]
        taken = self._take_over(
            [point for point in self.shared.path if point.level],
            lambda state: state["counts"] == counts[: len(state["counts"])],
        )
        if taken:
            self._snapshot = taken["snapshot"]
        else:
            self._dense(training.end)
        for level in range(1 + len(taken["counts"]) if taken else 1, config.iterations + 1):
            with self.record.scoring():
                steps = pruners.trajectory(
                    "magnitude",
                    self.model,
                    sparsity=1 - Fraction(counts[level - 1], total),
                    scope=config.scope,
                    exclude=exclude,
                    min_per_layer=config.min_per_layer,
                )
                pruned = next(steps)
            last = level == config.iterations
            self._put_on(pruned)
            self._change(reinit=last and config.ablation == "reinit")
            self._train("retrain" if last else f"level {level}", training.end)
        for point in self.shared.saves:
            if point.level:
                phases = {"retrain": f"level {point.level}"}
                curves = [
                    row | {"phase": phases.get(row["phase"], row["phase"])} for row in self.record.curves
                ]
                self._leave(point, curves=curves, counts=counts, snapshot=self._snapshot)

    def _along(self) -> None:
        """Masks that change while the network trains."""
        updates = Updates(self.config, self.training)
        self._train("sparse", self.training.end, updates.between)
        self.record.masked(self.model, pruners.Step({}, updates.masks))

    def _put_on(self, pruned: pruners.Step) -> None:
        self._masks = pruned.masks
        if self.config.structure == "filter":
            self._masks = pruned.masks | masking.biases(self.model, pruned.masks)
        self.record.masked(self.model, pruned)
        self.training.mask(self._masks)
        self.record.pruned()

    def _change(self, reinit: bool) -> None:
        """What comes between pruning and retraining: other weights, an earlier time, another schedule."""
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

    def _train(self, phase: str, until: int, between: Between | None = None, pause: bool = False) -> None:
        """Train to a step and record every epoch."""
        for loss in self.record.timed(self.training.run(until, between, pause)):
            if not self.record.epoch(phase, loss):
                raise _Diverged
            if phase == "retrain" and self.after_epoch:
                accuracies = [row["val_accuracy"] for row in self.record.curves if row["phase"] == phase]
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
