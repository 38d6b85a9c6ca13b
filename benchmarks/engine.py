"""Packs on kept workers against plain Ray Tune, one Tune trial a config, with the same trial code."""

import logging
import os
import tempfile
import time

import ray
from ray import tune

from sweep import plan, schedule
from sweep.config import Config, Trial
from sweep.trial import from_canonical, run

_TRIALS = 24


def main() -> None:
    logging.disable(logging.WARNING)
    workers = schedule.start(None, None)
    trials = [
        Trial.of(
            Config(
                dataset="digits", model="conv-5", criterion="snip", sparsity=s / 100, seed=seed, epochs=4,
                batch_size=64, lr=0.2,
            )
        )
        for s in (80, 90, 95, 98) for seed in range(_TRIALS // 4)
    ]  # fmt: skip

    found: list[float] = []
    started = time.perf_counter()
    schedule.execute(
        plan.packs(trials, workers),
        workers=workers,
        data_root="data",
        gpus_per_trial=0,
        on_result=lambda result: found.append(result.trial["wall_seconds"]),
    )
    packed = time.perf_counter() - started

    def one(config):
        tune.report({"wall_seconds": run(from_canonical(config["trial"])).trial["wall_seconds"]})

    # Tune as its documentation starts: a process a trial, its loggers on.
    os.environ.pop("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS")
    os.environ.pop("TUNE_GLOBAL_CHECKPOINT_S")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        results = tune.Tuner(
            tune.with_resources(one, {"cpu": 1}),
            param_space={"trial": tune.grid_search([trial.canonical for trial in trials])},
            tune_config=tune.TuneConfig(max_concurrent_trials=workers),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()
    plain = time.perf_counter() - started
    ray.shutdown()
    assert len(found) == len(results) == _TRIALS and not results.errors
    print(
        f"engine, {_TRIALS} short trials on {workers} workers, starting processes included: packs {packed:.1f} s "
        f"({sum(found) / workers / packed:.0%} of it trials), plain Tune {plain:.1f} s: {plain / packed:.2f} times faster"
    )


if __name__ == "__main__":
    main()
