"""Ray Tune runs the packs: one Tune trial is one pack, on a worker that is kept for the next."""

import os
import re
import socket
import tempfile
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

# Ray reads these when it is imported.
# Rows go through our own writer: Tune's loggers and snapshots would cost more than short trials do.
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
# After an interrupt Tune's thread must not start a cluster of its own.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"

import ray
import torch
from ray import tune
from ray.tune.search import Searcher

from sweep import plan
from sweep.errors import BadInput
from sweep.plan import Pack
from sweep.trial import Result, failure, from_canonical, run

# A trial that was running when its worker died is tried again; it may be the trial that kills it.
_RETRIES = 3


def start(address: str | None, workers: int | None, gpus_per_trial: float = 0) -> int:
    """Connect to a Ray cluster, or start one here; returns how many trials can run at once.

    Raises:
        BadInput: there is no cluster at the address, or no GPU for the trials.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        try:
            # Ray itself would try an address where nothing listens for many minutes.
            if match := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address):
                socket.create_connection((match[1], int(match[2])), timeout=5).close()
            ray.init(address=address, **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"--address {address}: no Ray cluster there ({error}); leave it out to run here"
            ) from None
    else:
        # "local", not None: None would join whatever cluster happens to run on this machine.
        ray.init(address="local", num_cpus=workers or plan.cores(), include_dashboard=False, **options)
    resources = ray.cluster_resources()
    available = int(resources.get("CPU", 1))
    if gpus_per_trial:
        available = min(available, int(resources.get("GPU", 0) / gpus_per_trial))
    if not available:
        raise BadInput(f"--gpus-per-trial {gpus_per_trial:g}: there is no such GPU; leave it out to use CPUs")
    return min(workers or available, available)


def stop() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


def execute(
    packs: Sequence[Pack],
    *,
    workers: int,
    data_root: str,
    gpus_per_trial: float,
    on_result: Callable[[Result], None],
) -> None:
    """Run all packs; `on_result` gets each trial's result, in this thread, as soon as it is finished."""
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    source = _Packs(packs, data_root, "cuda" if gpus_per_trial else "cpu")

    with tempfile.TemporaryDirectory(prefix="secateur-") as scratch:
        tune.Tuner(
            tune.with_resources(_Worker, {"cpu": 1, "gpu": gpus_per_trial}),
            tune_config=tune.TuneConfig(
                search_alg=source, num_samples=-1, max_concurrent_trials=workers, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=scratch,
                callbacks=[_Deliver(source, on_result)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()


class _Worker(tune.Trainable):
    """One process that does packs; a step is one trial."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.pack = new_config["pack"]
        self.todo = deque(new_config["trials"])
        self.data_root, self.device = new_config["data_root"], new_config["device"]
        return True

    def step(self) -> dict[str, Any]:
        trial = from_canonical(self.todo.popleft())
        try:
            result = run(trial, self.data_root, self.device)
        except Exception as error:
            # After such an error a process cannot use its GPU again: it ends, and another takes the pack.
            if isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError):
                raise
            result = failure(trial, traceback.format_exc())
        result.trial |= {"pack": self.pack, "node": os.uname().nodename}
        return {"found": result, "done": not self.todo}


class _Deliver(tune.Callback):
    """Passes results on as they arrive."""

    def __init__(self, source: "_Packs", on_result: Callable[[Result], None]) -> None:
        self.source, self.on_result = source, on_result

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles callbacks so as to restore an experiment; we go on from our own results instead.
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.source.done.add(result["found"].trial["trial_id"])
        self.on_result(result["found"])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        while self.source.given_up:
            self.on_result(self.source.given_up.popleft())


class _Packs(Searcher):
    """Hands out packs in order; takes back what a dead worker left undone."""

    def __init__(self, packs: Sequence[Pack], data_root: str, device: str) -> None:
        super().__init__(metric="training_iteration", mode="max")
        self.common = {"data_root": data_root, "device": device}
        self.waiting = deque(packs)
        self.running: dict[str, Pack] = {}
        self.done: set[str] = set()
        self.deaths: Counter[str] = Counter()
        self.given_up: deque[Result] = deque()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.waiting:
            pack = self.running[trial_id] = self.waiting.popleft()
            trials = [trial.canonical for trial in pack.trials]
            return {"pack": pack.number, "trials": trials, **self.common}
        # While a pack is out its worker may still die, and the pack come back.
        return None if self.running else Searcher.FINISHED

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        pack = self.running.pop(trial_id)
        missing = [trial for trial in pack.trials if trial.id not in self.done]
        if missing and error:
            running = missing[0]  # a pack's trials run in order
            self.deaths[running.id] += 1
            if self.deaths[running.id] > _RETRIES:
                died = failure(running, f"its worker died {self.deaths[running.id]} times while it ran")
                died.trial["pack"] = pack.number
                self.given_up.append(died)
                missing = missing[1:]
        if missing:
            self.waiting.append(Pack(pack.number, tuple(missing)))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: what is done stands in the results."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""
