"""What one field changes if nothing else differs, of results whose answers are known."""

import json
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


def several(folder, arms):
    """The answer's connection for arms of some fields each, at one sparsity; an accuracy and six seeds each."""
    draws = np.random.default_rng(1)
    rows = []
    for index, (fields, accuracy) in enumerate(arms):
        for seed in SEEDS:
            row = trial(f"{index}-{seed}", seed=seed, test_accuracy=accuracy + float(draws.normal()) / 500)
            config = json.loads(row["config"]) | fields
            rows.append(row | {"config": json.dumps(config, sort_keys=True, separators=(",", ":"))})
            rows[-1]["criterion"] = config["criterion"]
    results.write(folder, rows, [[]], [[]])
    return analysis.open(folder)


def told(connection, field, base=None):
    return [
        (row["first"], row["second"], round(row["difference"], 2))
        for row in effect.rows(effect.answer(connection, field, base))
    ]


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


def test_the_chart_has_each_cell_with_its_interval(tmp_path, accuracies):
    answer = effect.answer(opened(tmp_path, accuracies), "lr")
    [chart] = effect.QUESTION.charts(answer).values()
    [dots] = chart.data
    assert dots.name == "0.01 against 0.1" and list(dots.y) == [
        "random global, 0.8", "random global, 0.9", "snip, 0.8", "snip, 0.9",
    ]  # fmt: skip
    for row, x, reach in zip(effect.rows(answer), dots.x, dots.error_x.array, strict=True):
        assert x == pytest.approx(row["difference"]) and reach == pytest.approx(
            row["high"] - row["difference"]
        )


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


GMP = {"criterion": "gmp"}


def test_a_parameter_at_its_default_is_not_taken_for_a_value_of_that_name(tmp_path):
    connection = several(
        tmp_path,
        [(GMP, 0.4), (GMP | {"criterion.grow": "none"}, 0.5), (GMP | {"criterion.grow": "momentum"}, 0.7)],
    )
    assert told(connection, "criterion.grow") == [
        ("default", "momentum", 0.3), ("default", "none", 0.1), ("momentum", "none", -0.2),
    ]  # fmt: skip


def test_parameters_of_a_part_are_in_its_value(tmp_path):
    drops = [(GMP | {"criterion.drop": name}, value) for name, value in (("magnitude", 0.5), ("taylor", 0.9))]
    connection = several(tmp_path, [({}, 0.7), *drops, (GMP, 0.6)])
    assert told(connection, "criterion", "snip") == [
        ("snip", "gmp", -0.1), ("snip", "gmp drop=magnitude", -0.2), ("snip", "gmp drop=taylor", 0.2),
    ]  # fmt: skip
    assert told(connection, "criterion", "gmp drop=taylor") == [
        ("gmp drop=taylor", "gmp", -0.3), ("gmp drop=taylor", "gmp drop=magnitude", -0.4),
        ("gmp drop=taylor", "snip", -0.2),
    ]  # fmt: skip


def test_fields_that_are_for_one_value_alone_are_in_it(tmp_path):
    lora = {"retrain": "lora"}
    connection = several(tmp_path, [({"retrain": "all"}, 0.5), (lora, 0.6), (lora | {"lora_rank": 4}, 0.7)])
    assert told(connection, "retrain", "all") == [("all", "lora", 0.1), ("all", "lora lora_rank=4", 0.2)]


def test_arms_without_a_partner_are_counted_with_what_else_differs(tmp_path):
    """A field that cannot matter for one of the values has its default there."""
    obs = {"compensate": "obs", "score_batches": 2}
    arms = [({}, 0.5), (obs, 0.6), ({"criterion": "wanda"}, 0.5), ({"criterion": "wanda", **obs}, 0.6)]
    with pytest.raises(BadInput, match="; the nearest also differ in score_batches"):
        effect.answer(several(tmp_path / "none", arms), "compensate")
    arms[3] = ({"criterion": "wanda", "compensate": "obs"}, 0.6)
    answer = effect.answer(several(tmp_path / "one", arms), "compensate")
    assert [one.arm for one in answer.effects] == ["wanda"]
    assert (
        effect.sentences(answer)[-1]
        == "2 arms are in no cell: the nearest arms also differ in criterion or score_batches"
    )


def test_arms_of_two_protocols_are_no_pair(tmp_path):
    arms = [
        ({"protocol": 2, "lr": 0.1}, 0.9),
        ({"protocol": 3, "lr": 0.1}, 0.6),
        ({"protocol": 3, "lr": 0.2}, 0.75),
    ]
    assert told(several(tmp_path / "a", arms), "lr") == [("0.1", "0.2", 0.15)]
    with pytest.raises(BadInput, match="the nearest also differ in protocol"):
        effect.answer(several(tmp_path / "b", [arms[0], arms[2]]), "lr")
    filters = {"structure": "filter"}
    arms = [({"protocol": 2}, 0.5), (filters | {"protocol": 2}, 0.6), (filters | {"protocol": 3}, 0.8)]
    assert told(several(tmp_path / "c", arms), "structure") == [("weight", "filter", 0.3)]


@pytest.mark.parametrize("base", ["0", "0.0", "0.00", "-0"])
def test_a_number_is_found_however_it_is_written(tmp_path, base):
    connection = several(tmp_path, [({"momentum": 0}, 0.5), ({"momentum": 0.9}, 0.6)])
    assert told(connection, "momentum", base) == [("0", "0.9", 0.1)]


def test_a_lost_run_is_taken_to_be_at_the_chance_of_its_own_data(tmp_path):
    connection = several(tmp_path, [({"dataset": "digits"}, 0.5), ({"dataset": "cifar100"}, 0.5)])
    [one] = effect.answer(connection, "dataset").effects
    assert one.guesses == (0.0, 0.0), "none was lost"
    rows = [
        trial(f"lost{n}", dataset=name, seed=9, status="failed")
        for n, name in enumerate(("digits", "cifar100"))
    ]
    results.write(tmp_path, rows, [[]], [[]])
    [one] = effect.answer(analysis.open(tmp_path), "dataset").effects
    guesses = {one.first: one.guesses[0], one.second: one.guesses[1]}
    assert guesses == pytest.approx({"digits": 0.1, "cifar100": 0.01})
    bound = {value: run for run, value in zip(one.guesses, (one.first, one.second), strict=True)}
    whole = [b - a for a, b in one.runs.values() if a is not None]
    assert one.paired.bound.value == pytest.approx(
        statistics.mean([*whole, bound[one.second] - bound[one.first]])
    )


def test_a_field_that_old_rows_lack_has_its_default(tmp_path):
    assert effect.value_of({}, "compensate") == "none" == effect.value_of({"compensate": None}, "compensate")
    assert effect.in_order("compensate", ["obs", "none", "bias"])[0] == "none"
    assert effect.in_order("lr", ["10.0", "9.0", "0.1"]) == ["0.1", "9.0", "10.0"]
