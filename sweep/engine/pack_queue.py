"""Which pack goes to the next free worker: a searcher, as Ray Tune calls what proposes its trials."""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from ray.tune.search import ConcurrencyLimiter, Searcher, SearchGenerator

from sweep.plan import Pack
from sweep.store.states import Store
from sweep.study.identity import Trial
from sweep.trial import Result, failure

# If this many workers fail with one error before the first trial has a result, the cluster is at fault.
_ALIKE = 3
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _Jobs(tuple[Any, ...]):
    """A worker's jobs. Tune copies each config, and writes it into a name that it keeps; both stay small."""

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __str__(self) -> str:
        return str(len(self))


class PackQueue(Searcher):
    """Hands out packs in order, each once the states it needs exist; takes back those of dead workers.

    Attributes:
        waiting: packs that are not handed out.
        running: packs that are handed out, by Tune's trial id.
        deaths: trial_id → workers that died while they ran the trial.
        given_up: results of trials that are not tried again, to be told.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        store: Store,
        retries: int,
        ask: Callable[[], Pack | None] | None = None,
        again: Iterable[str] = (),
    ) -> None:
        """Begin.

        Args:
            store: of the states that packs need.
            retries: how often a trial whose worker died is tried again.
            ask: proposes another pack when none waits; its None means none until another result. None: there
                are no more packs.
            again: trial_ids of which an earlier try may have left a checkpoint.
        """
        super().__init__(metric="training_iteration", mode="max")
        self.store, self.retries, self.ask_for_more = store, retries, ask
        self.waiting = deque(packs)
        self.running: dict[str, Pack] = {}
        self.deaths: Counter[str] = Counter()
        self.given_up: deque[Result] = deque()
        self._again = set(again)
        # Packs of workers that failed, by Tune's trial id, until `failed` says why.
        self._broken: dict[str, Pack] = {}
        # Last line of an error → workers that could not begin; None once a trial has a result.
        self._unable: Counter[str] | None = Counter()
        # Trials without a result.
        self._open = {job.trial.id for pack in packs for job in pack.jobs}
        # Key of a state → the trial that saves it.
        self._maker = {point.key: job.trial.id for pack in packs for job in pack.jobs for point in job.saves}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher to restore an experiment; a launch goes on from its own results instead.
        return {}

    def ask(self) -> Pack | None:
        """The next pack that can begin; None: there is none until another result."""
        for place, pack in enumerate(self.waiting):
            if all(map(self._ready, pack.needs)):
                del self.waiting[place]
                return pack
        new = self.ask_for_more() if self.ask_for_more and not self.waiting else None
        if new:
            self._open |= {job.trial.id for job in new.jobs}
        return new

    def tell(self, trial_id: str) -> None:
        """A trial has its result."""
        self._open.discard(trial_id)
        self._unable = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Ray asks for a Tune trial's config: it holds the next pack that can begin."""
        if pack := self.ask():
            self.running[trial_id] = pack
            jobs = (
                (job.trial.canonical, job.path, job.saves, job.trial.id in self._again) for job in pack.jobs
            )
            return {"pack": pack.number, "jobs": _Jobs(jobs), "brief": pack.brief}
        # The worker of a running pack may still die, and its pack come back.
        return None if self.running or self.waiting else Searcher.FINISHED

    def _ready(self, key: str) -> bool:
        """Whether a state exists, or never will: the trials that need it then train by themselves."""
        return self._maker.get(key) not in self._open or self.store.has(key)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Ray says that a pack is done, or that its worker failed; `failed` then says why."""
        pack = self.running.pop(trial_id)
        if error:
            self._broken[trial_id] = pack
        else:
            self._requeue(pack)

    def failed(self, trial_id: str, why: str | None) -> None:
        """The worker of a pack died, or it could not begin the next trial.

        Args:
            why: text of the exception for which it could not begin; None: it died.
        """
        pack = self._broken.pop(trial_id)
        unfinished = [job for job in pack.jobs if job.trial.id in self._open]
        running = unfinished[0].trial if unfinished else None  # a pack's trials run in order
        if running:
            self._again.add(running.id)
        if running and why is not None:
            why = _COLOURS.sub("", why).strip()
            self._give_up(running, why, pack)
            if self._unable is not None:
                self._unable[why.rpartition("\n")[2]] += 1
        # Several trials of a brief pack run before a report: the next time each is reported by itself, and
        # the trial that kills its worker is known.
        elif running and not pack.brief:
            self.deaths[running.id] += 1
            if (deaths := self.deaths[running.id]) > self.retries:
                often = "" if deaths == 1 else f" {deaths} times"
                self._give_up(running, f"its worker died{often} while it ran", pack)
        self._requeue(pack)

    def hopeless(self) -> str | None:
        """Why no worker can begin a trial; None if one could, or if they fail for several reasons."""
        if not self._unable:
            return None
        [(why, count)] = self._unable.most_common(1)
        return why if count >= _ALIKE else None

    def _give_up(self, trial: Trial, why: str, pack: Pack) -> None:
        """Make a trial a failed one."""
        result = failure(trial, why)
        result.trial["pack"] = pack.number
        self.given_up.append(result)
        self._open.discard(trial.id)

    def _requeue(self, pack: Pack) -> None:
        """Queue the trials of a pack that have no result."""
        if unfinished := tuple(job for job in pack.jobs if job.trial.id in self._open):
            # In front: other packs may wait for its states.
            self.waiting.appendleft(Pack(pack.number, unfinished))

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: finished trials are in the results."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class PackGenerator(SearchGenerator):
    """The queue as Tune asks it: finished as soon as no pack waits, so that idle workers and nodes end.

    A pack that comes back from a dead worker makes Tune go on.
    """

    def __init__(self, queue: PackQueue, workers: int) -> None:
        super().__init__(ConcurrencyLimiter(queue, max_concurrent=workers))
        self.queue = queue

    def is_finished(self) -> bool:
        """Whether no pack waits and none will be proposed."""
        return super().is_finished() or not (self.queue.waiting or self.queue.ask_for_more)
