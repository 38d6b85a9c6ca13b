"""A worker: one process that runs packs of trials, one after another, and reports each trial's result."""

import gc
import time
from collections import deque
from typing import Any

from ray import tune

from sweep.engine import USUAL, malloc
from sweep.engine.runner import Run, Runner, Where
from sweep.trial import Result

# Seconds within which the results of brief trials are gathered into one report, which takes a millisecond.
_TOGETHER = 0.02


class Worker(tune.Trainable):
    """One process that runs packs, as trials of Tune."""

    def setup(self, config: dict[str, Any], run: Run, where: Where) -> None:
        """Ray starts the worker: imports and allocations that serve all packs."""
        # The first optimizer imports this, which would count a second to the first trial.
        import torch._dynamo  # noqa: F401

        gc.freeze()  # what is imported stays
        gc.set_threshold(*USUAL)
        malloc.keep()
        self.runner = Runner(where, run)
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
        """Run the next trial."""
        canonical, path, saves, again = self.todo.popleft()
        return self.runner.result(canonical, path, saves, self.pack, again=again)
