"""Variance by source, of accuracies with known answers."""

import csv
import io
import json
import math

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.questions import variance
from sweep.errors import BadInput
from sweep.store import results
from tests.analysis.conftest import trial
from tests.analysis.test_commands import run

WHOLE = {"split_seed": "seed"}
ONE = {
    "initialization": {"order_seed": 0, "mask_seed": 0},
    "data order": {"init_seed": 0, "mask_seed": 0},
    "masks": {"init_seed": 0, "order_seed": 0},
    "split": {"init_seed": 0, "order_seed": 0, "mask_seed": 0, "split_seed": "seed"},
}


def runs(held, accuracies, **fields):
    """Trials of an arm that holds some streams; what follows the seed is not in its config."""
    found = []
    for seed, accuracy in enumerate(accuracies):
        row = trial(f"{held}{fields}{seed}", seed=seed, test_accuracy=accuracy, **fields)
        config = json.loads(row["config"]) | held
        found.append(row | {"config": json.dumps(config, sort_keys=True, separators=(",", ":"))})
    return found


def opened(tmp_path, *rows):
    results.write(tmp_path, [one for some in rows for one in some], [[]], [[]])
    return analysis.open(tmp_path)


def test_each_source_has_its_deviation_and_its_share_of_the_whole(tmp_path):
    random = np.random.default_rng(0)
    whole = 0.5 + random.normal(size=10) / 10
    rows = [runs(held, 0.5 + (whole - 0.5) / 2) for held in ONE.values()]
    found = variance.spreads(opened(tmp_path, runs(WHOLE, whole), *rows))
    assert found[0].moved == ("initialization", "data order", "masks", "split") and found[0].ratio is None
    assert found[0].deviation.value == pytest.approx(whole.std(ddof=1))
    assert {one.moved for one in found[1:]} == {(name,) for name in ONE}
    for one in found[1:]:
        assert one.deviation.value == pytest.approx(whole.std(ddof=1) / 2)
    # What holds the split at 0 is a part of what holds nothing else.
    assert all(
        one.reference == found[0].moved and one.ratio.value == pytest.approx(0.25) for one in found[1:]
    )
    said = variance.sentences(found)
    assert "initialization alone moved (order_seed=0, mask_seed=0, split_seed=0 held)" in " ".join(said)
    assert "one test set" in said[-1] and "nothing is tested" in said[-1]


def test_the_whole_is_what_moves_most_with_the_same_held_alike(tmp_path):
    """Without a split that moves, that is all but the split; what is held at another value is no part of it."""
    rows = [{}, ONE["masks"], ONE["masks"] | {"split_seed": 7}]
    accuracies = [0.5, 0.6, 0.8, 0.7]
    found = variance.spreads(opened(tmp_path, *(runs(held, accuracies) for held in rows)))
    assert [(one.held[-1], one.reference) for one in found] == [
        ("split_seed=0", None),
        ("split_seed=0", ("initialization", "data order", "masks")),
        ("split_seed=7", None),
    ]


def test_null_is_a_stream_that_follows_the_seed(tmp_path):
    nulls = {"init_seed": None, "order_seed": None, "mask_seed": None}
    found = variance.spreads(opened(tmp_path, runs(nulls, [0.1, 0.2]), runs(ONE["masks"], [0.1, 0.2])))
    assert found[0].moved == ("initialization", "data order", "masks")


@pytest.mark.slow
def test_arms_that_differ_in_anything_else_are_apart(tmp_path):
    rows = [runs(held, [0.1, 0.2, 0.4], lr=lr) for held in ({}, ONE["masks"]) for lr in (0.1, 0.3)]
    found = variance.spreads(opened(tmp_path, *rows))
    assert len(found) == 4 and len({one.setting for one in found}) == 2
    # What holds nothing and is compared with nothing is left out.
    alone = opened(tmp_path, runs({}, [0.3, 0.2, 0.4], lr=0.5))
    assert len(variance.spreads(alone)) == 4


def test_the_interval_is_bonetts_and_below_five_runs_that_of_normal_ones():
    values = np.random.default_rng(0).normal(size=4)
    found = variance.standard_deviation(values)
    ends = [math.sqrt(3 / stats.chi2.ppf(q, 3)) * values.std(ddof=1) for q in (0.975, 0.025)]
    assert (found.low, found.high) == pytest.approx(ends)
    # Bonett (2006), written out.
    values = np.array([15.83, 16.01, 16.24, 16.42, 15.33, 15.44, 16.88, 16.31])
    n, centre = 8, stats.trim_mean(values, 1 / (2 * math.sqrt(4)))
    kurtosis = n * ((values - centre) ** 4).sum() / ((n - 1) * values.var(ddof=1)) ** 2
    c = n / (n - 1.959964)
    error = c * math.sqrt((kurtosis - (n - 3) / n) / (n - 1))
    ends = [
        math.sqrt(math.exp(math.log(c * values.var(ddof=1)) + sign * 1.959964 * error)) for sign in (-1, 1)
    ]
    found = variance.standard_deviation(values)
    assert (found.low, found.high) == pytest.approx(ends)


def test_ties_have_no_interval_and_a_whole_of_ties_no_ratio(tmp_path):
    found = variance.spreads(
        opened(tmp_path, runs({}, [0.1] * 5), runs(ONE["masks"], [0.1, 0.2, 0.3, 0.1, 0.2]))
    )
    assert (found[0].deviation.value, found[0].deviation.low) == (0, None) and found[1].ratio is None


def test_one_run_and_lost_ones_are_said(tmp_path):
    rows = runs({}, [0.1, 0.2]), runs(ONE["masks"], [0.5, math.nan])
    said = variance.sentences(variance.spreads(opened(tmp_path, *rows)))
    assert said[1].endswith("1 finished run, no standard deviation; 1 lost")


@pytest.mark.slow
def test_where_nothing_is_held_the_command_says_in_a_line_what_to_run(made, tmp_path):
    with pytest.raises(BadInput, match="order_seed: 0"):
        variance.spreads(analysis.open(made))
    answer = run("variance", "--results", made)
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1
    opened(tmp_path, runs({}, [0.1, 0.2]), runs(ONE["masks"], [0.5, 0.7]))
    answer = run("variance", "--results", tmp_path, "--format", "csv")
    assert [row["moved"] for row in csv.DictReader(io.StringIO(answer.stdout))] == [
        "initialization, data order, masks", "masks",
    ]  # fmt: skip
