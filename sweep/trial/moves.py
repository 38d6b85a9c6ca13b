"""The moves of a trial with checkpoints: one of a killed trial is where its next try goes on.

A rule is a program, which cannot be saved in the middle. A trial that goes on therefore runs its rule from
the start. Trainings that had ended are left out, and so are evaluations. The training that the checkpoint was
made in goes on from there, with all that it depends on. All other moves are made.
"""

import copy
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch

import pruners
from sweep.data import TASKS
from sweep.rules.run import Between, LowRank, Run, Watch
from sweep.store.states import State
from sweep.trial.recorder import Recorder
from sweep.trial.rows import Row
from sweep.trial.stages import Stages
from sweep.trial.twins import Twin

# The most bytes of weights that checkpoints of a rule of one's own keep from trainings that have ended.
_REMEMBERED = 2**30


class Unlike(BaseException):
    """A trial cannot go on from its checkpoint.

    Not an `Exception`: code of rules that catches all of these lets it pass.
    """


def run(stages: Stages) -> Recorder:
    """Run the stages of a trial, from the checkpoint of an earlier try if there is one.

    Raises:
        Unlike: there is one, and it does not lead on; it is removed, and the trial may begin again.
    """
    moves = _Moves(stages)
    training, running = stages.training, stages.shared.running
    epochs = stages.rule.all_steps(stages.config, training.steps_per_epoch) / training.steps_per_epoch
    headline = TASKS[stages.data.task].headline

    def follow(row: Row) -> None:
        running.show(stages.recorder.curves, training.spent / training.steps_per_epoch, epochs, headline)

    stages.recorder.follow = follow
    try:
        recorder = stages.run(cast(Run, moves))
        if stages.twin and not (recorder.diverged or recorder.stopped):
            moves.twin(stages.twin)
        return recorder
    except torch.AcceleratorError:  # says nothing about the checkpoint
        raise
    except Exception as error:
        if moves.sound:
            raise
        raise moves.unlike() from error


