import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sweep.results import SCHEMAS
from sweep.study import Config, Trial
from sweep.trial import failure, from_canonical, run

TIMES = {"score_seconds", "train_seconds", "wall_seconds", "started_at", "finished_at", "seconds"}


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
        for row in (result.trial, *result.curves, *result.layers)
    ]


@pytest.mark.parametrize("criterion", ["random", "snip", "force"])
def test_the_same_trial_gives_the_same_numbers_bit_by_bit(criterion):
    """Whatever ran before, whatever the global random state, however many threads the process uses."""
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


def test_another_process_gives_the_same_numbers_without_ray():
    asked = trial(prune_epoch=1)
    code = f"""
import sys
from sweep.trial import from_canonical, run
result = run(from_canonical({asked.canonical!r}))
assert "ray" not in sys.modules
print(repr([result.trial["test_loss"], result.trial["pre_train_loss"], result.curves[-1]["val_loss"]]))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    result = run(asked)
    expected = [result.trial["test_loss"], result.trial["pre_train_loss"], result.curves[-1]["val_loss"]]
    assert answer.stdout.strip() == repr(expected)


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


def test_every_recorded_column_is_in_the_schema_and_every_column_is_recorded():
    result = run(trial())
    by_the_engine = {"study", "node", "pack", "error"}
    assert set(result.trial) | by_the_engine == set(SCHEMAS["trials"].names)
    assert set(result.curves[0]) == set(SCHEMAS["curves"].names)
    assert set(result.layers[0]) == set(SCHEMAS["layers"].names)


def test_training_is_the_same_until_the_prune_whatever_is_pruned():
    one, other = run(trial(epochs=3, prune_epoch=2)), run(trial(epochs=3, prune_epoch=2, criterion="random"))

    def dense(result):
        return [
            {k: v for k, v in row.items() if k not in ("trial_id", "seconds")} for row in result.curves[:2]
        ]

    assert dense(one) == dense(other)


def test_a_dense_run_learns():
    row = run(trial(sparsity=0, epochs=3)).trial
    assert row["criterion"] == "dense" and row["density"] == row["effective_density"] == 1
    assert row["test_accuracy"] > 0.9


def test_pruning_at_the_very_end_reports_what_is_there_right_after_it():
    row = run(trial(epochs=1, prune_epoch=1, sparsity=0.2)).trial
    assert row["test_accuracy"] == row["pre_test_accuracy"] == row["test_accuracy_at_best_val"]
    assert row["train_loss"] == row["pre_train_loss"]


def test_a_loss_that_is_no_number_ends_the_trial_as_diverged():
    result = run(trial(model="lenet-300-100", lr=1e30, epochs=4))
    assert result.trial["status"] == "diverged" and result.trial["diverged"]
    assert "test_accuracy" not in result.trial and len(result.curves) < 4


def test_losses_that_are_no_number_after_the_last_step_are_divergence_too():
    """One step an epoch: the training loss is from before the step that blows the network up."""
    row = run(trial(epochs=1, batch_size=1300, lr=1e30)).trial
    assert row["status"] == "diverged" and "test_accuracy" not in row


def test_more_scoring_batches_than_one_pass_holds_are_drawn_all_the_same():
    one, many = (run(trial(epochs=1, score_batches=n, score_batch_size=1000)).trial for n in (1, 4))
    assert one["trial_id"] != many["trial_id"] and one["test_loss"] != many["test_loss"]


def test_a_trial_survives_the_way_through_its_canonical_text():
    asked = trial(criterion="force", iterations=7)
    assert from_canonical(asked.canonical) == asked
    assert failure(asked, "boom").trial["trial_id"] == asked.id


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("data/MNIST/raw/train-images-idx3-ubyte").exists(), reason="MNIST is not under data/MNIST/raw"
)
def test_two_dense_epochs_on_mnist_pass_96_percent():
    config = Config(dataset="mnist", model="lenet-300-100", sparsity=0, criterion="dense", epochs=2)
    assert run(Trial.of(config)).trial["test_accuracy"] > 0.96
