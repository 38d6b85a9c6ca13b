"""The states that a training goes on from, and those that it saves for other trials."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from sweep.config import Config
from sweep.store.states import State
from sweep.trial.prefixes import Point, Shared, rewind_point
from sweep.trial.recorder import Recorder
from sweep.trial.rows import are_rows
from sweep.trial.training import Training


class SharedStates:
    """The states of one training and of others like it, each at a point."""

    def __init__(self, shared: Shared, training: Training, recorder: Recorder) -> None:
        self._shared, self._training, self._recorder = shared, training, recorder

    def continue_from_dense(self, usable: Callable[[State], bool]) -> State | None:
        """Restore the training from the furthest usable state of a dense training; that state, if any."""
        return self._continue_from([point for point in self._shared.path if not point.level], usable)

    def continue_from_levels(self, counts: list[int]) -> State | None:
        """Restore the training from the last state whose levels kept these counts of weights, if any."""
        return self._continue_from(
            [point for point in self._shared.path if point.level],
            lambda state: state["counts"] == counts[: len(state["counts"])],
        )

    def _continue_from(self, path: Sequence[Point], usable: Callable[[State], bool]) -> State | None:
        """Restore the training from the last of some points that has a usable state.

        Returns:
            The state; None: no point has one, and the training is as it was.
        """
        for point in reversed(path):
            state = self.load(point)
            if state and usable(state):
                self._training.restore(state)
                self._recorder.curves = list(state["curves"])
                return state
        return None

    def load(self, point: Point) -> State | None:
        """The state at a point; None: there is none, or it is not of a training like this one."""
        state = self._shared.load(point)
        return state if state is not None and self._is_alike(point, state) else None

    def step(self, point: Point) -> int:
        """The step at which the dense training passes a point."""
        return self._training.end if point.epoch is None else self._training.steps_of(point.epoch)

    def rewound(self, config: Config) -> Mapping[str, Tensor] | None:
        """The weights at the point to which a config's training rewinds; None: no trial has saved them."""
        point = rewind_point(config)
        state = self.load(point) if point else None
        return state and state["model"]

    def to_save(self, until: int) -> deque[Point]:
        """The points of the dense training that are to be saved and come after the current step, in order.

        Args:
            until: the last step of the dense training. Points after it are for the trial's teacher to save.
        """
        training = self._training
        return deque(
            point
            for point in sorted(self._shared.saves, key=self.step)
            # A trial that prunes after the end fails by itself: its point is left out.
            if not point.level and training.step < self.step(point) <= min(until, training.end)
        )

    def save_levels(self, **entries: object) -> None:
        """Save the state after the last level, for trials with more levels.

        Args:
            entries: of the state, beside those of the training.
        """
        for point in self._shared.saves:
            if point.level:
                phases = {"retrain": f"level {point.level}"}
                curves = [
                    row | {"phase": phases.get(row["phase"], row["phase"])} for row in self._recorder.curves
                ]
                self.save(point, curves=curves, level=point.level, **entries)

    def save(self, point: Point, **changes: object) -> None:
        """Save the state of this training at a point, for other trials.

        Args:
            changes: entries of the state that replace those of this training, or are added to them.
        """
        curves = self._recorder.curves
        state = {**self._training.state(), "curves": curves, "diverged": False, **changes}
        self._shared.save(point, state)

    def _is_alike(self, point: Point, state: State) -> bool:
        """Whether a training like this one can have saved a state at a point."""
        try:
            complete = isinstance(state["diverged"], bool) and are_rows(state["curves"], "curves")
            if point.level:
                step, weights = state["snapshot"]
                level = isinstance(state["counts"], list) and state["level"] == point.level
                masked = self._training.takes(state["masks"]) and self._training.has_form(weights)
                complete = complete and level and type(step) is int and masked
        except (AttributeError, LookupError, TypeError, ValueError):
            return False
        return complete and self._training.can_restore(state)
