"""A trial as a job with its place among others, and how many steps it trains."""

from dataclasses import dataclass, replace
from functools import cached_property

from sweep.study.config import ALONG, DENSE, Config
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
    """Steps of all training on a trial's way, what it does again after a rewind included.

    Args:
        epoch: steps of an epoch.
    """
    whole, pruned = _whole(config, epoch), round(config.prune_epoch * epoch)
    back = None if config.rewind_epoch is None else round(config.rewind_epoch * epoch)
    if config.criterion == "imp":
        return whole + config.iterations * (whole - (back or 0))
    if config.criterion in ALONG or config.criterion == DENSE:
        return whole
    if config.retrain_epochs is not None:
        return pruned + round(config.retrain_epochs * epoch)
    return whole + (0 if back is None else pruned - back)


def _whole(config: Config, epoch: int) -> int:
    return config.steps or (config.epochs or 0) * epoch


def own_steps(job: Job, epoch: int) -> int:
    """Steps that a job trains itself."""
    config, start = job.trial.config, job.start
    asked = training_steps(config, epoch)
    if start is None:
        return asked
    if start.level:
        return asked - training_steps(replace(config, iterations=start.level), epoch)
    whole = _whole(config, epoch)
    return asked - (whole if start.epoch is None else min(whole, round(start.epoch * epoch)))
