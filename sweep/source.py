"""Which pack goes to the next free worker: a searcher, as Ray Tune calls what proposes its trials."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Self

from ray.tune.search import ConcurrencyLimiter, Searcher, SearchGenerator

from sweep.plan import Pack
from sweep.prefixes import Store
from sweep.trial import Result, failure


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
        self._left = {job.trial.id for pack in packs for job in pack.jobs}
        # Who leaves behind the state of a key.
        self._maker = {point.key: job.trial.id for pack in packs for job in pack.jobs for point in job.saves}

    def finished(self, trial_id: str) -> None:
        """A trial has its result."""
        self._left.discard(trial_id)

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
        """A pack is done, or its worker died."""
        pack = self.running.pop(trial_id)
        missing = [job for job in pack.jobs if job.trial.id in self._left]
        # Of brief ones several are under way: each is on its own the next time, which then says whose it is.
        if missing and error and not pack.brief:
            running = missing[0].trial  # a pack's trials run in order
            self.deaths[running.id] += 1
            if self.deaths[running.id] > self.retries:
                died = failure(running, f"its worker died {self.deaths[running.id]} times while it ran")
                died.trial["pack"] = pack.number
                self.given_up.append(died)
                self.finished(running.id)
                missing = missing[1:]
        if missing:
            # In front: others may wait for what it leaves behind.
            self.waiting.appendleft(Pack(pack.number, tuple(missing)))

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
