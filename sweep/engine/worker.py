"""A worker: one process that does packs of trials, one after another, and says of each what came of it."""

import gc
import os
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import tune
from ray.exceptions import RayError

from sweep import data
from sweep.engine import malloc
from sweep.store.places import place
from sweep.store.states import Store
from sweep.study.identity import Trial
from sweep.trial import Result, failure, run
from sweep.trial.prefixes import Point, Shared
from sweep.trial.scoring import ScoreCache
from sweep.trial.stages import AfterEpoch


@dataclass(frozen=True)
class Where:
    """Where workers find what they need, and what they run on; paths that every node has.

    Attributes:
        data_root: folder of the data sets.
        prefixes: folder of the states that trials leave behind for each other.
        gpus: share of a GPU for each worker; 0: none.
        cpus: cores for each worker.
        judge: Ray's handle of a `sweep.search.stopping.Judge`, that stops poor trials; None: there is none.
    """

    data_root: str
    prefixes: str
    gpus: float = 0
    cpus: float = 1
    judge: Any = None

    @property
    def device(self) -> str:
        """What trials run on."""
        return "cuda" if self.gpus else "cpu"

    @property
    def store(self) -> Store:
        """The states that trials leave behind for each other."""
        return Store(place(self.prefixes), self.device)


# Brief trials that are over within so many seconds are reported together: a report takes a thousandth of one.
_TOGETHER = 0.02

# Seconds that a trial waits for its judge, who may be starting or out of reach.
_PATIENCE = 10

# How a worker does a trial; `sweep.trial.run`, unless the engine itself is what is being looked at.
Run = Callable[[Trial, Where, Shared], Result]


def run_trial(trial: Trial, where: Where, shared: Shared) -> Result:
    """Do a trial; once more, with the memory cleared, if a GPU had too little for it."""
    after_epoch = _asking(where.judge, trial) if where.judge else None
    try:
        return run(trial, where.data_root, where.device, shared, after_epoch)
    except torch.OutOfMemoryError:
        pass  # not within the handler, whose traceback keeps all that was allocated
    shared.scores.clear()
    data.to.cache_clear()
    gc.collect()
    torch.cuda.empty_cache()
    return run(trial, where.data_root, where.device, shared, after_epoch)


def _asking(judge: Any, trial: Trial) -> AfterEpoch:
    """Asks the judge about a trial; without an answer the trial goes on."""

    def after_epoch(epoch: int, accuracy: float, last: bool) -> bool:
        try:
            poor: bool = ray.get(judge.poor.remote(trial, epoch, accuracy, last), timeout=_PATIENCE)
        except RayError:
            return False
        return poor

    return after_epoch


class Worker(tune.Trainable):
    """One process that does packs, as Tune's trials."""

    def setup(self, config: dict[str, Any], run: Run, where: Where) -> None:
        """Begin; what is imported and allocated here serves all packs."""
        # The first optimizer would import this, a second of the first trial's time.
        import torch._dynamo  # noqa: F401

        malloc.keep()
        self.run, self.where = run, where
        self.scores: ScoreCache = {}
        self.node = os.uname().nodename
        self.broken: Exception | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack."""
        self.pack, self.todo = new_config["pack"], deque(new_config["jobs"])
        self.brief = new_config["brief"]
        self.config: dict[str, Any] = {}  # it would go back with every result
        return True

    def step(self) -> dict[str, Any]:
        """Do one trial, or several brief ones: no other waits to be reported, or is lost with the next."""
        if self.broken:
            raise self.broken
        began = time.monotonic()
        found = [self.next()]
        while self.brief and self.todo and time.monotonic() < began + _TOGETHER:
            try:
                found.append(self.next())
            except Exception as error:
                self.broken = error  # what was found before it comes first
                return {"found": found, "done": False}
        return {"found": found, "done": not self.todo}

    def next(self) -> Result:
        """Do the next trial; an exception in it is its result."""
        canonical, path, saves = self.todo.popleft()
        trial = Trial.parse(canonical)
        shared = Shared(
            self.where.store, tuple(Point(*p) for p in path), tuple(Point(*p) for p in saves), self.scores
        )
        try:
            result = self.run(trial, self.where, shared)
        except Exception as error:
            # After such an error a process cannot use its GPU again: it ends, and another takes the pack.
            if isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError):
                raise
            result = failure(trial, traceback.format_exc())
        result.trial |= {"pack": self.pack, "node": self.node}
        return result
