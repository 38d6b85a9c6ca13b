"""The tables of results: their columns, and what makes two rows the same."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

_text, _real, _whole, _flag = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_bytes = pa.binary()
_time = pa.timestamp("us", tz="UTC")
SCHEMAS: dict[str, pa.Schema] = {
    # Written in this order: a trial is there once its row of `trials` is, and then the others are too.
    "curves": pa.schema(
        {
            "trial_id": _text,
            "phase": _text,
            "epoch": _real,
            "kept": _whole,
            "train_loss": _real,
            "val_loss": _real,
            "val_accuracy": _real,
            "test_loss": _real,
            "test_accuracy": _real,
            # NULL in older rows, as all columns of a later version are.
            "pq_index": _real,
            "lr": _real,
            "seconds": _real,
        }
    ),
    "layers": pa.schema(
        {
            "trial_id": _text,
            "layer": _whole,
            "name": _text,
            "shape": pa.list_(_whole),
            "params": _whole,
            "kept": _whole,
            "density": _real,
            "effective_density": _real,
            "score_mean": _real,
            "pq_index": _real,
            "ramanujan_gap": _real,
        }
    ),
    # Of the final network; `split` is `validation` or `test`. A value that is not finite is NULL.
    "metrics": pa.schema(
        {
            "trial_id": _text,
            "name": _text,
            "split": _text,
            "value": _real,
            "higher_is_better": _flag,
        }
    ),
    # Of the final network, where the study keeps them: `bits` has a bit for each weight in the order of C, 1
    # for kept weights, the first in the highest bit of a byte; 0 in the bits behind the last weight.
    "masks": pa.schema(
        {
            "trial_id": _text,
            "layer": _whole,
            "name": _text,
            "shape": pa.list_(_whole),
            "params": _whole,
            "kept": _whole,
            "bits": _bytes,
        }
    ),
    "trials": pa.schema(
        {
            # identity
            "trial_id": _text,
            "study": _text,
            # Where the row was taken over from: the folder of another study; NULL: run for this study.
            "source": _text,
            "protocol": _whole,
            "config": _text,
            "arm": _text,
            "dataset": _text,
            "model": _text,
            "criterion": _text,
            "scope": _text,
            "sparsity": _real,
            "iterations": _whole,
            "schedule": _text,
            "prune_epoch": _real,
            "epochs": _whole,
            "steps": _whole,
            "structure": _text,
            "retrain": _text,
            "rewind_epoch": _real,
            "ablation": _text,
            "seed": _whole,
            # outcome
            "status": _text,
            "error": _text,
            # The metric that the columns of accuracy hold: `accuracy`, `r2` or another of which higher is
            # better. NULL in older rows, where it is `accuracy`.
            "headline": _text,
            "pre_train_loss": _real,
            "pre_test_loss": _real,
            "pre_test_accuracy": _real,
            # The same with BatchNorm statistics of the pruned network.
            "pre_train_loss_recalibrated": _real,
            "pre_test_loss_recalibrated": _real,
            "pre_test_accuracy_recalibrated": _real,
            "train_loss": _real,
            "val_loss": _real,
            "val_accuracy": _real,
            "test_loss": _real,
            "test_accuracy": _real,
            "best_val_accuracy": _real,
            "test_accuracy_at_best_val": _real,
            "test_accuracy_selected_on_test": _real,
            "diverged": _flag,
            # Of the trial's network and its twin; NULL without a twin.
            "lmc_barrier": _real,
            "cka": _real,
            "weight_distance": _real,
            # The epoch of the prune that `prune_when` chose, at the latest `prune_epoch`. NULL without
            # `prune_when`, and in older rows: there it is `prune_epoch`.
            "pruned_at_epoch": _real,
            # network
            "params": _whole,
            "kept": _whole,
            "density": _real,
            "effective_density": _real,
            "collapsed_layers": _whole,
            "min_layer_density": _real,
            "macs_dense": _whole,
            "macs_masked": _whole,
            "mean_active_params": _real,
            # Of the final network: twice the multiply-adds of one input. NULL in older rows.
            "flops": _whole,
            # NULL where the network is not made smaller.
            "latency_ms": _real,
            "speedup": _real,
            "explored": _real,
            "pq_index": _real,
            "dead_units": _real,
            "zero_outputs": _real,
            # Steps of the whole training, whoever trained them, those before a rewind included.
            "spent_steps": _whole,
            # cost
            "trained_steps": _whole,
            "score_seconds": _real,
            "train_seconds": _real,
            "evaluate_seconds": _real,
            "wall_seconds": _real,
            "device": _text,
            "node": _text,
            "pack": _whole,
            # code: git commit of the launch, `-dirty` if files differed, or the package's version; then the
            # parts of one's own that the trial names, with their code;
            # launch: id of the launch's entry in study.json. Both are NULL in older rows.
            "code": _text,
            "launch": _text,
            # when, in UTC
            "launched_at": _time,
            "started_at": _time,
            "finished_at": _time,
        }
    ),
}
# What makes two rows the same.
KEYS = {
    "trials": ("trial_id",),
    "curves": ("trial_id", "phase", "epoch"),
    "layers": ("trial_id", "layer"),
    "metrics": ("trial_id", "name", "split"),
    "masks": ("trial_id", "layer"),
}
# Tables whose rows may have megabytes: whoever opens results does not read all of them.
LARGE = frozenset({"masks"})


def is_timing(column: str) -> bool:
    """Whether a column is measured by a clock: another run of the same trial has other values."""
    return column.endswith("_seconds") or column in ("latency_ms", "speedup")


# The phases of a training in their order. The levels of iterative pruning are numbered: "level 1", "level 2".
_PHASES = ("dense", "level", "sparse", "retrain")


def in_training(row: Mapping[str, Any]) -> tuple[int, int, float]:
    """Where a row of `curves` stands among the epochs of its trial's training."""
    phase, _, level = row["phase"].partition(" ")
    return _PHASES.index(phase), int(level or 0), row["epoch"]


# Marks of people, which lie beside the results and are no results. One row marks one trial; a later row with
# the same mark and trial takes the mark back.
MARKS = pa.schema(
    {
        "mark": _text,  # id of the command that marked
        "trial_id": _text,
        "tag": _text,
        "note": _text,
        # `finished_at` of the trial's latest row when the mark was made; NULL: no row had one.
        "until": _time,
        # `source` of the rows that the mark is of, "" for NULL; NULL in older marks: of all rows.
        "source": _text,
        "who": _text,
        "marked_at": _time,
        "undone": _flag,
    }
)
# Everything that lies beside a study in parts.
STORED = {**SCHEMAS, "marks": MARKS}
IDENTITIES = {**KEYS, "marks": ("mark", "trial_id", "source", "undone")}
