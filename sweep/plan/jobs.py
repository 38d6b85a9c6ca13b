"""Jobs and packs: trials with the training that they share, and how many steps each trains."""

from dataclasses import dataclass, replace
from functools import cached_property

from sweep import rules
from sweep.config import Config
from sweep.rules.rule import length
from sweep.study.identity import Trial
from sweep.trial.prefixes import Point, branch, rewind_point, teacher_point


@dataclass(frozen=True, slots=True)
class Job:
    """A trial, and the training that it shares with other trials.

    Attributes:
        start: the point from whose state the trial goes on; None: it starts from its initial weights.
        path: all points of the trial at which some trial saves a state, in their order.
        saves: the points at which this trial saves its state.
        teacher: the point at which another trial saves the network that teaches this one; None: none does, or
            the trial trains it itself.
    """

    trial: Trial
    start: Point | None = None
    path: tuple[Point, ...] = ()
    saves: tuple[Point, ...] = ()
    teacher: Point | None = None

    @property
    def loads(self) -> frozenset[str]:
        """Keys of the states that the trial may load, its teacher's among them."""
        teacher = teacher_point(self.trial.config)
        return frozenset(point.key for point in (*self.path, *([teacher] if teacher else [])))

    @property
    def needs(self) -> frozenset[str]:
        """Keys of the states that must exist before the trial can go on from its start, and learn."""
        taught = {self.teacher.key} if self.teacher else set()
        if self.start is None:
            return frozenset(taught)
        rewind = None if self.start.level else rewind_point(self.trial.config)
        return frozenset({self.start.key, *taught} | ({rewind.key} if rewind else set()))


# Jobs that one worker runs one after another, as each goes on from the one before: the levels of iterative
# magnitude pruning.
Chain = tuple[Job, ...]


@dataclass(frozen=True)
class Pack:
    """Jobs that a worker gets together.

    Attributes:
        brief: whether each job takes only milliseconds, so that results are reported several at a time.
    """

    number: int
    jobs: tuple[Job, ...]
    brief: bool = False

    @cached_property
    def needs(self) -> frozenset[str]:
        """Keys of the states that other packs must save before this pack can begin."""
        return frozenset().union(*(job.needs for job in self.jobs)) - self.saves

    @property
    def saves(self) -> frozenset[str]:
        """Keys of the states that this pack saves."""
        return frozenset(point.key for job in self.jobs for point in job.saves)


def training_steps(config: Config, epoch: int) -> int:
    """Steps of all training of a trial. Steps that a rewind or a twin repeat count again.

    Those of its teacher after the dense training that the two have in common count too.

    Args:
        epoch: steps of an epoch.
    """
    return rules.find(config.criterion).all_steps(config, epoch) + _teachers_steps(config, epoch)


def _teachers_steps(config: Config, epoch: int) -> int:
    """Steps of a trial's teacher after their common dense training; 0 without a teacher.

    Args:
        epoch: steps of an epoch.
    """
    if teacher_point(config) is None:
        return 0
    point, end = branch(config), length(config, epoch)
    return end - (_step(point, epoch, end) if point else 0)


def _step(point: Point, epoch: int, end: int) -> int:
    """The step of a point of dense training.

    Args:
        epoch: steps of an epoch.
        end: the last step.
    """
    return end if point.epoch is None else min(end, round(point.epoch * epoch))


def own_steps(job: Job, epoch: int) -> int:
    """Steps that a job trains itself: those after its start.

    Args:
        epoch: steps of an epoch.
    """
    config, start = job.trial.config, job.start
    steps = training_steps(config, epoch)
    if job.teacher:
        steps -= _teachers_steps(config, epoch)
    if start is None:
        return steps
    if start.level:
        return steps - training_steps(replace(config, iterations=start.level, twin_seed=None), epoch)
    return steps - _step(start, epoch, length(config, epoch))
