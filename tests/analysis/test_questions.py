"""Correlation, ranking, collapse, cost and regimes of results with known answers."""

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis import best, charts, collapse, correlation, regimes
from analysis.warehouse import ask
from sweep import results
from tests.analysis.conftest import LATER, trial


def write(folder, rows, layers=None):
    results.write(folder, rows, [[]], layers or [[]])
    return analysis.open(folder)


def masks(random, sparsity, shift, count=30):
    """Trials whose loss says nothing within a sparsity, and everything between two."""
    return [
        trial(
            f"{sparsity}-{i}", criterion="magnitude", sparsity=sparsity, seed=i,
            pre_train_loss=shift + random.normal(), test_accuracy=0.9 - shift / 20 + random.normal() / 100,
        )
        for i in range(count)
    ]  # fmt: skip


def test_coefficients_within_groups_are_scipys_and_pooling_is_warned_of(tmp_path):
    random = np.random.default_rng(0)
    rows = [*masks(random, 0.5, 0), *masks(random, 0.9, 10)]
    *within, pooled = correlation.correlate(write(tmp_path / "r", rows))
    assert [one.sparsity for one in within] == [0.5, 0.9] and pooled.sparsity is None
    for one in (*within, pooled):
        assert one.kendall.value == pytest.approx(stats.kendalltau(one.before, one.after).statistic)
        assert one.spearman.value == pytest.approx(stats.spearmanr(one.before, one.after).statistic)
        assert one.pearson.value == pytest.approx(stats.pearsonr(one.before, one.after).statistic)
    assert max(abs(one.kendall.value) for one in within) < 0.4 and pooled.kendall.high < -0.3
    [said] = correlation.sentences([*within, pooled])
    assert "Simpson" in said and "pooled over 2 sparsities" in said


def test_regret_and_anomalies_are_those_of_the_oracle_paper(tmp_path):
    outcomes = [(0.5, 0.80), (0.7, 0.95), (0.9, 0.70), (1.1, 0.85), (1.5, 0.60)]
    rows = [
        trial(f"t{i}", criterion="oracle", sparsity=0.5, seed=i, pre_train_loss=loss, test_accuracy=accuracy,
              pre_test_accuracy=1 - loss / 2, test_loss=1 - accuracy)
        for i, (loss, accuracy) in enumerate(outcomes)
    ]  # fmt: skip
    connection = write(
        tmp_path / "r", [*rows, trial("n", criterion="oracle", sparsity=0.5, seed=9, pre_train_loss=np.nan)]
    )
    for before, after in (("pre_train_loss", "test_accuracy"), ("pre_test_accuracy", "test_loss")):
        [one] = correlation.correlate(connection, before, after)
        assert one.masks == 5 and one.anomalies == pytest.approx(2 / 5)
        assert (one.regret_best, one.regret_median) == pytest.approx((0.15, 0.0))
        assert one.kendall.value == pytest.approx(-0.4)


def test_masks_that_look_equally_good_count_as_their_mean(tmp_path):
    rows = [
        trial(f"t{i}", sparsity=0.5, seed=i, pre_train_loss=loss, test_accuracy=accuracy)
        for i, (loss, accuracy) in enumerate([(0.5, 0.7), (0.5, 0.9), (1.0, 0.85)])
    ]
    [one] = correlation.correlate(write(tmp_path / "r", rows))
    assert one.anomalies == pytest.approx(2 / 3) and one.regret_best == pytest.approx(0.1)


@pytest.fixture
def ranked(tmp_path):
    """A clear best by validation, one that cannot be told from it, one that is better on test data only, one worse."""
    random = np.random.default_rng(1)
    rows = []
    for name, validation, test, hours in (
        ("snip", 0.90, 0.80, 1.0), ("force", 0.899, 0.80, 2.0), ("grasp", 0.70, 0.99, 0.5), ("magnitude", 0.5, 0.5, 3.0),
    ):  # fmt: skip
        for seed in range(10):
            rows.append(
                trial(
                    f"{name}{seed}", criterion=name, sparsity=0.9, seed=seed, density=0.1, wall_seconds=3600 * hours,
                    val_accuracy=validation + random.normal() / 100, test_accuracy=test,
                )
            )  # fmt: skip
    return best.rank(write(tmp_path / "r", rows))


def test_schedules_are_chosen_by_validation_and_ties_are_said(ranked):
    names = [one.schedule for one in ranked]
    assert names == ["snip", "force", "grasp", "magnitude"] or names == [
        "force",
        "snip",
        "grasp",
        "magnitude",
    ]
    assert [one.tied for one in ranked] == [True, True, False, False]
    [said] = best.sentences(ranked)
    assert f"tied with it: {names[1]}" in said and "grasp" not in said


