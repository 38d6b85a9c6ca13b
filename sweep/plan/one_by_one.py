"""Jobs of trials that are proposed one after another: each goes on from what earlier ones saved."""

from collections.abc import Hashable
from operator import attrgetter

from sweep.plan.jobs import Job
from sweep.study.identity import Trial
from sweep.trial.prefixes import Point, branch


class OneByOne:
    """Makes jobs of trials of which nobody knows yet which will follow."""

    def __init__(self) -> None:
        # Dense training that trials have in common → moments whose states are saved.
        self._points: dict[Hashable, set[Point]] = {}

    def job(self, trial: Trial) -> Job:
        """The job of a trial, which goes on from the nearest saved state of its dense training."""
        point = branch(trial.config)
        if point is None:
            return Job(trial)
        saved = self._points.setdefault(trial.config.trunk, set())
        before = (p for p in saved - {point} if p.epoch is not None and p.epoch <= point.position)
        path = sorted(before, key=attrgetter("position"))
        saved.add(point)
        return Job(trial, None, (*path, point), (point,))


def trains_alone(trial: Trial) -> bool:
    """Whether a trial has no dense training that others could go on from."""
    return branch(trial.config) is None
