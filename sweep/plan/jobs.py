"""A trial as a job with its place among others, and how many steps it trains."""

from dataclasses import dataclass, replace
from functools import cached_property

from sweep import rules
from sweep.config import Config
from sweep.rules.rule import length
from sweep.study.identity import Trial
from sweep.trial.prefixes import Point, rewound


@dataclass(frozen=True, slots=True)
class Job:
    """A trial, and its place among those that it shares training with.

    Attributes:
        start: where it goes on from what others have trained; None: from the very beginning.
        path: all points on its way whose state somebody leaves behind, in their order.
        saves: those whose state it leaves behind itself.
    """

    trial: Trial
    start: Point | None = None
    path: tuple[Point, ...] = ()
    saves: tuple[Point, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Keys of the states that must be there for it to begin where it is planned to."""
        if self.start is None:
            return frozenset()
        back = None if self.start.level else rewound(self.trial.config)
        return frozenset({self.start.key, back.key} if back else {self.start.key})


# Jobs that only make sense one after another: the levels of iterative magnitude pruning.
Chain = tuple[Job, ...]


@dataclass(frozen=True)
class Pack:
    """Jobs that one worker does in one go.

    Attributes:
        brief: whether each is over in no time, so that several are reported together.
    """

    number: int
    jobs: tuple[Job, ...]
    brief: bool = False

    @cached_property
    def needs(self) -> frozenset[str]:
        """Keys of the states that others must have left behind before it can begin."""
        own = {point.key for job in self.jobs for point in job.saves}
        return frozenset().union(*(job.needs for job in self.jobs)) - own

    @property
    def saves(self) -> frozenset[str]:
        """Keys of the states that it leaves behind."""
        return frozenset(point.key for job in self.jobs for point in job.saves)


def training_steps(config: Config, epoch: int) -> int:
    """Steps of all training of a trial, those that a rewind repeats included.

    Args:
        epoch: steps of an epoch.
    """
    return rules.find(config.criterion).steps(config, epoch)


def own_steps(job: Job, epoch: int) -> int:
    """Steps that a job trains itself."""
    config, start = job.trial.config, job.start
    asked = training_steps(config, epoch)
    if start is None:
        return asked
    if start.level:
        return asked - training_steps(replace(config, iterations=start.level), epoch)
    end = length(config, epoch)
    return asked - (end if start.epoch is None else min(end, round(start.epoch * epoch)))
