"""What the engine costs a trial: trials that do nothing, their rows written; against plain Ray Tune."""

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from sweep.config import Config
from sweep.engine.options import Options
from sweep.engine.progress import Progress
from sweep.engine.session import Session
from sweep.store.results import finished
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial import Result

_PLAIN = 24


def nothing(trial, where, shared):
    """A trial's rows without the trial: one of `trials`, four of `curves`."""
    now = datetime.now(UTC)
    row = trial.columns() | {"status": "ok", "val_accuracy": 0.5, "started_at": now, "finished_at": now}
    curves = [
        {"trial_id": trial.id, "phase": "retrain", "epoch": float(n), "val_accuracy": 0.5} for n in range(4)
    ]
    return Result(row, curves)


def launch(count: int) -> None:
    """Drive them in this process, from the start of Ray to its end; prints seconds and the largest memory."""
    logging.disable(logging.WARNING)
    started = time.perf_counter()
    trials = tuple(
        Trial.of(Config(dataset="digits", model="conv-5", criterion=c, sparsity=0.9, epochs=1, seed=seed))
        for seed in range(count // 2)
        for c in ("random", "snip")
    )
    study = Study("nothing", Path("nothing.yaml"), "", trials, count)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "nothing"
        folder.mkdir()
        with (
            Path(os.devnull).open("w") as devnull,
            Progress("nothing", count, [], Console(file=devnull)) as progress,
        ):
            options = Options(data_root="data")
            Session(study, folder, options, lambda job: 0.001, progress, run=nothing).run(trials)
        seconds = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        assert len(finished(folder)) == count  # which reads all of them at once
    print(json.dumps([seconds, memory]), flush=True)
    os._exit(0)


def _apart(*words: object) -> list[float]:
    """What a launch in a process of its own prints."""
    command = [sys.executable, "-m", "benchmarks.overhead", *map(str, words)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def plain(count: int) -> None:
    """As many function trials of Ray Tune, one a config, as its documentation starts them."""
    import ray
    from ray import tune

    logging.disable(logging.WARNING)
    started = time.perf_counter()
    ray.init(
        address="local", num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, log_to_driver=False
    )
    with tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            lambda config: tune.report({"val_accuracy": 0.5}),
            param_space={"seed": tune.grid_search(list(range(count)))},
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()
    print(json.dumps([time.perf_counter() - started]), flush=True)
    os._exit(0)


def main() -> None:
    many, memory = _apart("ours", 10_000)
    more, larger = _apart("ours", 100_000)
    [theirs] = _apart("plain", _PLAIN)
    print(
        f"overhead, trials that do nothing, from the start of Ray to its end: {many / 10:.2f} ms a trial of 10,000, "
        f"{more / 100:.2f} of 100,000; driver {memory:.2f} and {larger:.2f} GiB at most, "
        f"{(larger - memory) * 2**20 / 90_000:.1f} KiB a trial more; plain Tune "
        f"{theirs / _PLAIN * 1e3:.0f} ms a trial of {_PLAIN}: {theirs / _PLAIN / (many / 10_000):.0f} times less"
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ours", count]:
            launch(int(count))
        case ["plain", count]:
            plain(int(count))
        case _:
            main()
