import math

import pytest

import analysis
from analysis.crossover import compare, label
from tests.analysis.conftest import trial


def test_means_and_crossovers_of_results_with_a_known_answer(made):
    [comparison] = compare(analysis.open(made))
    assert str(comparison.setting) == "digits, conv-5, 2 epochs, pruned at epoch 0"
    assert str(comparison.means["snip"][0.98]) == "0.900 ± 0.025"  # t(2) · 0.01 / √3
    against = {crossover.baseline: crossover for crossover in comparison.crossovers}
    # From +.02 at .95 to -.02 at .98; -.005 is 5/8 of the way on log density.
    expected = 1 - math.exp(math.log(0.05) + 25 / 40 * (math.log(0.02) - math.log(0.05)))
    assert against["random erk"].at == pytest.approx(expected)
    assert str(against["random erk"]) == (
        "SNIP falls below random erk at sparsity 0.972 (difference +0.020 ± 0.000 at 0.95, -0.020 ± 0.000 at 0.98)"
    )
    assert (
        str(against["random global"]) == "SNIP against random global: no crossover in the range 0.8 to 0.99"
    )


def test_only_finished_trials_count_and_settings_are_kept_apart(made, add):
    add(
        trial("f", criterion="snip", scope="global", sparsity=0.8, seed=9, status="failed"),
        trial("d", criterion="snip", scope="global", sparsity=0.8, seed=9, status="diverged"),
        trial(
            "e", criterion="snip", scope="global", sparsity=0.8, seed=0, test_accuracy=0.2, prune_epoch=1.0
        ),
    )
    early, late = compare(analysis.open(made))
    assert str(early.means["snip"][0.8]) == "0.970 ± 0.025"
    assert late.setting.prune_epoch == 1 and str(late.means["snip"][0.8]) == "0.200" and late.crossovers == []


def test_differences_are_paired_by_seed(made, add):
    add(trial("s", criterion="snip", scope="global", sparsity=0.8, seed=7, test_accuracy=0.0))
    [comparison] = compare(analysis.open(made))
    [first, *_] = comparison.crossovers[0].differences
    assert first.value == pytest.approx(0.02), "seed 7 has no random trial to be compared with"


def test_labels_say_what_differs():
    assert [label("snip", "global", 1), label("random", "erk", 1), label("force", "erk", 20)] == [
        "snip",
        "random erk",
        "force erk T=20",
    ]
