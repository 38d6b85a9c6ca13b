"""The quickstart by packs on kept workers, and as plain Ray Tune trials of the same code, in one run."""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweep.study import load

_STUDY = Path("studies/quickstart.yaml")


def ours() -> tuple[float, float]:
    """Wall seconds of a whole launch, and the share of the workers' time that was training and scoring."""
    with tempfile.TemporaryDirectory() as results:
        started = time.perf_counter()
        command = [sys.executable, "-m", "sweep.launch", str(_STUDY), "--results", results]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        wall = time.perf_counter() - started
        [line] = [line for line in said.splitlines() if "workers busy " in line][-1:]
        return wall, float(line.partition("workers busy ")[2].partition("%")[0]) / 100


def plain() -> None:
    """The same trials as function trials of Ray Tune, as its documentation starts them."""
    import ray
    from ray import tune

    from sweep.study.identity import Trial
    from sweep.trial import run

    logging.disable(logging.WARNING)
    root = str(Path("data").resolve())

    def one(config):
        tune.report({"val_accuracy": run(Trial.parse(config["trial"]), root).trial["val_accuracy"]})

    started = time.perf_counter()
    workers = len(os.sched_getaffinity(0))
    ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    trials = load(_STUDY).trials()
    with tempfile.TemporaryDirectory() as scratch:
        found = tune.Tuner(
            tune.with_resources(one, {"cpu": 1}),
            param_space={"trial": tune.grid_search([trial.canonical for trial in trials])},
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()
        assert len(found) == len(trials) and not found.errors
    print(json.dumps(time.perf_counter() - started), flush=True)
    os._exit(0)


def main() -> None:
    wall, utilisation = ours()
    command = [sys.executable, "-m", "benchmarks.engine", "plain"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = json.loads(answer.stdout.splitlines()[-1])
    print(
        f"engine, quickstart, {len(load(_STUDY).trials())} trials, start included: {wall:.0f} s, {utilisation:.0%} of the "
        f"workers' time from the first trial to the last was training and scoring; plain Tune {theirs:.0f} s: "
        f"{theirs / wall:.2f} times faster"
    )


if __name__ == "__main__":
    plain() if sys.argv[1:] == ["plain"] else main()
