"""One trial: it trains, prunes, evaluates, retrains and evaluates, as its config says. Needs no Ray."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from sweep import data
from sweep.config import Config
from sweep.data import Data
from sweep.models import metrics as known_metrics
from sweep.parts.guard import settings_kept
from sweep.store.places import Place
from sweep.study.consistency import check
from sweep.study.identity import Trial
from sweep.trial import files, moves
from sweep.trial.prefixes import Shared
from sweep.trial.rows import Row
from sweep.trial.stages import AfterEpoch, Stages

_CPU = torch.device("cpu")


@dataclass
class Result:
    """The result of a trial: its row of `trials`, and its rows of the other tables.

    Attributes:
        left: whether the trial may have left something beside the results while it ran.
    """

    trial: Row
    curves: list[Row] = field(default_factory=list)
    layers: list[Row] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)
    masks: list[Row] = field(default_factory=list)
    left: bool = field(default=False, kw_only=True)


def run(
    trial: Trial,
    data_root: str | Path = "data",
    device: str | torch.device = "cpu",
    shared: Shared | None = None,
    after_epoch: AfterEpoch | None = None,
    *,
    metrics: Sequence[str] = (),
    masks: bool = False,
    keeps: Place | None = None,
) -> Result:
    """Run one trial from its config to its result.

    On CPUs of one kind the result is the same bit by bit, in every process and with every shared state: the
    trial has one thread, its own seeds, and no global state.

    Args:
        shared: the states that it loads and saves, a checkpoint of an earlier try among them; None: none.
        after_epoch: whether to stop after an epoch of retraining; None: never. The result of a stopped trial
            has the status `stopped`, its rows so far, and no accuracy.
        metrics: names of metrics of the final network. They change no other number, and no id. A trial that
            diverged or was stopped has none.
        masks: the result has the final masks, of a trial that would have metrics.
        keeps: folder of a study's results, into which such a trial writes its final weights; None: it writes
            none.

    Raises:
        BadInput: the fields of the config do not go together, the data set is missing, a metric is not for
            its task, or the model does not take its inputs.
    """
    check(trial.config)
    config, device, shared = trial.config, torch.device(device), shared or Shared()
    shared.running.begin(trial)
    with one_thread(device), settings_kept():
        stages = prepared(config, data_root, device, shared, after_epoch)
        known_metrics.check(metrics, stages.data.task)
        try:
            recorder = moves.run(stages)
        except moves.Unlike:
            stages = prepared(config, data_root, device, shared, after_epoch)
            recorder = moves.run(stages)
        outcome = recorder.outcome()
        ended = outcome["status"] == "ok"
        measured = recorder.metrics(metrics if ended else ())
        kept = recorder.masks() if masks and ended else []
        if keeps and ended:
            # Before the row is reported: a trial with a result has its file.
            files.keep(keeps, trial, stages, outcome)
    row = {
        **trial.columns(),
        **outcome,
        "wall_seconds": shared.running.seconds,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "started_at": shared.running.started,
        "finished_at": datetime.now(UTC),
    }
    key = {"trial_id": trial.id}
    others = recorder.curves, recorder.layers, measured, kept
    return Result(row, *([key | each for each in rows] for rows in others), left=shared.running.left)


def prepared(
    config: Config,
    data_root: str | Path,
    device: torch.device,
    shared: Shared,
    after_epoch: AfterEpoch | None = None,
) -> Stages:
    """The stages of a trial, with its data on the device.

    Raises:
        BadInput: as `run`.
    """
    return Stages(config, data.to(loaded(config, data_root), device), shared, after_epoch)


def loaded(config: Config, data_root: str | Path) -> Data:
    """The data of a trial, split as its config says.

    Raises:
        BadInput: the data set is missing or cannot be used.
    """
    return data.load(
        config.dataset,
        data_root,
        config.validation_fraction,
        config.roots.split,
        random_labels=config.random_labels,
        stratified=config.stratified,
        arguments=config.arguments("dataset"),
    )


def failure(trial: Trial, error: str) -> Result:
    """The result of a trial that failed.

    Args:
        error: one line that says why.
    """
    now = datetime.now(UTC)
    row = trial.columns() | {"status": "failed", "error": error, "started_at": now, "finished_at": now}
    return Result(row, left=True)


@contextmanager
def one_thread(device: torch.device = _CPU) -> Iterator[None]:
    """Compute with one thread on a CPU, as the order of a sum depends on the number of threads.

    This costs no speed: a sweep runs a trial on each core.
    """
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