class _Moves:
    """The moves of a run, some of which an earlier try has made."""

    def __init__(self, stages: Stages) -> None:
        self._stages, self._running = stages, stages.shared.running
        # What the trainings that have ended left to the rule's code, in their order.
        self._ended: list[Mapping[str, Any]] = []
        # Of all moves that the rule's code has made, with what it gave to them.
        self._made = hashlib.sha256()
        self._between: Any = None
        # Whether a training is going on, which makes moves of its own between its steps.
        self._within = False
        # Whether the rest of the trial has no more checkpoints.
        self._none = not self._running.keeps
        self._checkpoint = self._running.load()
        self._earlier = deque[Mapping[str, Any]]()
        if self._checkpoint:
            with self._leading_on():
                self._earlier.extend(self._checkpoint["ended"])
        # The steps that were trained before the checkpoint.
        self._before: int | None = None
        stages.training.before_step = self._before_step

    @property
    def sound(self) -> bool:
        """Whether what fails now would fail without a checkpoint too: a step was trained after it."""
        if self._checkpoint:
            return False
        return self._before is None or self._stages.training.trained > self._before

    def unlike(self) -> Unlike:
        """The exception for a checkpoint that does not lead on, which is removed."""
        self._running.forget()
        return Unlike()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stages, name)

    def dense(self, until: int, watch: Watch | None = None) -> None:
        """As `Run.dense`."""
        self._note("dense", until)
        self._train(lambda resumed: self._stages.dense(until, watch, resumed=resumed), watch)

    def train(self, phase: str, until: int, between: Between | None = None) -> None:
        """As `Run.train`."""
        self._note("train", phase, until)
        self._train(lambda resumed: self._stages.train(phase, until, between), between)

    def load_levels(self, counts: list[int]) -> int:
        """As `Run.load_levels`: as many levels as the earlier try has found."""
        self._note("load_levels", *counts)
        return int(self._train(lambda resumed: self._stages.load_levels(counts)) or 0)

    def save_levels(self, counts: list[int]) -> None:
        """As `Run.save_levels`."""
        if not self._checkpoint:
            self._stages.save_levels(counts)

    def decide(self, number: int) -> int:
        """As `Run.decide`: the number of the earlier try, if it came so far."""
        self._note("decide")
        return int(self._train(lambda resumed: number) or 0)

    def score(self) -> pruners.Step:
        """As `Run.score`; none where the masks come from the checkpoint."""
        return pruners.Step({}, {}) if self._checkpoint else self._stages.score()

    def compensated(self, chosen: pruners.Step) -> pruners.Step:
        """As `Run.compensated`; the values come from the checkpoint, if there is one."""
        return self._stages.compensated(chosen, known=self._checkpoint is not None)

    def prune(self, chosen: pruners.Step) -> None:
        """As `Run.prune`."""
        self._note("prune", masks=chosen.masks)
        self._stages.prune(chosen, measured=not self._checkpoint)

    def mask(self, masks: pruners.Masks) -> None:
        """As `Run.mask`."""
        self._note("mask", masks=masks)
        self._stages.mask(masks)

    def record(self, masks: pruners.Masks) -> None:
        """As `Run.record`."""
        self._note("record", masks=masks)
        if not self._checkpoint:
            self._stages.record(masks)

    def resume(self, reinit: bool) -> LowRank | None:
        """As `Run.resume`."""
        self._note("resume", reinit)
        return self._stages.resume(reinit)

    def twin(self, twin: Twin) -> None:
        """Train the twin, which follows all moves of the rule."""
        self._note("twin")
        self._train(lambda resumed: twin.train(resumed))

    def _train(self, move: Callable[[bool], int | None], between: Any = None) -> int | None:
        """Make a move that trains, leave it out, or go on within it."""
        if self._earlier:
            return self._leave_out(self._earlier.popleft(), between)
        resumed = self._checkpoint is not None
        if self._checkpoint:
            self._go_on(self._checkpoint, between)
        self._between = between
        # Nobody knows what a function keeps from step to step.
        self._none |= between is not None and not _has_state(between)
        self._within = True
        answer = move(resumed)
        self._within = False
        if not self._none:
            self._remember(answer)
        return answer

    def _note(self, *move: object, masks: pruners.Masks | None = None) -> None:
        """Note a move that the rule's code makes, to see later whether it does so again.

        The masks of a rule that forgets come from weights that are gone by then.
        """
        if self._none or self._within:
            return
        self._made.update(repr(move).encode())
        for name, mask in ({} if self._stages.rule.forgets else masks or {}).items():
            self._made.update(name.encode())
            self._made.update(mask.cpu().numpy().tobytes())

    def _remember(self, answer: int | None) -> None:
        """Remember what a training that has ended left to the rule's code."""
        stages, model = self._stages, None
        try:
            between = copy.deepcopy(self._between.state_dict()) if self._between is not None else None
        except Exception:  # code of one's own raises many kinds
            self._none = True
            return
        if not stages.rule.forgets:
            model = {name: tensor.to("cpu", copy=True) for name, tensor in stages.model.state_dict().items()}
        self._ended.append(
            {
                "made": self._made.hexdigest(),
                "step": stages.training.step,
                "snapshot": stages.snapshot,
                "model": model,
                "between": between,
                "answer": answer,
            }
        )
        weights = [tensor for each in self._ended if each["model"] for tensor in each["model"].values()]
        if sum(tensor.numel() * tensor.element_size() for tensor in weights) > _REMEMBERED:
            self._none = True
            self._ended.clear()

    def _before_step(self) -> None:
        """Leave a checkpoint if it is time for one."""
        if self._running.due and not self._none:
            with self._stages.recorder.aside():
                self._running.save(self._state)

    def _state(self) -> State:
        """A checkpoint."""
        stages = self._stages
        return {
            "ended": self._ended,
            "made": self._made.hexdigest(),
            "between": self._between.state_dict() if self._between is not None else None,
            "masks": dict(stages.masks),
            "snapshot": stages.snapshot,
            "twin": stages.twin.state() if stages.twin else None,
            "teacher": stages.teacher.weights if stages.teacher else None,
            "training": stages.training.state(),
            "trained": stages.training.trained,
            "recorder": stages.recorder.state(),
        }

    def _leave_out(self, ended: Mapping[str, Any], between: Any) -> int | None:
        """Go to the end of a training of the earlier try."""
        stages = self._stages
        with self._leading_on():
            # The code between two moves may have seen the masks and weights of this moment.
            if ended["made"] != self._made.hexdigest() or (ended["between"] is None) != (between is None):
                raise self.unlike()
            if ended["model"] is not None:
                if not stages.training.has_form(ended["model"]):
                    raise self.unlike()
                stages.model.load_state_dict(ended["model"])
            stages.training.step, stages.snapshot = ended["step"], ended["snapshot"]
            if between is not None:
                between.load_state_dict(ended["between"])
            self._ended.append(ended)
            answer: int | None = ended["answer"]
            return answer

    def _go_on(self, checkpoint: State, between: Any) -> None:
        """Go on within the training that a checkpoint was made in."""
        with self._leading_on():
            made = self._made.hexdigest()
            if checkpoint["made"] != made or not self._stages.training.takes(checkpoint["masks"]):
                raise self.unlike()
            _put_on(self._stages, checkpoint)
            if not _is_alike(self._stages, checkpoint):
                raise self.unlike()
            _restore(self._stages, checkpoint)
            if between is not None:
                between.load_state_dict(checkpoint["between"])
        self._before, self._checkpoint = checkpoint["trained"], None

    @contextmanager
    def _leading_on(self) -> Iterator[None]:
        """Around what reads a checkpoint, whose file may have any content."""
        try:
            yield
        except torch.AcceleratorError:
            raise
        except Exception as error:
            raise self.unlike() from error


def _has_state(between: Any) -> bool:
    return hasattr(between, "state_dict") and hasattr(between, "load_state_dict")


def _put_on(stages: Stages, checkpoint: State) -> None:
    """Put on the masks of a checkpoint, if it has any."""
    if checkpoint["masks"]:
        stages.mask_again(checkpoint["masks"])
        if stages.config.shrink:
            stages.shrink()


def _is_alike(stages: Stages, checkpoint: State) -> bool:
    """Whether a checkpoint is of stages like these; other content may raise any exception."""
    return (
        (stages.twin is None or stages.twin.can_restore(checkpoint["twin"]))
        and (stages.teacher is None or stages.teacher.can_restore(checkpoint["teacher"]))
        and type(checkpoint["trained"]) is int
        and stages.training.can_restore(checkpoint["training"])
        and stages.recorder.can_restore(checkpoint["recorder"])
    )


def _restore(stages: Stages, checkpoint: State) -> None:
    """Bring stages to a checkpoint."""
    if stages.twin:
        stages.twin.restore(checkpoint["twin"])
    if stages.teacher:
        stages.teacher.weights = checkpoint["teacher"]
    stages.training.restore(checkpoint["training"])
    stages.training.trained, stages.snapshot = checkpoint["trained"], checkpoint["snapshot"]
    stages.recorder.restore(checkpoint["recorder"])
