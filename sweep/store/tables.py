"""The columns of results, each with its type, its meaning and its unit.

`sweep.store.schema` makes the Parquet schemas of these tables, and `python -m pages` the page of reference.
"""

from typing import Any, NamedTuple

import pyarrow as pa


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        type: as Parquet files hold it.
        meaning: one line, without a full stop.
        unit: of the numbers; empty for text, names, ratios and flags.
    """

    type: Any
    meaning: str
    unit: str = ""


_text, _real, _whole, _flag = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_shape, _bytes = pa.list_(_whole), pa.binary()
_time = pa.timestamp("us", tz="UTC")
_ID = Column(_text, "the trial: a hash of its config")
_FIELD = "as in the study file"
_PRUNED = "right after the prune, before anything else is changed"
_RECALIBRATED = "the same with BatchNorm statistics of the pruned network"
_TWIN = "of the network and its twin; NULL without `twin_seed`"

_CURVES = {
    "trial_id": _ID,
    "phase": Column(_text, "part of the training: `dense`, `level N`, `sparse` or `retrain`"),
    "epoch": Column(_real, "end of the epoch; a part of one where the prune lies within", "epochs"),
    "kept": Column(_whole, "weights that are not pruned", "weights"),
    "train_loss": Column(_real, "training loss, mean over the steps of the epoch"),
    "val_loss": Column(_real, "loss on validation data"),
    "val_accuracy": Column(_real, "headline metric on validation data", "fraction"),
    "test_loss": Column(_real, "loss on test data"),
    "test_accuracy": Column(_real, "headline metric on test data", "fraction"),
    # NULL in older rows, as all columns of a later version are.
    "pq_index": Column(_real, "how concentrated the weights are at the end of the epoch, 0 to 1"),
    "lr": Column(_real, "learning rate at the start of the epoch"),
    "seconds": Column(_real, "time of the epoch, of whoever trained it", "seconds"),
}
_LAYERS = {
    "trial_id": _ID,
    "layer": Column(_whole, "place of the layer in the network, from 0"),
    "name": Column(_text, "parameter of the layer's weight"),
    "shape": Column(_shape, "shape of the weight"),
    "params": Column(_whole, "weights of the layer", "weights"),
    "kept": Column(_whole, "those that are not pruned", "weights"),
    "density": Column(_real, "kept over all", "fraction"),
    "effective_density": Column(_real, "weights on a path from an input to an output, over all", "fraction"),
    "score_mean": Column(_real, "mean saliency in the last iteration"),
    "pq_index": Column(_real, "how concentrated the kept weights are at the prune, 0 to 1"),
    "ramanujan_gap": Column(
        _real, "how well the mask connects inputs with outputs; from 0 on it is Ramanujan"
    ),
}
_METRICS = {
    "trial_id": _ID,
    "name": Column(_text, "the metric"),
    "split": Column(_text, "`validation` or `test`"),
    "value": Column(_real, "of the final network; NULL where it is not finite", "the metric's own"),
    "higher_is_better": Column(_flag, "whether a higher value is better"),
}
# Of the final network, where the study keeps them: `bits` has a bit for each weight in the order of C, 1
# for kept weights, the first in the highest bit of a byte; 0 in the bits behind the last weight.
_MASKS = {
    "trial_id": _ID,
    "layer": Column(_whole, "place of the layer in the network, from 0"),
    "name": Column(_text, "parameter of the layer's weight"),
    "shape": Column(_shape, "shape of the weight"),
    "params": Column(_whole, "weights of the layer", "weights"),
    "kept": Column(_whole, "those that are not pruned", "weights"),
    "bits": Column(_bytes, "a bit for each weight, 1 where it is kept"),
}
_IDENTITY = {
    "trial_id": _ID,
    "study": Column(_text, "the study whose folder the row is in"),
    # Where the row was taken over from: the folder of another study; NULL: run for this study.
    "source": Column(_text, "folder of the study that the row was taken over from; NULL: run for this study"),
    "protocol": Column(_whole, "version of the procedure that the numbers are of"),
    "config": Column(_text, "all fields of the trial, as JSON"),
    "arm": Column(_text, "the config without seed and sparsity; trials of one arm are averaged"),
    "dataset": Column(_text, _FIELD),
    "model": Column(_text, _FIELD),
    "criterion": Column(_text, f"{_FIELD}; `dense` at sparsity 0"),
    "scope": Column(_text, _FIELD),
    "sparsity": Column(_real, "share of prunable weights that the study asks to remove", "fraction"),
    "iterations": Column(_whole, "pruning iterations"),
    "schedule": Column(_text, _FIELD),
    "prune_epoch": Column(_real, "dense epochs before the prune", "epochs"),
    "epochs": Column(_whole, "length of the training, if given in epochs", "epochs"),
    "steps": Column(_whole, "length of the training, if given in steps", "steps"),
    "structure": Column(_text, _FIELD),
    "retrain": Column(_text, _FIELD),
    "rewind_epoch": Column(_real, "epoch that training goes back to after the prune", "epochs"),
    "ablation": Column(_text, _FIELD),
    "seed": Column(_whole, _FIELD),
}
_OUTCOME = {
    "status": Column(_text, "`ok`, `diverged`, `failed`, or `stopped` by a search"),
    "error": Column(_text, "why the trial failed, with the traceback"),
    # `accuracy`, `r2` or another of which higher is better. NULL in older rows, where it is `accuracy`.
    "headline": Column(_text, "the metric that the columns of accuracy hold; NULL is `accuracy`"),
    "pre_train_loss": Column(_real, f"training loss {_PRUNED}"),
    "pre_test_loss": Column(_real, f"test loss {_PRUNED}"),
    "pre_test_accuracy": Column(_real, f"test accuracy {_PRUNED}", "fraction"),
    "pre_train_loss_recalibrated": Column(_real, _RECALIBRATED),
    "pre_test_loss_recalibrated": Column(_real, _RECALIBRATED),
    "pre_test_accuracy_recalibrated": Column(_real, _RECALIBRATED, "fraction"),
    "train_loss": Column(_real, "training loss of the last epoch, mean over its steps"),
    "val_loss": Column(_real, "validation loss after the last epoch"),
    "val_accuracy": Column(_real, "headline metric on validation data after the last epoch", "fraction"),
    "test_loss": Column(_real, "test loss after the last epoch"),
    "test_accuracy": Column(_real, "headline metric on test data after the last epoch", "fraction"),
    "best_val_accuracy": Column(_real, "best validation accuracy of an epoch after the prune", "fraction"),
    "test_accuracy_at_best_val": Column(_real, "test accuracy of that epoch", "fraction"),
    "test_accuracy_selected_on_test": Column(
        _real, "best test accuracy of an epoch; only to report", "fraction"
    ),
    "diverged": Column(_flag, "whether the loss was no longer finite, or ten times that of the first batch"),
    "lmc_barrier": Column(_real, f"change of error on the straight line {_TWIN}", "fraction"),
    "cka": Column(_real, f"likeness of the outputs, 0 to 1, {_TWIN}"),
    "weight_distance": Column(_real, f"distance of the kept weights, 0 to 2, {_TWIN}"),
    # NULL without `prune_when`, and in older rows: there it is `prune_epoch`.
    "pruned_at_epoch": Column(_real, "epoch that `prune_when` chose; NULL: it is `prune_epoch`", "epochs"),
}
_NETWORK = {
    "params": Column(_whole, "prunable weights of the network", "weights"),
    "kept": Column(_whole, "those that are not pruned", "weights"),
    "density": Column(_real, "kept over all", "fraction"),
    "effective_density": Column(_real, "weights on a path from an input to an output, over all", "fraction"),
    "collapsed_layers": Column(_whole, "layers without any kept weight", "layers"),
    "min_layer_density": Column(_real, "density of the sparsest layer", "fraction"),
    "macs_dense": Column(_whole, "for one input through the dense network", "multiply-adds"),
    "macs_masked": Column(_whole, "those of kept weights", "multiply-adds"),
    "mean_active_params": Column(_real, "kept weights, mean over all training steps", "weights"),
    "flops": Column(
        _whole, "for one input through the final network; zeros are multiplied too", "operations"
    ),
    # NULL where the network is not made smaller.
    "latency_ms": Column(_real, "time of a forward pass of the smaller network, median", "milliseconds"),
    "speedup": Column(_real, "time of the whole network over that time"),
    "explored": Column(_real, "share of weights that a mask kept in at least one step", "fraction"),
    "pq_index": Column(_real, "how concentrated the weights are at the prune, 0 to 1"),
    "dead_units": Column(_real, "share of ReLUs that are 0 for every image", "fraction"),
    "zero_outputs": Column(_real, "share of all outputs of ReLUs that are 0", "fraction"),
    # Steps of the whole training, whoever trained them, those before a rewind included.
    "spent_steps": Column(_whole, "length of all training, also what was trained by other trials", "steps"),
}
_COST = {
    "trained_steps": Column(_whole, "what this trial trained itself, its twin included", "steps"),
    "score_seconds": Column(_real, "time of scoring", "seconds"),
    "train_seconds": Column(_real, "time of training", "seconds"),
    "evaluate_seconds": Column(_real, "time of evaluation", "seconds"),
    "wall_seconds": Column(_real, "time of the whole trial", "seconds"),
    "device": Column(_text, "`cpu` or the GPU"),
    "node": Column(_text, "the machine that ran the trial"),
    "pack": Column(_whole, "trials that one worker ran one after another have one number"),
    # Git commit of the launch, `-dirty` if files differed, or the package's version; then the parts of one's
    # own that the trial names, with their code. Both are NULL in older rows.
    "code": Column(_text, "the git commit or version that ran it, and own parts with their code"),
    "launch": Column(_text, "the launch that ran it: an entry of study.json"),
    "launched_at": Column(_time, "when that launch began", "UTC"),
    "started_at": Column(_time, "when the trial began, by the clock of its node", "UTC"),
    "finished_at": Column(_time, "when the trial ended, by the clock of its node", "UTC"),
}
# Written in this order: a trial is there once its row of `trials` is, and then the others are too.
TABLES: dict[str, dict[str, Column]] = {
    "curves": _CURVES,
    "layers": _LAYERS,
    "metrics": _METRICS,
    "masks": _MASKS,
    "trials": {**_IDENTITY, **_OUTCOME, **_NETWORK, **_COST},
}
# Marks of people, which lie beside the results and are no results. One row marks one trial; a later row with
# the same mark and trial takes the mark back.
MARKS = {
    "mark": Column(_text, "the command that marked"),
    "trial_id": _ID,
    "tag": Column(_text, "`invalid`, or any other tag"),
    "note": Column(_text, "why"),
    "until": Column(_time, "`finished_at` of the row that the mark is of; NULL: there was none", "UTC"),
    "source": Column(_text, "`source` of that row, empty where it is NULL; NULL in older marks: of all rows"),
    "who": Column(_text, "who marked"),
    "marked_at": Column(_time, "when", "UTC"),
    "undone": Column(_flag, "whether the row takes the mark back"),
}
# What the views of an analysis have besides.
_OF_VIEWS = {
    "trials": {"tags": "the tags that people gave to the trial"},
    "settings": {"arm": _IDENTITY["arm"].meaning, "setting": "the arm less all that chooses the mask"},
}


def meaning(view: str, column: str) -> str:
    """What a column of a view of the results means; empty for one that others have added."""
    if column in _OF_VIEWS.get(view, {}):
        return _OF_VIEWS[view][column]
    known = TABLES.get(view, {}).get(column)
    if known is None:
        return ""
    return f"{known.meaning} ({known.unit})" if known.unit else known.meaning
