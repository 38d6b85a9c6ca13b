"""What one field changes if nothing else differs, of results whose answers are known."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.questions import effect
from sweep.errors import BadInput
from sweep.store import launches, results
from tests.analysis.conftest import trial

SEEDS, SPARSITIES, RATES = range(6), (0.8, 0.9), (0.1, 0.01)


@pytest.fixture
def accuracies():
    """By criterion, sparsity, rate and seed: a lower rate is 0.05 better for SNIP and the same for random."""
    random = np.random.default_rng(0)
    return {
        (criterion, sparsity, rate, seed): 0.7
        + (0.05 if (criterion, rate) == ("snip", 0.01) else 0)
        + float(random.normal()) / 200
        for criterion in ("snip", "random")
        for sparsity in SPARSITIES
        for rate in RATES
        for seed in SEEDS
    }


def opened(folder, accuracies, lost=(), **launch):
    rows = [
        trial(
            f"{key}", criterion=key[0], sparsity=key[1], lr=key[2], seed=key[3], test_accuracy=accuracy,
            status="failed" if key in lost else "ok",
        )
        for key, accuracy in accuracies.items()
    ]  # fmt: skip
    results.write(folder, rows, [[]], [[]])
    if launch:
        launches.note_launch(folder, "made", "", {"started_at": "2025-12-31T00:00:00+00:00", **launch})
    return analysis.open(folder)


def differences(accuracies, criterion, sparsity):
    return [
        accuracies[criterion, sparsity, 0.01, seed] - accuracies[criterion, sparsity, 0.1, seed]
        for seed in SEEDS
    ]


def test_each_cell_is_a_paired_test_corrected_over_all_cells(tmp_path, accuracies):
    found = effect.rows(effect.answer(opened(tmp_path, accuracies), "lr"))
    cells = [("random", 0.8), ("random", 0.9), ("snip", 0.8), ("snip", 0.9)]
    assert [(row["arm"].removesuffix(" global"), row["sparsity"]) for row in found] == cells
    plain = {}
    for row, cell in zip(found, cells, strict=True):
        of_cell = differences(accuracies, *cell)
        plain[cell] = stats.ttest_1samp(of_cell, 0)
        low, high = plain[cell].confidence_interval()
        assert (row["first"], row["second"], row["seeds"], row["lost"]) == ("0.1", "0.01", 6, 0)
        assert row["difference"] == pytest.approx(statistics.mean(of_cell))
        assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert [row["verdict"] for row in found] == ["not told apart"] * 2 + ["better"] * 2
    assert min(row["p_holm"] for row in found) == pytest.approx(4 * min(one.pvalue for one in plain.values()))


def test_the_mean_over_cells_is_tested_over_seeds(tmp_path, accuracies):
    [whole] = effect.answer(opened(tmp_path, accuracies), "lr").wholes
    by_seed = np.mean([differences(accuracies, c, s) for c in ("snip", "random") for s in SPARSITIES], axis=0)
    test = stats.ttest_1samp(by_seed, 0)
    low, high = test.confidence_interval()
    assert (whole.cells, whole.pairs, whole.seeds) == (4, 24, 6)
    assert whole.mean.value == pytest.approx(by_seed.mean()) and whole.p == pytest.approx(test.pvalue)
    assert (whole.mean.low, whole.mean.high) == pytest.approx((low, high))


def test_the_sentence_counts_cells_and_runs(tmp_path, accuracies):
    [said, caption] = effect.sentences(effect.answer(opened(tmp_path, accuracies), "lr"))
    assert said.startswith(
        "lr 0.01 against 0.1, 4 cells: better in 2, not told apart in 2; better in 20 of 24 pairs of runs; "
        "mean over the cells +0.02"
    )
    assert "(6 seeds, p < 0.001)" in said
    assert "hold at 5 % after Holm's correction for 4 tests" in caption


def test_base_puts_one_value_first_and_asks_no_other_pairs(tmp_path, accuracies):
    three = accuracies | {
        (c, s, 0.5, seed): value for (c, s, rate, seed), value in accuracies.items() if rate == 0.1
    }
    connection = opened(tmp_path, three)
    pairs = {(one.first, one.second) for one in effect.answer(connection, "lr").effects}
    assert pairs == {("0.1", "0.01"), ("0.1", "0.5"), ("0.01", "0.5")}
    pairs = {(one.first, one.second) for one in effect.answer(connection, "lr", base="0.5").effects}
    assert pairs == {("0.5", "0.1"), ("0.5", "0.01")}


def test_a_lost_run_takes_the_certainty_of_its_cell(tmp_path, accuracies):
    """At chance the lost run turns the sign: SNIP's gain at 0.8 is certain no more."""
    connection = opened(tmp_path, accuracies, lost={("snip", 0.8, 0.01, 3)})
    found = {(row["arm"], row["sparsity"]): row for row in effect.rows(effect.answer(connection, "lr"))}
    row = found["snip", 0.8]
    assert (row["seeds"], row["lost"], row["p_holm"], row["verdict"]) == (5, 1, 1.0, "not told apart")
    assert found["snip", 0.9]["verdict"] == "better"
    [whole] = effect.answer(connection, "lr").wholes
    assert (whole.pairs, whole.seeds) == (23, 5) and whole.p > 0.05
    assert (
        "without the lost runs and with them at chance"
        in effect.sentences(effect.answer(connection, "lr"))[-1]
    )


def test_an_unfinished_study_is_not_tested(tmp_path, accuracies):
    answer = effect.answer(opened(tmp_path, accuracies, trials=100, to_run=100), "lr")
    assert all(math.isnan(one.p) and one.verdict == "not tested" for one in answer.effects)
    assert math.isnan(answer.wholes[0].p)
    assert effect.sentences(answer)[-1].startswith("not tested: ")


@pytest.mark.parametrize(
    ("field", "base", "line"),
    [
        ("", None, r"which field\?: name a field that differs between arms: criterion, lr"),
        ("pace", None, "pace: name a field that differs between arms: criterion, lr"),
        ("seed", None, "seed: name a field that differs between arms: criterion, lr"),
        ("scope", None, "scope: no two arms differ in it alone; its values here: global"),
        ("lr", "7", "--base 7: no arm here has it; lr is one of: 0.1, 0.01"),
    ],
)
def test_what_cannot_be_asked_is_one_line(tmp_path, accuracies, field, base, line):
    with pytest.raises(BadInput, match=f"^{line}$"):
        effect.answer(opened(tmp_path, accuracies), field, base)


def test_a_field_that_old_rows_lack_has_its_default(tmp_path):
    assert effect.value_of({}, "compensate") == "none" == effect.value_of({"compensate": None}, "compensate")
    assert effect.in_order("compensate", ["obs", "none", "bias"])[0] == "none"
    assert effect.in_order("lr", ["10.0", "9.0", "0.1"]) == ["0.1", "9.0", "10.0"]
