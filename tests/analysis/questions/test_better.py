"""P(A > B), of runs with known answers."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

import analysis
from analysis.questions import better
from sweep.store import results
from tests.analysis.conftest import trial


def test_the_probability_is_mann_whitneys_with_ties_as_halves():
    random = np.random.default_rng(0)
    one, other = np.round(random.normal(0.5, 0.1, 7), 1), np.round(random.normal(0.5, 0.1, 5), 1)
    found, _ = better.unpaired(one, other)
    assert found.value == pytest.approx(stats.mannwhitneyu(one, other).statistic / 35)


def test_a_margin_counts_what_is_beyond_it_and_half_of_what_is_just_that():
    """Though 0.9 − 0.88 is not 0.02 in binary."""
    assert better.unpaired(np.array([0.9, 0.9]), np.array([0.88, 0.88]), 0.02)[0].value == 0.5
    assert better.unpaired(np.array([0.9, 0.9]), np.array([0.88, 0.87]), 0.02)[0].value == 0.75


def test_runs_that_do_not_overlap_are_as_certain_as_their_number_allows():
    for runs in (3, 5, 8):
        found, p = better.unpaired(np.arange(runs) + 100.0, np.arange(runs) + 0.0)
        low, _ = proportion_confint(runs, runs, method="wilson")
        assert (found.value, found.high) == (1, 1) and found.low == pytest.approx(low)
        assert p == pytest.approx(2 * stats.norm.sf(math.sqrt(runs)))
        nearly = np.arange(runs) + 100.0
        nearly[0] = runs - 1.5
        assert better.unpaired(nearly, np.arange(runs) + 0.0)[1] >= p


def test_the_interval_turns_with_the_sides_and_is_none_for_one_run():
    random = np.random.default_rng(0)
    one, other = random.normal(1, 1, 6), random.normal(0, 2, 9)
    (found, p), (turned, q) = better.unpaired(one, other), better.unpaired(other, one)
    assert (found.low, p) == (pytest.approx(1 - turned.high), pytest.approx(q))
    alone, p = better.unpaired(one[:1], other)
    assert alone.low is None and math.isnan(p)


def test_paired_runs_are_a_share_of_seeds():
    found = better.paired(np.array([0.1, 0.2, 0.0, -0.1]))
    assert found.value == pytest.approx(2.5 / 4)
    assert (found.low, found.high) == pytest.approx(proportion_confint(2.5, 4, method="beta"))
    assert better.paired(np.array([0.1])) == better.Estimate(1.0)


@pytest.fixture
def many(tmp_path):
    """Twelve seeds: SNIP far above at 0.8, the same at 0.9, far below at 0.95; one trial lost at 0.9."""
    random = np.random.default_rng(0)
    rows = [
        trial(
            f"{criterion}{sparsity}{seed}", criterion=criterion, sparsity=sparsity, seed=seed,
            test_accuracy=0.7 + (criterion == "snip") * above + random.normal() / 100,
            status="failed" if (criterion, sparsity, seed) == ("snip", 0.9, 0) else "ok",
        )
        for criterion in ("snip", "random") for sparsity, above in ((0.8, 0.1), (0.9, 0.0), (0.95, -0.1))
        for seed in range(12)
    ]  # fmt: skip
    results.write(tmp_path, rows, [[]], [[]])
    return analysis.open(tmp_path)


def test_better_worse_and_open_are_said_with_the_tests_made_and_the_trials_lost(many):
    found, over = better.probabilities(many)
    assert [one.verdict for one in found] == ["meaningfully better", "not told apart", "worse"]
    assert [(one.runs, one.others, one.pairs, one.lost) for one in found] == [
        (12, 12, 12, 0), (11, 12, 11, 1), (12, 12, 12, 0),
    ]  # fmt: skip
    said, caption = better.sentences(found, over)
    assert said.endswith(
        "snip against random global: meaningfully better at 0.8; not told apart at 0.9; worse at 0.95; 1 lost"
    )
    assert "for 3 tests" in caption and "one split" in caption and "one test set" in caption


def test_not_better_by_a_margin_is_not_worse(many):
    found, over = better.probabilities(many, margin=0.05)
    assert [one.verdict for one in found] == ["meaningfully better", *["not better by the margin"] * 2]
    assert "by more than 0.05" in better.sentences(found, over)[-1]


def test_a_criterion_whose_trials_were_all_lost_is_there_with_their_number(tmp_path):
    rows = [
        trial(f"{c}{seed}", criterion=c, seed=seed, test_accuracy=0.5, status="ok" if c == "snip" else "diverged")
        for c in ("snip", "random") for seed in range(3)
    ]  # fmt: skip
    results.write(tmp_path, rows, [[]], [[]])
    found, over = better.probabilities(analysis.open(tmp_path))
    assert [(one.probability, one.paired, one.lost) for one in found] == [(None, None, 3)]
    assert better.rows(found)[0]["probability"] is None
    said, caption = better.sentences(found, over)
    assert "no finished run of one of them at 0.9; 3 lost" in said and "Nothing is tested" in caption


def test_it_is_corrected_for_all_that_is_shown(many):
    found, _ = better.probabilities(many)
    single, _ = better.unpaired(np.arange(12) + 100.0, np.arange(12) + 0.0)
    assert single.value == found[0].probability.value == 1
    alone = 2 * stats.norm.sf(math.sqrt(12))
    assert sorted(one.p for one in found)[:2] == pytest.approx([3 * alone, 3 * alone])


@pytest.mark.parametrize(("lost", "verdict"), [(0, "meaningfully better"), (5, "not told apart")])
def test_what_lost_runs_could_turn_is_not_told_apart(lost, verdict, tmp_path):
    rows = [
        trial(
            f"{c}{seed}", criterion=c, seed=seed, test_accuracy=0.7 + (c == "snip") / 10 + seed / 1000,
            status="failed" if c == "snip" and seed < lost else "ok",
        )
        for c in ("snip", "random") for seed in range(10)
    ]  # fmt: skip
    results.write(tmp_path, rows, [[]], [[]])
    found, over = better.probabilities(analysis.open(tmp_path))
    assert [(one.probability.value, one.verdict) for one in found] == [(1, verdict)]
    said = better.sentences(found, over)[-1]
    assert ("without the lost runs and with them at chance" in said) == bool(lost)


def test_the_runs_of_the_larger_arm_say_nothing_of_the_spread_of_the_smaller():
    """Five runs against twenty are held to what five against five can say."""
    few, many = np.array([12, 14, 16, 18, 14]) - 0.5, np.arange(20.0)
    found, p = better.unpaired(few, many)
    size = 25 / (1 + 4 * 0.26 / 1.26 + 4 * 0.74 / 1.74)  # method 5
    assert found.value == pytest.approx(0.74)
    assert p == pytest.approx(2 * stats.norm.sf(0.24 * 2 * math.sqrt(size)))
