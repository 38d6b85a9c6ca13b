"""Correlation, ranking, collapse, cost and regimes of results with known answers."""

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.questions import best, collapse, correlation, curves, regimes
from analysis.report import report
from analysis.statistics.correlations import NAMES
from analysis.warehouse import ask
from sweep.errors import BadInput
from sweep.means import wilson
from sweep.store import launches, results
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
    said, tests = correlation.sentences([*within, pooled])
    assert "Simpson" in said and "pooled over 2 sparsities (60 masks: one arm and 30 seeds; " in said
    lowest, highest = sorted(within, key=lambda one: one.kendall.value)
    ends = [f"{one.kendall.value:.2f} (at {one.sparsity:g})".replace("-", "−") for one in (lowest, highest)]
    assert f"within one, from {ends[0]} to {ends[1]}" in said
    assert "2 τ within a sparsity" in tests and np.isnan(pooled.p_holm)
    low, high = sorted(within, key=lambda one: one.kendall.p)
    assert (low.p_holm, high.p_holm) == pytest.approx(
        (2 * low.kendall.p, max(2 * low.kendall.p, high.kendall.p))
    )


def test_a_correlation_is_certain_only_where_it_is_planted(tmp_path):
    random = np.random.default_rng(1)
    rows = [
        trial(f"{sparsity}-{i}", sparsity=sparsity, seed=i, pre_train_loss=loss,
              test_accuracy=(0.5 if sparsity < 0.9 else 0) - loss * slope + random.normal() / 100)
        for sparsity, slope in ((0.5, 0.03), (0.8, 0.03), (0.9, 0.0), (0.95, -0.03))
        for i, loss in enumerate(random.normal(size=30))
    ]  # fmt: skip
    said, _ = correlation.sentences(correlation.correlate(write(tmp_path / "r", rows)))
    assert "After Holm's correction τ is below 0 at 0.5, 0.8 and above 0 at 0.95." in said


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


def test_of_masks_that_look_equally_good_one_is_taken_at_random(tmp_path):
    """Regret and anomalies are what is expected then: one of the two is the best, the other beaten by both."""
    rows = [
        trial(f"t{i}", sparsity=0.5, seed=i, pre_train_loss=loss, test_accuracy=accuracy)
        for i, (loss, accuracy) in enumerate([(0.5, 0.7), (0.5, 0.9), (1.0, 0.85)])
    ]
    [one] = correlation.correlate(write(tmp_path / "r", rows))
    assert one.anomalies == pytest.approx(1 / 3) and one.regret_best == pytest.approx(0.1)


def crossed(tmp_path, criteria, seeds=6, **fields):
    """The correlation of masks of each criterion with each seed; of some criteria with several arms."""
    random = np.random.default_rng(0)
    rows = [
        trial(
            f"{criterion}-{scope}-{seed}", criterion=criterion, scope=scope, seed=seed, pre_train_loss=random.normal(),
            test_accuracy=random.uniform(), **fields,
        )
        for criterion, scope in criteria
        for seed in range(seeds)
    ]  # fmt: skip
    [one] = correlation.correlate(write(tmp_path / "r", rows))
    return one, correlation.rows([one])[0]


def test_criteria_and_seeds_are_resampled_a_criterion_with_all_its_arms(tmp_path):
    criteria = [
        ("random", "erk"),
        *((name, "global") for name in ("random", "snip", "grasp", "force", "synflow")),
    ]
    one, row = crossed(tmp_path, criteria)
    assert (row["criteria"], row["seeds"], row["masks"]) == (5, 6, 36)
    assert row["resampled"] == "criteria and seeds" and row["tau_low"] < row["tau"] < row["tau_high"]
    assert one.basis == "36 masks: 5 criteria and 6 seeds"


def test_few_criteria_are_held_fixed_and_the_answer_says_so(tmp_path):
    one, row = crossed(tmp_path, [("random", "global"), ("snip", "global")])
    assert row["resampled"] == "seeds" and row["tau_low"] < row["tau"]
    assert one.basis == "12 masks: 2 criteria and 6 seeds; the interval is of 2 criteria alone"


