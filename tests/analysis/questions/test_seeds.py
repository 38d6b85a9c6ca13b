"""How many seeds a difference needs."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

import analysis
from analysis.questions import seeds
from sweep.store import results
from tests.analysis.conftest import trial


@pytest.mark.parametrize("effect", [0.1, 0.5, 1.0, 3.0])
def test_the_seeds_needed_are_statsmodels_rounded_up(effect):
    [found] = seeds.needed(np.array([effect]), np.array([0.05 / 6]))
    assert found == math.ceil(TTestPower().solve_power(effect, power=0.8, alpha=0.05 / 6))


def test_effects_of_any_size_have_an_answer():
    found = seeds.needed(np.array([1e-4, 5.0, 40.0, 1e4]), np.full(4, 0.05))
    assert found[0] == pytest.approx((1.959964 + 0.841621) ** 2 / 1e-8, rel=1e-3) and list(found[-2:]) == [
        2,
        2,
    ]


def test_the_upper_deviation_is_a_chi_square_limit():
    [found] = seeds.upper(np.array([0.02]), np.array([5]))
    assert found == pytest.approx(0.02 * math.sqrt(4 / stats.chi2.ppf(0.2, 4)))


def test_each_pair_and_sparsity_says_what_it_needs(made):
    found = seeds.seeds_needed(analysis.open(made), "snip", "random:erk", difference=0.001)
    assert [row["sparsity"] for row in found] == [0.8, 0.9, 0.95, 0.98, 0.99]
    deviation = np.std([0.0005, -0.001, 0.0005], ddof=1)
    for row in found:
        assert row["deviation"] == pytest.approx(deviation) and row["level"] == pytest.approx(0.05 / 5)
        assert row["needed"] == seeds.needed(np.array([0.001 / deviation]), np.array([0.01]))[0]
        assert row["needed_upper"] > row["needed"]
    said, assumed = seeds.sentences(found)
    assert f"{found[0]['needed']} seeds find a difference of 0.001" in said and "3 seeds do not know" in said
    assert "80 %" in assumed and "normal" in assumed


def test_lost_trials_are_counted(made, add):
    add(trial("lost", criterion="snip", sparsity=0.9, seed=3, status="failed"))
    found = seeds.seeds_needed(analysis.open(made), "snip", "random:erk")
    assert [row["lost"] for row in found] == [0, 1, 0, 0, 0] and seeds.sentences(found)[0].endswith(
        "; 1 lost"
    )


def test_where_no_spread_is_seen_nothing_is_said_of_seeds(tmp_path):
    rows = [
        trial(f"{c}{s}{seed}", criterion=c, sparsity=s, seed=seed, test_accuracy=0.1)
        for c in ("snip", "random") for s, count in ((0.8, 1), (0.99, 3)) for seed in range(count)
    ]  # fmt: skip
    results.write(tmp_path, rows, [[]], [[]])
    found = seeds.seeds_needed(analysis.open(tmp_path))
    assert [(row["seeds"], row["needed"], row["needed_upper"]) for row in found] == [
        (1, None, None),
        (3, None, None),
    ]
    assert seeds.sentences(found)[0].endswith("no spread to go by at 0.8, 0.99")
