import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import pruners
from sweep.config import Config
from sweep.errors import BadInput
from sweep.models.catalog import MODELS, Model
from sweep.store.schema import SCHEMAS
from sweep.study.identity import Trial
from sweep.trial import failure, run

TIMES = {
    "score_seconds",
    "train_seconds",
    "evaluate_seconds",
    "wall_seconds",
    "started_at",
    "finished_at",
    "seconds",
    "latency_ms",
    "speedup",
}


def trial(**fields):
    base = {
        "dataset": "digits",
        "model": "conv-5",
        "criterion": "snip",
        "sparsity": 0.9,
        "epochs": 2,
        "lr": 0.2,
    }
    return Trial.of(Config(**(base | fields)))


def numbers(result):
    return [
        {key: value for key, value in row.items() if key not in TIMES}
        for row in (result.trial, *result.curves, *result.layers, *result.masks)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["random", "snip", "force"])
def test_the_same_trial_gives_the_same_numbers_bit_by_bit(criterion):
    """After any other trial, with any global random state, and with any number of threads."""
    asked = trial(criterion=criterion, prune_epoch=1)
    first = numbers(run(asked))
    run(trial(seed=3, criterion="magnitude"))
    torch.manual_seed(123)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert numbers(run(asked)) == first
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_another_process_gives_the_same_numbers_without_ray():
    asked = trial(prune_epoch=1)
    code = f"""
import sys
from sweep.study.identity import Trial
from sweep.trial import run
result = run(Trial.parse({asked.canonical!r}))
assert "ray" not in sys.modules
print(repr([result.trial["test_loss"], result.trial["pre_train_loss"], result.curves[-1]["val_loss"]]))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    result = run(asked)
    expected = [result.trial["test_loss"], result.trial["pre_train_loss"], result.curves[-1]["val_loss"]]
    assert answer.stdout.strip() == repr(expected)


@pytest.mark.slow
def test_stages_are_recorded_from_dense_to_retrained():
    result = run(trial(epochs=3, prune_epoch=1, sparsity=0.95))
    assert [(row["phase"], row["epoch"]) for row in result.curves] == [
        ("dense", 1),
        ("retrain", 2),
        ("retrain", 3),
    ]
    row = result.trial
    assert row["status"] == "ok" and row["diverged"] is False
    assert row["kept"] == 4878 and row["density"] == 4878 / 97_552  # 97,552 · 0.05 = 4,877.6
    last = result.curves[-1]
    assert (row["test_accuracy"], row["train_loss"]) == (last["test_accuracy"], last["train_loss"])
    assert row["best_val_accuracy"] == max(r["val_accuracy"] for r in result.curves[1:])
    assert row["test_accuracy"] > row["pre_test_accuracy"]
    assert row["mean_active_params"] == pytest.approx((97_552 + 2 * 4878) / 3)
    assert sum(layer["kept"] for layer in result.layers) == 4878
    assert (result.layers[0]["name"], result.layers[0]["shape"]) == ("0.weight", [16, 1, 3, 3])


@pytest.mark.slow
def test_every_recorded_column_is_in_the_schema_and_every_column_is_recorded():
    result = run(trial(twin_seed=7), metrics=["ece"])
    by_the_engine = {"study", "launched_at", "launch", "code", "node", "pack", "error", "source"}
    assert set(result.trial) | by_the_engine == set(SCHEMAS["trials"].names)
    assert set(result.curves[0]) == set(SCHEMAS["curves"].names)
    assert set(result.layers[0]) == set(SCHEMAS["layers"].names)
    assert set(result.metrics[0]) == set(SCHEMAS["metrics"].names)


@pytest.mark.slow
def test_every_criterion_has_the_same_training_before_the_prune():
    one, other = run(trial(epochs=3, prune_epoch=2)), run(trial(epochs=3, prune_epoch=2, criterion="random"))

    def dense(result):
        return [
            {k: v for k, v in row.items() if k not in ("trial_id", "seconds")} for row in result.curves[:2]
        ]

    assert dense(one) == dense(other)


@pytest.mark.slow
def test_a_dense_run_learns():
    row = run(trial(sparsity=0, epochs=3)).trial
    assert row["criterion"] == "dense" and row["density"] == row["effective_density"] == 1
    assert row["test_accuracy"] > 0.9


@pytest.mark.slow
def test_a_prune_after_the_last_step_reports_the_pruned_network():
    row = run(trial(epochs=1, prune_epoch=1, sparsity=0.2)).trial
    assert row["test_accuracy"] == row["pre_test_accuracy"] == row["test_accuracy_at_best_val"]
    assert row["train_loss"] == row["pre_train_loss"]


def test_an_infinite_or_nan_loss_ends_the_trial_as_diverged():
    result = run(trial(model="lenet-300-100", lr=1e30, epochs=4))
    assert result.trial["status"] == "diverged" and result.trial["diverged"]
    assert "test_accuracy" not in result.trial and len(result.curves) < 4


def test_an_infinite_or_nan_loss_after_the_last_step_is_divergence_too():
    """With one step an epoch, the training loss is from before the step that makes the weights infinite."""
    row = run(trial(epochs=1, batch_size=1300, lr=1e30)).trial
    assert row["status"] == "diverged" and "test_accuracy" not in row


@pytest.mark.slow
def test_scoring_batches_may_need_more_than_one_pass_over_the_images():
    one, many = (run(trial(epochs=1, score_batches=n, score_batch_size=1000)).trial for n in (1, 4))
    assert one["trial_id"] != many["trial_id"] and one["test_loss"] != many["test_loss"]


def test_a_trial_is_parsed_from_its_canonical_text():
    asked = trial(criterion="force", iterations=7)
    assert Trial.parse(asked.canonical) == asked
    assert failure(asked, "boom").trial["trial_id"] == asked.id


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("data/MNIST/raw/train-images-idx3-ubyte").exists(), reason="MNIST is not under data/MNIST/raw"
)
def test_two_dense_epochs_on_mnist_pass_96_percent():
    config = Config(dataset="mnist", model="lenet-300-100", sparsity=0, criterion="dense", epochs=2)
    assert run(Trial.of(config)).trial["test_accuracy"] > 0.96


def phases(result):
    return [(row["phase"], row["epoch"]) for row in result.curves]


@pytest.mark.slow
def test_pruning_within_an_epoch_trains_the_same_steps_as_pruning_between_epochs():
    """10 full batches of 128 an epoch. The order of images and the learning rate do not depend on the prune."""
    half = run(trial(epochs=3, prune_epoch=1.5, sparsity=0.0001, criterion="random"))
    assert phases(half) == [("dense", 1), ("dense", 1.5), ("retrain", 2), ("retrain", 3)]
    assert half.trial["mean_active_params"] == pytest.approx(97_552 - 5, abs=6)
    complete = run(trial(epochs=3, sparsity=0))
    assert half.curves[0]["train_loss"] == complete.curves[0]["train_loss"]
    joined = (half.curves[1]["train_loss"] + half.curves[2]["train_loss"]) / 2
    assert joined == pytest.approx(complete.curves[1]["train_loss"], rel=0.1)


@pytest.mark.slow
def test_iterative_magnitude_pruning_rewinds_and_each_level_begins_the_next():
    two = run(trial(criterion="imp", sparsity=0.36, iterations=2, epochs=2, rewind_epoch=1))
    assert phases(two) == [
        ("dense", 1), ("dense", 2), ("level 1", 2), ("retrain", 2),
    ]  # fmt: skip
    three = run(trial(criterion="imp", sparsity=0.488, iterations=3, epochs=2, rewind_epoch=1))
    keys = ("train_loss", "val_loss", "kept")
    for one, other in zip(two.curves, three.curves[:4], strict=True):
        assert [one[key] for key in keys] == [other[key] for key in keys]
    assert [row["kept"] for row in three.curves] == [97_552, 97_552, 78_042, 62_433, 49_947]
    assert three.trial["kept"] == pytest.approx(0.512 * 97_552, abs=1)


@pytest.mark.slow
def test_a_rewind_restores_the_weights_exactly():
    """With one weight of a hundred thousand pruned and a rewind to 0, retraining repeats the training."""
    twice = run(trial(criterion="magnitude", sparsity=0.00001, prune_epoch=2, rewind_epoch=0, epochs=2))
    assert phases(twice) == [("dense", 1), ("dense", 2), ("retrain", 1), ("retrain", 2)]
    assert twice.curves[2]["train_loss"] == pytest.approx(twice.curves[0]["train_loss"], rel=1e-3)


@pytest.mark.slow
def test_each_ablation_changes_masks_or_weights_as_described():
    rows = {
        ablation: run(trial(ablation=ablation, epochs=1, sparsity=0.95))
        for ablation in ("none", "shuffle", "invert", "reinit")
    }
    density = {name: [layer["density"] for layer in result.layers] for name, result in rows.items()}
    assert density["none"] == density["shuffle"] == density["reinit"] != density["invert"]
    losses = {result.trial["test_loss"] for result in rows.values()}
    assert len(losses) == 4
    # The pruned network is looked at before its weights are drawn anew.
    assert rows["none"].trial["pre_test_loss"] == rows["reinit"].trial["pre_test_loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("retrain", "trained"),
    [
        ("bn", lambda name: name.split(".")[0] in ("1", "4", "7", "10", "13")),
        ("bias", lambda name: name.endswith("bias")),
        ("head", lambda name: name.startswith("17.")),
    ],
)
def test_retraining_changes_only_the_chosen_parameters(retrain, trained, monkeypatch):
    from sweep.trial.training import Training

    kept = []
    plain = Training.mask

    def watched(self, masks):
        plain(self, masks)
        kept.append((self, {name: p.detach().clone() for name, p in self.model.named_parameters()}))

    monkeypatch.setattr(Training, "mask", watched)
    run(
        trial(
            criterion="magnitude", prune_epoch=1, epochs=1, retrain_epochs=1, retrain_lr=0.1, retrain=retrain
        )
    )
    training, before = kept[-1]
    for name, parameter in training.model.named_parameters():
        assert torch.equal(parameter, before[name]) != trained(name), name


@pytest.mark.slow
def test_a_second_schedule_has_its_own_length_and_rate():
    result = run(trial(criterion="magnitude", prune_epoch=2, epochs=2, retrain_epochs=3, retrain_lr=0.03))
    assert phases(result) == [("dense", 1), ("dense", 2), ("retrain", 3), ("retrain", 4), ("retrain", 5)]
    rates = [row["lr"] for row in result.curves]
    assert rates[0] == 0.2 and rates[2] == pytest.approx(0.03) and rates[4] < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["gmp", "set", "rigl", "granet"])
def test_rules_that_prune_along_training_end_at_the_planned_density(criterion):
    asked = trial(criterion=criterion, epochs=4, update_every=5, scope="erk", sparsity=0.9)
    result = run(asked)
    row = result.trial
    assert row["status"] == "ok" and row["kept"] == 9755
    assert "pre_test_accuracy" not in row, "there is no one moment of pruning"
    counted = [r for r in result.curves if r["kept"] == 9755]
    assert row["best_val_accuracy"] == max(r["val_accuracy"] for r in counted)
    assert (row["mean_active_params"] == 9755) == (criterion in ("set", "rigl"))
    assert numbers(run(asked)) == numbers(result)


def test_a_loss_ten_times_the_first_ends_the_trial_as_diverged():
    row = run(trial(model="lenet-300-100", lr=30.0, epochs=6, sparsity=0, momentum=0.0)).trial
    assert row["status"] == "diverged"


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "adam", "lr": 0.001, "criterion": "magnitude", "prune_epoch": 1},
        {"optimizer": "adamw", "lr": 0.001, "label_smoothing": 0.1},
        {"lr_schedule": "one-cycle", "warmup_epochs": 0.5, "augment": "crop"},
        {"steps": 25, "epochs": None, "precision": "bf16"},
        {"init": "xavier", "random_labels": True, "balanced": True},
    ],
)
def test_every_training_setting_runs_and_is_reproducible(fields):
    asked = trial(**fields)
    first = run(asked)
    assert first.trial["status"] == "ok"
    assert numbers(run(asked)) == numbers(first)
    assert all(layer["kept"] >= 0 for layer in first.layers)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"criterion": "lamp", "scope": "global", "prune_epoch": 0.5},
        {"criterion": "synflow-l2", "scope": "igq", "iterations": 3},
        {"criterion": "px", "scope": "pyramid", "iterations": 3, "score_batches": 2, "score_batch_size": 32},
        {"criterion": "crop", "scope": "per-filter", "schedule": "halving", "iterations": 4},
        {"criterion": "beta-rank", "scope": "uniform", "structure": "filter", "sparsity": 0.5},
        {"criterion": "gmp", "scope": "igq", "update_every": 5},
        {"criterion": "set", "scope": "pyramid", "update_every": 5},
    ],
)
def test_criteria_scopes_and_schedules_meet_in_a_trial_that_keeps_what_is_asked(fields):
    row = run(trial(epochs=1, **fields)).trial
    assert row["status"] == "ok" and row["collapsed_layers"] == 0
    if "structure" not in fields:
        assert row["kept"] == pruners.kept_count(row["params"], 0.9)


@pytest.mark.slow
def test_the_oracle_removes_filters_and_records_the_loss_before_retraining():
    asked = {"criterion": "oracle", "structure": "filter", "layers": "0.*", "sparsity": 0.5, "prune_epoch": 1}
    rows = [run(trial(combination=n, epochs=1, retrain_epochs=1, **asked)).trial for n in range(3)]
    assert len({row["pre_train_loss"] for row in rows}) == 3
    assert all(row["kept"] == 72 and row["params"] == 144 for row in rows)
    assert all(row["train_loss"] < row["pre_train_loss"] for row in rows)


FRESH = ("pre_train_loss", "pre_test_loss", "pre_test_accuracy")


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"criterion": "force", "iterations": 3, "prune_epoch": 0.5, "augment": "crop"},
        {"criterion": "imp", "sparsity": 0.36, "iterations": 2, "rewind_epoch": 0.5},
        {
            "criterion": "oracle",
            "structure": "filter",
            "layers": "0.*",
            "prune_epoch": 1,
            "retrain_epochs": 1,
        },
        {"sparsity": 0, "precision": "bf16"},
    ],
)
def test_recalibrated_columns_change_no_other_number(fields, monkeypatch):
    def others(result):
        return [{k: v for k, v in row.items() if "recalibrated" not in k} for row in numbers(result)]

    result = run(trial(**fields))
    assert all(result.trial[f"{name}_recalibrated"] != result.trial[name] for name in FRESH[:2])
    monkeypatch.setattr("sweep.models.cost.normalizes", lambda model: False)
    assert others(run(trial(**fields))) == others(result)


def test_a_network_without_batchnorm_has_equal_recalibrated_columns(monkeypatch):
    monkeypatch.delattr("sweep.trial.evaluation.Evaluation.recalibrated")
    row = run(trial(model="lenet-300-100", prune_epoch=1)).trial
    assert [row[f"{name}_recalibrated"] for name in FRESH] == [row[name] for name in FRESH]


@pytest.mark.slow
def test_recalibrated_accuracy_is_higher_right_after_a_late_prune():
    row = run(trial(criterion="random", sparsity=0.5, prune_epoch=2)).trial
    assert row["pre_test_accuracy_recalibrated"] > row["pre_test_accuracy"] + 0.1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": None}, "epochs or steps is missing: give one"),
        ({"steps": 5}, "give epochs or steps, not both"),
        ({"criterion": "dense"}, "criterion dense prunes nothing: give it sparsity 0"),
        ({"prune_epoch": 3}, "prune_epoch 3 is beyond the 2 epochs of training"),
        ({"iterations": 3}, "iterations 3: snip is one-shot"),
        ({"criterion": "gmp", "rewind_epoch": 0}, "gmp prunes along training: there is nothing to rewind"),
        ({"criterion": "oracle"}, "oracle removes filters: give it structure: filter"),
        ({"rewind_epoch": 1}, "rewind_epoch lies after the pruning"),
    ],
)
def test_run_refuses_fields_that_do_not_go_together(fields, message):
    """Without this check a config without epochs and steps would train nothing and be `ok`."""
    base = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 2}
    config = Config(**(base | fields))
    for refuse in (lambda: Trial.of(config), lambda: run(Trial(config))):
        with pytest.raises(BadInput, match=message):
            refuse()


@pytest.mark.slow
def test_kept_and_active_weights_are_counted_in_the_layers_that_may_be_pruned():
    """Also if the trial goes on from one that may prune other layers."""
    asked = {"criterion": "oracle", "structure": "filter", "sparsity": 0.5, "prune_epoch": 1, "epochs": 1}
    run(trial(retrain_epochs=1, **asked, layers="0.* 3.*"))
    result = run(trial(retrain_epochs=1, **asked, layers="0.*"))
    assert [row["kept"] for row in result.curves] == [144, 72]
    assert result.trial["mean_active_params"] == (144 + 72) / 2
    dense, masked = result.trial["macs_dense"], result.trial["macs_masked"]
    assert dense - masked == 64 * 72, "half of the first layer's, and all of the others'"


def test_biases_of_filters_are_not_counted_as_kept_weights():
    asked = {"model": "lenet-300-100", "structure": "filter", "layers": "1.*", "criterion": "magnitude"}
    result = run(trial(**asked, sparsity=0.5, epochs=1))
    assert result.trial["kept"] == result.curves[0]["kept"] == 150 * 64


def test_pruning_beyond_the_steps_of_training_is_refused():
    with pytest.raises(BadInput, match="prune_epoch 4 is beyond the 5 steps of training"):
        run(trial(epochs=None, steps=5, prune_epoch=4))


@pytest.mark.long
@pytest.mark.slow
def test_a_compiled_network_trains_as_the_plain_network_does(monkeypatch):
    """Up to rounding: compiled kernels add in another order."""

    def small(shape, classes):  # each of its operations takes seconds to compile
        layers = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(8 * 64, classes))

    monkeypatch.setitem(MODELS, "small", Model(small))
    fields = {"model": "small", "epochs": 2, "prune_epoch": 1}
    plain, compiled = (run(trial(**fields, compile=each)) for each in (False, True))
    assert compiled.trial["status"] == "ok"
    assert compiled.curves[0]["train_loss"] == pytest.approx(plain.curves[0]["train_loss"], rel=0.05)


@pytest.mark.slow
def test_after_epoch_changes_no_number_unless_it_stops_the_trial():
    asked, calls = trial(epochs=3, prune_epoch=0.5), []
    result = run(asked, after_epoch=lambda *arguments: bool(calls.append(arguments)))
    assert numbers(result) == numbers(run(asked))
    accuracies = [row["val_accuracy"] for row in result.curves if row["phase"] == "retrain"]
    assert calls == [(1, accuracies[0], False), (2, accuracies[1], False), (3, accuracies[2], True)]


@pytest.mark.slow
def test_a_stopped_trial_has_its_id_and_its_curves_but_no_accuracy():
    asked = trial(epochs=3, prune_epoch=0.5)
    stopped, complete = run(asked, after_epoch=lambda epoch, accuracy, last: epoch == 2), run(asked)
    assert stopped.trial["status"] == "stopped" and stopped.trial["trial_id"] == complete.trial["trial_id"]
    assert not [name for name in stopped.trial if name.endswith("accuracy") and not name.startswith("pre_")]
    curves = [{k: v for k, v in row.items() if k not in TIMES} for row in stopped.curves]
    assert curves == numbers(complete)[1 : 1 + len(curves)] and len(curves) == len(complete.curves) - 1
    assert len(stopped.layers) == len(complete.layers) and stopped.trial["kept"] == complete.trial["kept"]
    assert stopped.trial.keys() <= set(SCHEMAS["trials"].names)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [{"criterion": "gmp", "update_every": 2}, {"criterion": "dense", "sparsity": 0}]
)
def test_a_trial_without_retraining_is_not_stopped(fields):
    assert run(trial(**fields), after_epoch=lambda *arguments: True).trial["status"] == "ok"


@pytest.mark.slow
def test_a_trial_is_not_stopped_after_its_last_epoch():
    asked = trial(epochs=2, prune_epoch=1)
    assert run(asked, after_epoch=lambda *arguments: True).trial["status"] == "ok"


@pytest.mark.slow
def test_of_iterative_pruning_only_the_last_retraining_can_be_stopped():
    asked, calls = trial(criterion="imp", iterations=2, epochs=2), []
    run(asked, after_epoch=lambda *arguments: bool(calls.append(arguments[0])))
    assert calls == [1, 2]