def test_of_a_single_criterion_arms_are_resampled(tmp_path):
    scopes = [("random", scope) for scope in ("global", "erk", "uniform", "uniform-plus", "layer")]
    one, row = crossed(tmp_path, scopes, seeds=1)
    assert (row["criteria"], row["resampled"]) == (5, "arms")
    assert one.basis == "5 masks: 5 arms and one seed; the interval is of one seed alone"


def test_too_few_criteria_and_seeds_have_no_interval_and_the_answer_says_why(tmp_path):
    one, row = crossed(tmp_path, [("random", "global"), ("snip", "global")], seeds=4)
    assert row["tau"] is not None and row["tau_low"] is row["tau_p"] is row["tau_p_holm"] is None
    assert row["resampled"] == "" and "no interval, which takes 5 criteria or 5 seeds" in one.basis


@pytest.mark.slow
def test_of_a_study_that_runs_no_correction_is_claimed(tmp_path):
    rows = [
        trial(f"{c}{s}", criterion=c, seed=s, sparsity=at, test_accuracy=(s * 3 + at * 10) % 1, pre_train_loss=s)
        for c in ("snip", "force") for s in range(5) for at in (0.8, 0.9)
    ]  # fmt: skip
    for number, row in enumerate(rows):
        row["trial_id"] += str(number)
    write(tmp_path / "r", rows)
    launch = {"trials": 99, "to_run": 99, "started_at": "2025-12-31T00:00:00+00:00"}
    launches.note_launch(tmp_path / "r", "made", "", launch)
    [said] = correlation.sentences(correlation.correlate(analysis.open(tmp_path / "r")))
    assert "Holm" not in said and "  " not in said and said == said.strip()


@pytest.mark.slow
def test_each_combination_of_the_oracle_was_drawn_by_itself(tmp_path):
    """Of one network, and beside criteria too."""
    random = np.random.default_rng(0)

    def masks(criterion, count):
        rows = []
        for number in range(count):
            row = trial(
                f"{criterion}{number}",
                criterion=criterion,
                pre_train_loss=random.normal(),
                test_accuracy=0.5 + random.normal() / 9,
            )
            row["config"] = row["config"].replace("{", f'{{"combination":{number},', 1)
            rows.append(row)
        return rows  # fmt: skip

    oracle = masks("oracle", 20)
    [one] = correlation.correlate(write(tmp_path / "oracle", oracle))
    assert one.basis == "20 masks: 20 combinations and one seed; the interval is of one seed alone"
    assert one.kendall.low < one.kendall.value
    [one] = correlation.correlate(write(tmp_path / "both", [*oracle, *masks("random", 3)]))
    assert one.drawn == {"criteria": 21, "seeds": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fresh", "measures", "why"),
    [
        (
            lambda loss, _: loss + 5e-8,
            ["pre_train_loss"],
            "it is the same in every mask, as without BatchNorm",
        ),
        (lambda *_: None, ["pre_train_loss"], "it was not recorded"),
        (lambda _, accuracy: 1 - accuracy, ["pre_train_loss", "pre_train_loss_recalibrated"], None),
    ],
    ids=["equal", "older", "moved"],
)
def test_the_loss_is_asked_with_both_batchnorm_statistics_where_they_differ(fresh, measures, why, tmp_path):
    random = np.random.default_rng(0)
    rows = []
    for seed, (loss, accuracy) in enumerate(random.uniform(0.1, 1, (12, 2))):
        known = {"pre_train_loss": loss, "pre_train_loss_recalibrated": fresh(loss, accuracy)}
        rows.append(trial(f"t{seed}", seed=seed, test_accuracy=accuracy, **known))
    connection = write(tmp_path / "r", rows)
    found = correlation.correlate(connection)
    assert [row["before"] for row in correlation.rows(found)] == measures
    *said, _ = correlation.sentences(found)
    assert len(said) == len(measures) and all(NAMES[m] in s for m, s in zip(measures, said, strict=True))
    if why:
        assert why in said[0]
    else:
        assert found[1].kendall.value == pytest.approx(-1) and abs(found[0].kendall.value) < 0.5
        page = report.render(connection, tmp_path / "r")
        for one in found:
            name = NAMES[one.measure]
            assert correlation.chart([one]).layout.xaxis.title.text == name
            assert f'aria-label="{name} against final accuracy' in page
    chosen = correlation.correlate(connection, "pre_train_loss_recalibrated")
    assert [one.kendall.value for one in chosen] == [one.kendall.value for one in found[1:]] or why