def test_what_another_beats_at_less_cost_is_off_the_front(ranked):
    on = {one.schedule for one in ranked if one.on_cost_front}
    assert "grasp" in on and "snip" in on and "magnitude" not in on
    assert sum(one.on_density_front for one in ranked) == 1


def test_a_single_seed_ties_everything(tmp_path):
    rows = [
        trial(n, criterion=n, val_accuracy=v, test_accuracy=v) for n, v in (("snip", 0.9), ("grasp", 0.1))
    ]
    assert [one.tied for one in best.rank(write(tmp_path / "r", rows))] == [True, True]


def test_the_earliest_safe_prune_epoch_is_the_one_after_the_last_collapse(tmp_path):
    rows, layers = [], []
    for epoch, collapsed, effective in ((0, 1, 0.05), (0.5, 0, 0.05), (1, 0, 0.0), (2, 0, 0.1), (3, 0, 0.1)):
        for seed in range(2):
            name = f"{epoch}-{seed}"
            rows.append(
                trial(
                    name, criterion="magnitude", prune_epoch=epoch, seed=seed, test_accuracy=0.5, density=0.1,
                    collapsed_layers=collapsed, effective_density=effective,
                )
            )  # fmt: skip
            layers.append(
                [
                    {"trial_id": name, "layer": i, "name": f"{i}.weight", "kept": 5 * (not (i and collapsed))}
                    for i in (0, 1)
                ]
            )
    found = collapse.collapse(write(tmp_path / "r", rows, layers))
    assert [row["collapsed"] for row in found] == [1, 0, 1, 0, 0]
    assert [row["most_often"] for row in found] == ["1.weight", None, None, None, None]
    assert {row["safe_from"] for row in found} == {2}
    [said] = collapse.sentences(found)
    assert "collapses in 100%" in said and said.endswith("most often 1.weight; safe from epoch 2 on")


def test_a_trial_collapses_by_an_empty_layer_or_by_having_no_path_left(tmp_path):
    facts = ((1, 0.05), (0, 0.0), (0, 0.05))
    rows = [
        trial(f"{s}", seed=s, test_accuracy=0.5, density=0.1, collapsed_layers=empty, effective_density=left)
        for s, (empty, left) in enumerate(facts)
    ]
    [row] = collapse.collapse(write(tmp_path / "r", rows))
    assert row["collapsed"] == pytest.approx(2 / 3)
    assert row["emptied_layers_in"] == row["no_path_in"] == pytest.approx(1 / 3)


def test_ways_to_prune_are_kept_apart_whatever_their_prune_epochs(tmp_path):
    """With one batch nothing is safe at epoch 0; with four it is from epoch 1 on, whatever one batch does."""
    rows = [
        trial(
            f"{batches}-{epoch}", score_batches=batches, prune_epoch=epoch, test_accuracy=0.5, density=0.1,
            collapsed_layers=collapsed, effective_density=0.05,
        )
        for batches, epoch, collapsed in ((1, 0, 1), (4, 0, 1), (4, 1, 0))
    ]  # fmt: skip
    found = collapse.collapse(write(tmp_path / "r", rows))
    assert [(row["criterion"], row["prune_epoch"], row["safe_from"]) for row in found] == [
        ("snip score_batches=1", 0, None),
        ("snip score_batches=4", 0, 1),
        ("snip score_batches=4", 1, 1),
    ]


@pytest.mark.parametrize(("accuracy", "count"), [(0.1, 6), (0.098, 10), (0.7, 3)])
def test_masks_that_are_all_alike_do_not_beat_themselves(accuracy, count, tmp_path):
    rows = [trial(f"{i}", seed=i, pre_train_loss=2.3, test_accuracy=accuracy) for i in range(count)]
    [one] = correlation.correlate(write(tmp_path / "r", rows))
    assert (one.anomalies, one.regret_best, one.regret_median) == (0, 0, 0)


def test_learning_curves_end_where_a_level_goes_back(tmp_path):
    epochs = [("dense", 1), ("dense", 2), ("level 2", 1), ("level 10", 1), ("retrain", 1), ("retrain", 2)]
    rows = [
        {"arm": "a", "sparsity": 0.9, "phase": p, "epoch": e, "validation_accuracy": 0.5} for p, e in epochs
    ]
    [figure] = charts.curves(
        sorted(rows, key=lambda row: (row["epoch"], row["phase"])), {"a": "imp"}
    ).values()
    assert list(figure.data[0].x) == [1, 2, None, 1, 1, 1, 2]


