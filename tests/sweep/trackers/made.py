"""Rows of a trial as a launch hands them to a tracker."""

import json
from datetime import UTC, datetime, timedelta

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONFIG = {
    "dataset": "digits", "model": "conv-5", "criterion": "snip", "scope": "global", "iterations": 1, "epochs": 2,
    "prune_epoch": 0, "lr": 0.1, "nesterov": False, "loss": None, "sparsity": 0.9, "seed": 0, "protocol": 2,
}  # fmt: skip
HOSTILE = "../../\x1b[2J\x00'\" OR 1=1 --\nß" + "x" * 9000


def rows(name="0123456789abcdef", *, later=0, epochs=2, config=None, **columns):
    """A trial's row of `trials`, of `curves` and of `metrics`; `later` hours after the first."""
    config = CONFIG | (config or {})
    arm = {key: value for key, value in config.items() if key not in ("seed", "sparsity")}
    began = BEGAN + timedelta(hours=later)
    trial = {
        "trial_id": name, "study": "made", "config": json.dumps(config), "arm": json.dumps(arm), "status": "ok",
        "sparsity": config["sparsity"], "seed": config["seed"], "test_accuracy": 0.5 + later / 100, "kept": 10,
        "pack": 3, "diverged": False, "train_loss": float("nan"), "code": "abc", "launch": "l1", "source": None,
        "started_at": began, "finished_at": began + timedelta(minutes=1),
    } | columns  # fmt: skip
    curves = [
        {"trial_id": name, "phase": "retrain", "epoch": float(epoch), "kept": 10, "val_accuracy": epoch / 10,
         "train_loss": float("inf") if epoch == 1 else 1.0, "seconds": 2.0}
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    metrics = [{"trial_id": name, "name": "ece", "split": "test", "value": 0.25, "higher_is_better": False}]
    return trial, curves, metrics