def test_a_setting_without_recalibrated_losses_stands_beside_one_with_them(tmp_path):
    rows = [
        trial(f"{model}{seed}", model=model, seed=seed, test_accuracy=seed / 9, pre_train_loss=loss,
              pre_train_loss_recalibrated=-loss if model == "resnet-20" else None)
        for model in ("resnet-20", "lenet-300-100") for seed, loss in enumerate((1.0, 3.0, 2.0, 4.0))
    ]  # fmt: skip
    found = correlation.rows(correlation.correlate(write(tmp_path / "r", rows)))
    assert [("resnet" in row["setting"], row["before"]) for row in found] == [
        (False, "pre_train_loss"), (True, "pre_train_loss"), (True, "pre_train_loss_recalibrated"),
    ]  # fmt: skip


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
                    val_accuracy=validation + random.normal() / 100, test_accuracy=test + seed / 1000,
                )
            )  # fmt: skip
    return best.rank(write(tmp_path / "r", rows))


@pytest.mark.slow
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


def test_intervals_on_the_fronts_end_where_accuracies_do(tmp_path):
    """A bar to 1.13 or -0.55 is no accuracy."""
    rows = [
        trial(f"s{seed}", criterion="snip", seed=seed, val_accuracy=v, test_accuracy=v, density=0.1)
        for seed, v in enumerate((0.1, 0.15, 0.99))
    ]
    [one] = best.rank(write(tmp_path / "r", rows))
    bars = best.charts([one])["against density"].data[2].error_y
    assert one.validation.half_width > 1 - one.validation.value > 0
    assert one.validation.value + bars.array[0] == pytest.approx(1)
    assert one.validation.value - bars.arrayminus[0] == pytest.approx(0)


def test_a_single_seed_ties_everything(tmp_path):
    rows = [
        trial(n, criterion=n, val_accuracy=v, test_accuracy=v) for n, v in (("snip", 0.9), ("grasp", 0.1))
    ]
    assert [one.tied for one in best.rank(write(tmp_path / "r", rows))] == [True, True]


def test_the_test_accuracy_of_the_best_says_that_it_was_selected(ranked):
    first, second, *_ = ranked
    values = [first.test.value, first.selected[0], first.selected[1]]
    assert first.selected[0] < first.test.low and first.selected[1] == pytest.approx(first.test.high)
    assert first.quoted == "{:.3f} [{:.3f}, {:.3f}] (selected)".format(*values)
    assert second.selected is None and second.quoted == str(second.test)
    [said] = best.sentences(ranked)
    assert f"test accuracy {first.quoted}" in said and "corrected for the choice" not in said
    assert "for all places (settings and sparsities: 1)" in best.note(ranked).replace("\n", " ")


def test_a_schedule_whose_trials_all_failed_is_last_and_is_said(tmp_path):
    rows = [
        *(trial(f"s{s}", criterion="snip", seed=s, val_accuracy=0.9 + s / 100, test_accuracy=0.9) for s in range(3)),
        *(trial(f"g{s}", criterion="grasp", seed=s, status="failed") for s in range(3)),
        trial("n", criterion="grasp", sparsity=0.5, status="diverged"),
    ]  # fmt: skip
    found = best.rank(write(tmp_path / "r", rows))
    assert [(one.sparsity, one.schedule, one.rank, one.tied) for one in found] == [
        (0.5, "grasp", 1, False), (0.9, "snip", 1, True), (0.9, "grasp", 2, False),
    ]  # fmt: skip
    assert str(found[2].validation) == "– (3 lost)"
    nothing, said = best.sentences(found)
    assert nothing.endswith("sparsity 0.5; no trial finished: grasp (1 lost)")
    assert said.endswith("; no trial finished: grasp (3 lost)")
    assert best.rows(found)[2]["validation_accuracy"] is None


