"""One trial: train, prune, evaluate, retrain, evaluate, as its config says. Needs no Ray."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from sweep import data
from sweep.study.consistency import check
from sweep.study.identity import Trial
from sweep.trial.prefixes import Shared
from sweep.trial.recorder import Row
from sweep.trial.stages import AfterEpoch, Stages


@dataclass
class Result:
    """What a trial found: its row of `trials`, and its rows of `curves` and `layers`."""

    trial: Row
    curves: list[Row] = field(default_factory=list)
    layers: list[Row] = field(default_factory=list)


def run(
    trial: Trial,
    data_root: str | Path = "data",
    device: str | torch.device = "cpu",
    shared: Shared | None = None,
    after_epoch: AfterEpoch | None = None,
) -> Result:
    """Run one trial from its config to its result.

    On CPUs of one kind the result is the same bit by bit whoever runs it, and whatever it takes over from
    others: one thread, own seeds, no global state.

    Args:
        shared: what it takes over and leaves behind; None: nothing.
        after_epoch: says after an epoch of retraining whether to stop; the result then has the status
            `stopped`, what came of it so far and no accuracy. None: never.

    Raises:
        BadInput: the fields of the config do not go together, the data set is missing, or the model does not
            fit its images.
    """
    check(trial.config)
    started = datetime.now(UTC)
    clock = time.perf_counter()
    config, device = trial.config, torch.device(device)
    with _one_thread(device):
        whole = data.load(
            config.dataset,
            data_root,
            config.validation_fraction,
            config.roots.split,
            random_labels=config.random_labels,
            stratified=config.stratified,
        )
        record = Stages(config, data.to(whole, device), shared or Shared(), after_epoch).run()
    row = {
        **trial.columns(),
        **record.outcome(),
        "wall_seconds": time.perf_counter() - clock,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "started_at": started,
        "finished_at": datetime.now(UTC),
    }
    named = {"trial_id": trial.id}
    return Result(row, [named | r for r in record.curves], [named | r for r in record.layers])


def failure(trial: Trial, error: str) -> Result:
    """The result of a trial that could not be finished."""
    now = datetime.now(UTC)
    return Result(
        trial.columns() | {"status": "failed", "error": error, "started_at": now, "finished_at": now}
    )


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU a sum's order depends on the number of threads; a sweep fills the cores with trials anyway."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
