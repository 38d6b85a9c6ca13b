"""Jobs and packs: trials with the training that they share, and how many steps each trains."""

from dataclasses import dataclass, replace
from functools import cached_property

from sweep import rules
from sweep.config import Config
from sweep.rules.rule import length
from sweep.study.identity import Trial
from sweep.trial.prefixes import Point, rewind_point


@dataclass(frozen=True, slots=True)
class Job:
    """A trial, and the training that it shares with other trials.

    Attributes:
        start: the point from whose state the trial goes on; None: it starts from its initial weights.
        path: all points of the trial at which some trial saves a state, in their order.
        saves: the points at which this trial saves its state.
    """

    trial: Trial
    start: Point | None = None
    path: tuple[Point, ...] = ()
    saves: tuple[Point, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Keys of the states that must exist before the trial can go on from its start."""
        if self.start is None:
            return frozenset()
        rewind = None if self.start.level else rewind_point(self.trial.config)
        return frozenset({self.start.key, rewind.key} if rewind else {self.start.key})


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
    """Steps of all training of a trial. Steps that a rewind or a twin repeats count again.

    Args:
        epoch: steps of an epoch.
    """
    return rules.find(config.criterion).all_steps(config, epoch)


def own_steps(job: Job, epoch: int) -> int:
    """Steps that a job trains itself: those after its start.

    Args:
        epoch: steps of an epoch.
    """
    config, start = job.trial.config, job.start
    steps = training_steps(config, epoch)
    if start is None:
        return steps
    if start.level:
        return steps - training_steps(replace(config, iterations=start.level, twin_seed=None), epoch)
    end = length(config, epoch)
    return steps - (end if start.epoch is None else min(end, round(start.epoch * epoch)))