@pytest.mark.slow
def test_what_lost_runs_could_turn_is_tied(tmp_path):
    """The best has lost a run that may well have been at chance."""
    rows = [
        *(trial(f"s{s}", criterion="snip", seed=s, val_accuracy=0.9 + s / 1e4, test_accuracy=0.9) for s in range(6)),
        *(trial(f"g{s}", criterion="grasp", seed=s, val_accuracy=0.88, test_accuracy=0.9) for s in range(7)),
    ]  # fmt: skip
    assert [one.tied for one in best.rank(write(tmp_path / "one", rows))] == [True, False]
    lost = trial("s6", criterion="snip", seed=6, status="failed")
    assert [one.tied for one in best.rank(write(tmp_path / "other", [*rows, lost]))] == [True, True]


@pytest.mark.slow
def test_nothing_is_shut_out_while_a_study_runs(tmp_path):
    rows = [
        trial(f"{n}{s}", criterion=n, seed=s, val_accuracy=v + s / 1000, test_accuracy=v, study="r")
        for n, v in (("snip", 0.9), ("grasp", 0.1))
        for s in range(5)
    ]
    write(tmp_path / "r", rows)
    launches.note_launch(
        tmp_path / "r", "r", "", {"started_at": "2025-01-01T00:00:00+00:00", "trials": 20, "to_run": 20}
    )
    found = best.rank(analysis.open(tmp_path / "r"))
    assert [one.tied for one in found] == [True, True]
    [said] = best.sentences(found)
    assert "provisional, 10 of 20 trials of r: nothing is certain before all have a result" in said


def test_nothing_is_shut_out_while_a_study_runs_of_which_all_trials_failed_so_far(tmp_path):
    """The finished ones are of a study that is done."""
    done = [
        trial(f"{n}{s}", criterion=n, seed=s, val_accuracy=v + s / 1000, test_accuracy=v, study="done")
        for n, v in (("snip", 0.9), ("grasp", 0.1))
        for s in range(5)
    ]
    results.write(tmp_path / "done", done, [[]], [[]])
    results.write(tmp_path / "r", [trial("f0", criterion="force", status="failed", study="r")], [[]], [[]])
    launches.note_launch(
        tmp_path / "r", "r", "", {"started_at": "2025-01-01T00:00:00+00:00", "trials": 5, "to_run": 5}
    )
    [said] = best.sentences(best.rank(analysis.open(tmp_path)))
    assert "provisional, 1 of 5 trials of r" in said and "better than all others" not in said


@pytest.mark.slow
def test_no_correlation_counts_as_tested_while_a_study_runs(tmp_path):
    random = np.random.default_rng(0)
    rows = [
        trial(
            f"{c}{s}", criterion=c, seed=s, pre_train_loss=random.random(), test_accuracy=random.random(), study="r"
        )
        for c in ("snip", "force", "grasp", "magnitude", "random") for s in range(5)
    ]  # fmt: skip
    write(tmp_path / "r", rows)
    launches.note_launch(
        tmp_path / "r", "r", "", {"started_at": "2025-01-01T00:00:00+00:00", "trials": 50, "to_run": 50}
    )
    found = correlation.correlate(analysis.open(tmp_path / "r"))
    assert correlation.sentences(found)[-1].endswith("no τ is tested before all trials have a result.")


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
    assert "collapses in 100%" in said and said.endswith(
        "most often 1.weight; none of 4 pruned from epoch 2 on (of 2 [0%, 66%] at one epoch)"
    )


def test_where_an_indicator_chose_the_moment_the_prune_epoch_is_the_chosen_one(tmp_path):
    """Not the latest epoch that the study allows, which all trials of the arm have in common."""
    rows = [
        trial(
            f"{seed}", criterion="magnitude", prune_epoch=9, prune_when="stable", pruned_at_epoch=epoch, seed=seed,
            test_accuracy=0.5, density=0.1, collapsed_layers=int(epoch < 4),
        )
        for seed, epoch in enumerate((3, 3, 4, 5))
    ]  # fmt: skip
    found = collapse.collapse(write(tmp_path / "r", rows))
    assert [(row["prune_epoch"], row["trials"], row["collapsed"]) for row in found] == [
        (3, 2, 1), (4, 1, 0), (5, 1, 0)
    ]  # fmt: skip
    assert {row["safe_from"] for row in found} == {4}


