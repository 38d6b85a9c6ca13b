"""Which pack goes to the next free worker: a searcher, as Ray Tune calls what proposes its trials."""

import re
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Self

from ray.tune.search import ConcurrencyLimiter, Searcher, SearchGenerator

from sweep.plan import Pack
from sweep.store.states import Store
from sweep.study.identity import Trial
from sweep.trial import Result, failure

# So many workers that fail alike before the first trial has a result are the cluster's fault.
_ALIKE = 3
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _Jobs(tuple[Any, ...]):
    """What a worker gets to do; Tune copies each config, and puts it into the name that it keeps."""

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __str__(self) -> str:
        return str(len(self))


class Source(Searcher):
    """Hands out packs in order, when what they need is there; takes back what a dead worker left undone."""

    def __init__(
        self,
        packs: Sequence[Pack],
        store: Store,
        retries: int,
        more: Callable[[], Pack | None] | None = None,
    ) -> None:
        super().__init__(metric="training_iteration", mode="max")
        self.store, self.retries, self.more = store, retries, more
        self.waiting = deque(packs)
        self.running: dict[str, Pack] = {}
        self.deaths: Counter[str] = Counter()
        self.given_up: deque[Result] = deque()
        # Packs whose worker failed, until it is told what of; why workers could not begin, while none could.
        self.broken: dict[str, Pack] = {}
        self.unable: Counter[str] | None = Counter()
        self._left = {job.trial.id for pack in packs for job in pack.jobs}
        # Who leaves behind the state of a key.
        self._maker = {point.key: job.trial.id for pack in packs for job in pack.jobs for point in job.saves}

    def finished(self, trial_id: str) -> None:
        """A trial has its result."""
        self._left.discard(trial_id)
        self.unable = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next pack that can begin, as a Tune trial's config."""
        pack = self._next()
        if pack:
            self.running[trial_id] = pack
            jobs = ((job.trial.canonical, job.path, job.saves) for job in pack.jobs)
            return {"pack": pack.number, "jobs": _Jobs(jobs), "brief": pack.brief}
        # While a pack is out its worker may still die, and the pack come back.
        return None if self.running or self.waiting else Searcher.FINISHED

    def _next(self) -> Pack | None:
        for place, pack in enumerate(self.waiting):
            if all(map(self._ready, pack.needs)):
                del self.waiting[place]
                return pack
        new = self.more() if self.more and not self.waiting else None
        if new:
            self._left |= {job.trial.id for job in new.jobs}
        return new

    def _ready(self, key: str) -> bool:
        """Whether a state is there, or will never be: who needs it then trains by itself."""
        return self._maker.get(key) not in self._left or self.store.has(key)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A pack is done, or its worker failed: then `failed` says why."""
        pack = self.running.pop(trial_id)
        if error:
            self.broken[trial_id] = pack
        else:
            self._again(pack)

    def failed(self, trial_id: str, why: str | None) -> None:
        """A pack's worker has died; or it could not begin the trial that was next.

        Args:
            why: it could not begin, as an exception's text; None: it died.
        """
        pack = self.broken.pop(trial_id)
        missing = [job for job in pack.jobs if job.trial.id in self._left]
        running = missing[0].trial if missing else None  # a pack's trials run in order
        if running and why is not None:
            why = _COLOURS.sub("", why).strip()
            self._give_up(running, why, pack)
            if self.unable is not None:
                self.unable[why.rpartition("\n")[2]] += 1
        # Of brief ones several are under way: each is on its own the next time, which then says whose it is.
        elif running and not pack.brief:
            self.deaths[running.id] += 1
            if self.deaths[running.id] > self.retries:
                died = f"its worker died {self.deaths[running.id]} times while it ran"
                self._give_up(running, died, pack)
        self._again(pack)

    def hopeless(self) -> str | None:
        """Why no worker can begin a trial; None as long as one has, or they fail for several reasons."""
        if not self.unable:
            return None
        [(why, count)] = self.unable.most_common(1)
        return why if count >= _ALIKE else None

    def _give_up(self, trial: Trial, why: str, pack: Pack) -> None:
        lost = failure(trial, why)
        lost.trial["pack"] = pack.number
        self.given_up.append(lost)
        self._left.discard(trial.id)

    def _again(self, pack: Pack) -> None:
        """Hand out once more what is left of a pack."""
        if missing := tuple(job for job in pack.jobs if job.trial.id in self._left):
            # In front: others may wait for what it leaves behind.
            self.waiting.appendleft(Pack(pack.number, missing))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: what is done stands in the results."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class Supply(SearchGenerator):
    """A source as Tune asks it: over as soon as no pack waits, so that idle workers end, and their nodes.

    A pack that comes back from a worker that died makes it go on.
    """

    def __init__(self, source: Source, workers: int) -> None:
        super().__init__(ConcurrencyLimiter(source, max_concurrent=workers))
        self.source = source

    def is_finished(self) -> bool:
        """Whether there is nothing to hand out, as far as is known."""
        return super().is_finished() or not (self.source.waiting or self.source.more)
