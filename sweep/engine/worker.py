"""A worker: one process that runs packs of trials, one after another, and reports each trial's result."""

import gc
import math
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray
import torch
from ray import tune
from ray.exceptions import RayError

from sweep import data
from sweep.engine import USUAL, malloc
from sweep.parts import Part, explain, register, trace
from sweep.store.places import place
from sweep.store.states import Store
from sweep.study.identity import Trial
from sweep.trial import Result, failure, run
from sweep.trial.prefixes import Point, Shared
from sweep.trial.running import Running
from sweep.trial.scoring import ScoreCache
from sweep.trial.stages import AfterEpoch
from sweep.trial.starts import Starts
from sweep.trial.time_limit import TooLong, limited


@dataclass(frozen=True)
class Where:
    """Where workers find data and states, and what they run on. All nodes have its paths.

    Attributes:
        data_root: folder of the data sets.
        prefixes: folder of the states that trials save for each other.
        gpus: share of a GPU for each worker; 0: none.
        cpus: cores for each worker.
        parts: of one's own that trials name.
        seconds: that a trial may take.
        judge: Ray's handle of a `sweep.search.stopping.Judge`, which stops poor trials; None: none does.
        metrics: names of the metrics that each trial's final network is measured by.
        running: folder of what trials leave beside the results while they run; "": they leave nothing.
        checkpoint_seconds: seconds between checkpoints of a trial.
        weights: folder of the trained weights that trials start from.
        earlier: trial_id → canonical config of the trials whose final weights other trials start from.
    """

    data_root: str
    prefixes: str
    gpus: float = 0
    cpus: float = 1
    parts: tuple[Part, ...] = ()
    seconds: float = math.inf
    judge: Any = None
    metrics: tuple[str, ...] = ()
    running: str = ""
    checkpoint_seconds: float = math.inf
    weights: str = ""
    earlier: Mapping[str, str] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """The device that trials run on, as PyTorch names it."""
        return "cuda" if self.gpus else "cpu"

    @property
    def store(self) -> Store:
        """The states that trials save for each other."""
        return Store(place(self.prefixes), self.device)

    def left(self, again: bool) -> Running:
        """What a trial leaves beside the results while it runs.

        Args:
            again: whether an earlier try of it may have left a checkpoint.
        """
        store = Store(place(self.running), self.device) if self.running else None
        return Running(store, self.checkpoint_seconds, again=again)

    @property
    def starts(self) -> Starts:
        """The trained weights that trials start from."""
        return Starts(place(self.weights), self.data_root, self.device, self.earlier)


# Seconds within which the results of brief trials are gathered into one report, which takes a millisecond.
_TOGETHER = 0.02

# Seconds that a trial waits for its judge, which may be starting or out of reach.
_PATIENCE = 10

# How a worker runs a trial: `run_trial`, or a stand-in where the engine itself is tested or timed.
Run = Callable[[Trial, Where, Shared], Result]


def run_trial(trial: Trial, where: Where, shared: Shared) -> Result:
    """Run a trial; if its GPU has too little memory, clear the memory and run it once more."""
    after_epoch = _asks(where.judge, trial) if where.judge else None
    attempt = partial(run, trial, where.data_root, where.device, shared, after_epoch, metrics=where.metrics)
    try:
        return attempt()
    except torch.OutOfMemoryError:
        pass  # not in the handler: its traceback holds the tensors that were allocated
    shared.scores.clear()
    data.to.cache_clear()
    gc.collect()
    torch.cuda.empty_cache()
    return attempt()


def _asks(judge: Any, trial: Trial) -> AfterEpoch:
    """A function that asks the judge after each epoch; without an answer the trial goes on."""

    def after_epoch(epoch: int, accuracy: float, last: bool) -> bool:
        try:
            poor: bool = ray.get(judge.poor.remote(trial, epoch, accuracy, last), timeout=_PATIENCE)
        except RayError:
            return False
        return poor

    return after_epoch


class Worker(tune.Trainable):
    """One process that runs packs, as trials of Tune."""

    def setup(self, config: dict[str, Any], run: Run, where: Where) -> None:
        """Ray starts the worker: imports and allocations that serve all packs."""
        # The first optimizer imports this, which would count a second to the first trial.
        import torch._dynamo  # noqa: F401

        gc.freeze()  # what is imported stays
        gc.set_threshold(*USUAL)
        malloc.keep()
        # The code is what the launch has read, whatever lies on this node's disk.
        register(where.parts)
        self.run, self.where = run, where
        self.scores: ScoreCache = {}
        self.starts = where.starts
        self.node = os.uname().nodename
        self.broken: Exception | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Ray hands over the next pack."""
        self.pack, self.todo = new_config["pack"], deque(new_config["jobs"])
        self.brief = new_config["brief"]
        self.config: dict[str, Any] = {}  # Tune would send it back with every report
        return True

    def step(self) -> dict[str, Any]:
        """Run one trial, or several brief ones, and report.

        A longer trial is reported by itself: its result does not wait for the next trial, nor is it lost if
        the next one kills the worker.
        """
        if self.broken:
            raise self.broken
        began = time.monotonic()
        results = [self.next()]
        while self.brief and self.todo and time.monotonic() < began + _TOGETHER:
            try:
                results.append(self.next())
            except Exception as error:
                self.broken = error  # raised by the next step: the earlier results are reported first
                return {"results": results, "done": False}
        return {"results": results, "done": not self.todo}

    def next(self) -> Result:
        """Run the next trial; an exception in it becomes its result."""
        canonical, path, saves, again = self.todo.popleft()
        trial = Trial.parse(canonical)
        shared = Shared(
            self.where.store,
            tuple(Point(*p) for p in path),
            tuple(Point(*p) for p in saves),
            self.scores,
            self.starts,
            self.where.left(again),
        )
        try:
            with limited(self.where.seconds):
                result = self.run(trial, self.where, shared)
        except TooLong as error:
            self.scores.clear()
            seconds = f"it took longer than the {self.where.seconds:g} seconds of --trial-seconds"
            result = failure(trial, f"{trace(error, self.where.parts) or ''}{seconds}")
        except BaseException as error:
            if self._must_end(error):
                raise
            why = explain(error, canonical, self.where.parts)
            result = failure(trial, why or traceback.format_exc())
        result.left = shared.running.left
        result.trial |= {"pack": self.pack, "node": self.node}
        return result

    def _must_end(self, error: BaseException) -> bool:
        """Whether an error is not the trial's alone: the process ends, and another one takes its pack."""
        if isinstance(error, Exception):
            # After such an error a process cannot use its GPU again.
            return isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError)
        # A part that calls sys.exit ends its trial. Ray ends a worker by an exit too, from code of its own.
        [(last, _)] = deque(traceback.walk_tb(error.__traceback__), 1)
        by_ray = last.f_globals.get("__name__", "").startswith("ray.")
        return by_ray or trace(error, self.where.parts) is None