def test_that_nothing_collapsed_is_as_certain_as_the_trials_of_one_arm(tmp_path):
    """Five seeds of twenty arms are not a hundred trials of one."""
    rows = [
        trial(f"{s}{seed}", sparsity=s / 100, seed=seed, test_accuracy=0.5, density=0.1, collapsed_layers=0)
        for s in range(50, 70) for seed in range(5)
    ]  # fmt: skip
    assert collapse.sentences(collapse.collapse(write(tmp_path / "r", rows))) == [
        "No trial of 100 collapsed (of 5 [0%, 43%] of one way at one sparsity and prune epoch)."
    ]


def test_a_share_of_none_begins_at_none_and_one_of_all_ends_at_all():
    """Not at some 1e-17."""
    assert [wilson(0, count)[0] for count in range(1, 30)] == [0.0] * 29
    assert [wilson(count, count)[1] for count in range(1, 30)] == [1.0] * 29


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
    [figure] = curves.charts(
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
    [heat] = regimes.chart(points, "lr").data
    assert heat.text.tolist() == [["0.505 ± 0.064"], ["0.505 ± 0.064"]]


TWINS = {
    f"{lr}{s}{seed}": {
        "lr": lr, "sparsity": s, "seed": seed, "test_accuracy": 0.9, "lmc_barrier": lr - s + seed / 10,
        "cka": 0.97 + seed / 50, "weight_distance": 1.0,
    }
    for lr in (0.1, 0.3) for s in (0.9, 0.99) for seed in (0, 1)
}  # fmt: skip


@pytest.mark.slow
def test_regimes_of_twins_have_their_own_bounds(tmp_path):
    """Barriers are negative and are not cut at 0; an alignment is cut at 1."""
    rows = [trial(name, **fields) for name, fields in TWINS.items()]
    rows.append(trial("without a twin", lr=0.1, sparsity=0.9, seed=2, test_accuracy=0.5))
    rows.append(trial("lost", lr=0.1, sparsity=0.9, seed=3, status="diverged", lmc_barrier=7.0))
    connection = write(tmp_path / "r", rows)
    found = regimes.answer(connection, "sparsity", "lr", regimes.Of.LMC_BARRIER)
    low, high = stats.ttest_1samp([-0.8, -0.7], 0).confidence_interval(0.95)
    assert found.rows[0]["lmc_barrier"] == pytest.approx(-0.75) and found.rows[0]["trials"] == 2
    assert found.rows[0]["half_width"] == pytest.approx((high - low) / 2)
    assert "test_accuracy" not in found.rows[0]
    [chart] = regimes.QUESTION.charts(found).values()
    assert chart.data[0].text[0][0] == "-0.75 ± 0.64" and chart.data[0].zmid == 0
    found = regimes.answer(connection, "sparsity", "lr", regimes.Of.CKA)
    [chart] = regimes.QUESTION.charts(found).values()
    assert chart.data[0].text[0][0] == "0.98 [0.85, 1.00]"
    plain = regimes.answer(connection, "sparsity", "lr")
    assert plain.rows[0]["trials"] == 3, "a question about accuracy is not narrowed to twins"


@pytest.mark.slow
def test_the_report_has_maps_of_twins_where_there_are_twins_and_shows_accuracy_first(tmp_path):
    rows = [trial(name, **fields) for name, fields in TWINS.items()]
    found = regimes.temperature_maps(write(tmp_path / "r", rows))
    name = "digits, conv-5, 2 epochs, pruned at epoch 0: snip"
    assert [*found] == [(f"{what}{name}", "lr") for what in ("lmc_barrier, ", "cka, ", "")]
    plain = [{**row, "lmc_barrier": None} for row in rows]
    assert [*regimes.temperature_maps(write(tmp_path / "plain", plain))] == [(name, "lr")]


def test_regimes_of_twins_need_a_twin(tmp_path):
    connection = write(tmp_path / "r", [trial("a", test_accuracy=0.5)])
    with pytest.raises(BadInput, match="--of cka: no pruned trial here has it: give the study a twin_seed"):
        regimes.answer(connection, of=regimes.Of.CKA)


@pytest.mark.slow
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
