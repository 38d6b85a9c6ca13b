import math

import pytest

import analysis
from analysis.crossover import compare, digits
from tests.analysis.conftest import trial


def test_means_and_crossovers_of_results_with_a_known_answer(made):
    [comparison] = compare(analysis.open(made))
    assert comparison.setting == "digits, conv-5, 2 epochs, pruned at epoch 0"
    assert str(comparison.means["snip"][0.98]) == "0.900 ± 0.025"  # t(2) · 0.01 / √3
    against = {crossover.baseline: crossover for crossover in comparison.crossovers}
    # From +.02 at .95 to -.02 at .98; -.005 is 5/8 of the way on log density.
    expected = 1 - math.exp(math.log(0.05) + 25 / 40 * (math.log(0.02) - math.log(0.05)))
    assert against["random erk"].at == pytest.approx(expected)
    assert str(against["random erk"]) == (
        "SNIP falls below random erk at sparsity 0.972 by interpolation (+0.020 ± 0.000 at 0.95, −0.020 ± 0.000 at 0.98), "
        "with 95 % confidence at 0.98, 0.99"
    )
    assert (
        str(against["random global"]) == "SNIP against random global: no crossover in the range 0.8 to 0.99"
    )


def test_only_finished_trials_count_and_settings_are_kept_apart(made, add):
    add(
        trial("f", criterion="snip", scope="global", sparsity=0.8, seed=9, status="failed"),
        trial("d", criterion="snip", scope="global", sparsity=0.8, seed=9, status="diverged"),
        trial("e", criterion="snip", scope="global", sparsity=0.8, seed=0, test_accuracy=0.2, prune_epoch=1),
    )
    early, late = compare(analysis.open(made))
    assert str(early.means["snip"][0.8]) == "0.970 ± 0.025 (2 lost)"
    assert (
        late.setting.endswith("pruned at epoch 1")
        and str(late.means["snip"][0.8]) == "0.200"
        and late.crossovers == []
    )


def test_differences_are_paired_by_seed(made, add):
    add(trial("s", criterion="snip", scope="global", sparsity=0.8, seed=7, test_accuracy=0.0))
    [comparison] = compare(analysis.open(made))
    [first, *_] = comparison.crossovers[0].differences
    assert first.value == pytest.approx(0.02), "seed 7 has no random trial to be compared with"


def test_trials_that_differ_in_anything_but_the_seed_are_never_averaged(made, add):
    snip = {"criterion": "snip", "scope": "global", "sparsity": 0.8, "seed": 0}
    add(trial("l", **snip, lr=0.3, test_accuracy=0.5), trial("b", **snip, score_batches=9, test_accuracy=0.6))
    add(trial("r", criterion="random", scope="erk", sparsity=0.8, seed=0, lr=0.3, test_accuracy=0.7))
    one, other = compare(analysis.open(made))
    assert [one.setting[-8:], other.setting[-8:]] == [", lr 0.1", ", lr 0.3"]
    assert str(one.means["snip score_batches=1"][0.8]) == "0.970 ± 0.025"
    assert str(one.means["snip score_batches=9"][0.8]) == "0.600"
    assert {name: str(means[0.8]) for name, means in other.means.items()} == {
        "snip": "0.500",
        "random erk": "0.700",
    }
    assert len(one.crossovers) == 4 and other.crossovers[0].differences[0].value == pytest.approx(-0.2)


def test_names_say_scope_and_iterations_where_they_matter(made, add):
    add(trial("a", criterion="force", iterations=20, scope="erk"), trial("b", criterion="magnitude"))
    [comparison] = compare(analysis.open(made))
    assert list(comparison.means) == ["force erk T=20", "magnitude", "random erk", "random global", "snip"]


def test_a_difference_within_its_interval_is_not_called_certain(made, add):
    """Two seeds on either side: the mean is below, but nobody can be sure."""
    for seed, accuracy in ((3, 0.5), (4, 0.99)):
        add(trial(f"r{seed}", criterion="random", scope="erk", sparsity=0.995, seed=seed, test_accuracy=0.8))
        add(trial(f"s{seed}", criterion="snip", sparsity=0.995, seed=seed, test_accuracy=accuracy))
    [comparison] = compare(analysis.open(made))
    [against] = [c for c in comparison.crossovers if c.baseline == "random erk"]
    assert str(against).endswith("with 95 % confidence at 0.98, 0.99")


def test_the_dense_network_stands_beside_every_prune_epoch(made, add):
    add(trial("d", criterion="dense", sparsity=0, seed=0, test_accuracy=0.98))
    add(trial("e", criterion="magnitude", prune_epoch=1, test_accuracy=0.9))
    early, late = compare(analysis.open(made))
    assert str(early.means["dense"][0]) == str(late.means["dense"][0]) == "0.980"


def test_results_from_before_a_field_existed_are_still_compared(made, add):
    old = trial("o", criterion="magnitude")
    add(old | {"config": old["config"].replace('"lr":0.1,', "")}, trial("n", criterion="magnitude", lr=0.3))
    assert len(compare(analysis.open(made))) == 3


def test_sparsities_are_written_with_the_digits_their_density_has():
    assert [digits(s) for s in (0.5, 0.98123, 0.9951, 0.99951)] == ["0.500", "0.981", "0.9951", "0.99951"]