def test_cost_counts_failed_trials_and_tells_cpus_from_gpus(tmp_path):
    rows = [
        trial("a", wall_seconds=1800.0, score_seconds=180.0, device="cpu", test_accuracy=0.8),
        trial("b", seed=1, wall_seconds=1800.0, score_seconds=0.0, device="cpu", status="failed"),
        trial("c", seed=2, wall_seconds=3600.0, score_seconds=0.0, device="cuda", test_accuracy=0.6),
    ]
    [row] = ask(write(tmp_path / "r", rows), "cost")
    assert (row["trials"], row["cpu_hours"], row["gpu_hours"]) == (3, 1.0, 1.0)
    assert row["accuracy_per_hour"] == pytest.approx(0.7 / 0.75) and row["scoring"] == pytest.approx(0.025)


def test_regimes_are_over_any_two_fields(tmp_path):
    rows = [
        trial(f"{lr}{s}{seed}", lr=lr, sparsity=s, seed=seed, test_accuracy=lr + seed / 10)
        for lr in (0.1, 0.3) for s in (0.9, 0.99) for seed in (0, 1)
    ]  # fmt: skip
    found = regimes.regimes(write(tmp_path / "r", rows), "sparsity", "lr")
    assert [(row["x"], row["y"], row["trials"]) for row in found] == [
        ("0.9", "0.1", 2), ("0.9", "0.3", 2), ("0.99", "0.1", 2), ("0.99", "0.3", 2),
    ]  # fmt: skip
    assert found[1]["test_accuracy"] == pytest.approx(0.35)
    assert {(row["setting"], row["label"]) for row in found} == {
        ("digits, conv-5, 2 epochs, pruned at epoch 0", "snip")
    }
    low, high = stats.ttest_1samp([0.3, 0.4], 0).confidence_interval(0.95)
    assert found[1]["half_width"] == pytest.approx((high - low) / 2)


@pytest.mark.parametrize(
    ("x", "y", "cells"),
    [("sparsity", "lr", 8), ("lr", "prune_epoch", 8), ("seed", "criterion", 16), ("sparsity", "epochs", 8)],
)
def test_a_map_of_regimes_has_one_arm_less_the_two_fields(x, y, cells, tmp_path):
    """Rates, criteria and sparsities that are no axis have maps of their own: 0.973 and 0.284 are not 0.629."""
    rows = [
        trial(f"{criterion}{lr}{sparsity}{seed}", criterion=criterion, lr=lr, sparsity=sparsity, seed=seed,
              test_accuracy=place / 8)
        for place, (criterion, lr, sparsity) in enumerate(
            (c, rate, s) for c in ("force", "snip") for rate in (0.1, 0.3) for s in (0.9, 0.99)
        )
        for seed in (0, 1)
    ]  # fmt: skip
    found = regimes.regimes(write(tmp_path / "r", rows), x, y)
    assert len(found) == cells and {row["deviation"] for row in found} <= {0.0, None}
    assert sorted({row["test_accuracy"] for row in found}) == [place / 8 for place in range(8)]
    places = [(row["setting"], row["label"], row["x"], row["y"]) for row in found]
    assert len(set(places)) == len(places)


def test_a_map_shows_the_interval_and_needs_two_temperatures(tmp_path):
    rows = [
        trial(f"{c}{lr}{seed}", criterion=c, lr=lr, seed=seed, test_accuracy=0.5 + seed / 100)
        for c, rates in (("snip", (0.1, 0.3)), ("force", (0.1,)))
        for lr in rates
        for seed in (0, 1)
    ]
    [(name, points)] = regimes.maps(regimes.regimes(write(tmp_path / "r", rows), "sparsity", "lr")).items()
    assert name == "digits, conv-5, 2 epochs, pruned at epoch 0: snip"
    [heat] = charts.regimes(points, "lr").data
    assert heat.text.tolist() == [["0.505 ± 0.064"], ["0.505 ± 0.064"]]


def test_a_stopped_trial_is_in_no_mean_and_not_lost_but_has_cost_its_time(tmp_path):
    rows = [
        trial("a", test_accuracy=0.9, val_accuracy=0.9, wall_seconds=3600.0, density=0.1),
        trial("b", seed=1, status="stopped", wall_seconds=1800.0, density=0.1),
        trial("c", scope="erk", status="stopped", wall_seconds=1800.0, density=0.1),
    ]
    connection = write(tmp_path / "r", rows)
    for name in ("accuracy", "best"):
        [row] = ask(connection, name)
        assert (row["trials"], row["lost"]) == (1, 0)
    assert [row["cpu_hours"] for row in ask(connection, "cost")] == [0.5, 1.5]
    results.write(tmp_path / "r", [trial("b", seed=1, status="diverged")], [[]], [[]])
    results.write(
        tmp_path / "r",
        [trial("b", seed=1, status="stopped", finished_at=datetime(2026, 1, 1, tzinfo=UTC) + LATER)],
        [[]],
        [[]],
    )
    found = analysis.open(tmp_path / "r").execute("SELECT status FROM trials WHERE trial_id = 'b'").fetchall()
    assert found == [("diverged",)], "a result comes before none"
