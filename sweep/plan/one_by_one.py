"""Jobs of trials that are proposed one after another: each goes on from what earlier ones saved."""

from collections.abc import Hashable
from operator import attrgetter

from sweep.plan.jobs import Job
from sweep.study.identity import Trial
from sweep.trial.prefixes import Point, branch, teacher_point


class OneByOne:
    """Makes jobs of trials of which nobody knows yet which will follow."""

    def __init__(self) -> None:
        # Dense training that trials have in common → moments whose states are saved.
        self._points: dict[Hashable, set[Point]] = {}

    def job(self, trial: Trial) -> Job:
        """The job of a trial, which goes on from the nearest saved state of its dense training.

        It saves the state of its prune, and that of its teacher's end, if nobody has.
        """
        point, teacher = branch(trial.config), teacher_point(trial.config)
        own = tuple(dict.fromkeys(filter(None, (point, teacher))))
        if not own:
            return Job(trial)
        saved = self._points.setdefault(trial.config.trunk, set())
        until = point.position if point else 0
        before = (p for p in saved - {point} if p.epoch is not None and p.epoch <= until)
        path = sorted(before, key=attrgetter("position"))
        saved.update(own)
        return Job(trial, None, (*path, point) if point else (), own)


def trains_alone(trial: Trial) -> bool:
    """Whether a trial has no dense training that others could go on from."""
    return branch(trial.config) is None and teacher_point(trial.config) is None
