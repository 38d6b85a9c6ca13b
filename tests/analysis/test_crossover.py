import math

import numpy as np
import pytest

import analysis
from analysis.crossover import Crossover, compare, cross, digits
from analysis.labels import AFTER_DENSE
from sweep import config
from tests.analysis.conftest import trial

SPARSITIES = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995]
LOGS = np.log(1 - np.array(SPARSITIES))


def by_seed(values):
    """seeds × sparsities → for each sparsity, seed → difference."""
    return [dict(enumerate(column)) for column in np.asarray(values).T]


def noise(random, seeds):
    """What is common to a seed, and what is not."""
    return 0.02 * (random.normal(size=(seeds, 1)) / 2 + random.normal(size=(seeds, len(SPARSITIES))))


@pytest.mark.parametrize("seeds", [5, 20])
def test_a_planted_crossover_is_inside_its_interval(seeds):
    random = np.random.default_rng(seeds)
    truth = 0.985
    slope = (LOGS - math.log(1 - truth)) * 0.2 / math.sqrt(seeds)
    decided = inside = 0
    for _ in range(100):
        _, crossings = cross(SPARSITIES, by_seed(slope + noise(random, seeds)))
        if crossings:
            decided += 1
            last = crossings[-1]
            inside += (last.low or 0) <= truth <= (last.high or 1)
    assert decided >= 99 and inside >= 92, (decided, inside)


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_identical_criteria_are_undecided(seeds):
    random = np.random.default_rng(seeds)
    undecided = 0
    for _ in range(100):
        differences, crossings = cross(SPARSITIES, by_seed(noise(random, seeds)))
        undecided += Crossover("a", "b", differences, crossings).verdict == "undecided"
    assert undecided >= 90


def said(values):
    differences, crossings = cross(SPARSITIES, by_seed(values))
    crossover = Crossover("snip", "random erk", differences, crossings)
    return crossover.verdict, str(crossover)


def test_every_answer_has_its_words():
    spread = np.linspace(-0.001, 0.001, 9)[:, None]
    ones = np.ones(6)
    assert said(0.1 * ones + spread) == (
        "no crossover", "SNIP against random erk: no crossover: above from 0.8 to 0.995",
    )  # fmt: skip
    verdict, text = said(np.array([0.1, 0.1, 0.1, -0.1, -0.1, 0.1]) + spread)
    assert verdict == "several" and "falls below" in text and "and rises above random erk at 0.9929 [" in text
    verdict, text = said(100 * spread * [1, -1, 1, -1, 1, -1])
    assert (verdict, text) == (
        "undecided",
        "SNIP against random erk: undecided; intervals overlap from 0.8 to 0.995",
    )
    verdict, text = said(spread * 100 * [1, 1, 1, 0.01, 0.01, 0.01] + [0.01, 0.01, 0.01, -0.1, -0.1, -0.1])
    assert verdict == "crossover" and text.startswith("SNIP falls below random erk at 0.95")
    assert text.endswith("certainly below at 0.98, 0.99, 0.995; intervals overlap from 0.8 to 0.95")
    verdict, text = said(np.array([[0.1, 0.1, 0.1, -0.1, -0.1, -0.1]]))
    assert verdict == "undecided" and text.endswith("one seed has no interval")


def test_the_crossing_is_interpolated_on_log_density_and_its_interval_is_fiellers():
    """Two sparsities: the interval's ends are where Student's interval of the interpolated values touches 0."""
    values = np.array([[0.2, -0.1], [0.25, -0.14], [0.22, -0.17], [0.19, -0.12]])
    _, [crossing] = cross([0.9, 0.99], by_seed(values))

    def touches(sparsity):
        weight = (math.log(0.1) - math.log(1 - sparsity)) / math.log(10)
        mixed = (1 - weight) * values[:, 0] + weight * values[:, 1]
        return abs(mixed.mean()) / (mixed.std(ddof=1) / 2) - 3.182446

    mean = values.mean(0)
    assert crossing.at == pytest.approx(1 - 0.1 * 10 ** -(mean[0] / (mean[0] - mean[1])))
    assert crossing.low < crossing.at < crossing.high
    assert touches(crossing.low) == pytest.approx(0, abs=0.05) == touches(crossing.high)


@pytest.mark.parametrize("spread", [0.02, 0.002, 0.0002])
def test_the_interval_of_a_steep_crossing_is_around_it(spread):
    """Narrower than a step of the grid on which it is looked for."""
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        ends = np.array([random.uniform(0.1, 0.5), -random.uniform(0.1, 0.5)])
        truth = 1 - 0.1 * 10 ** -(ends[0] / (ends[0] - ends[1]))
        _, [crossing] = cross([0.9, 0.99], by_seed(ends + spread * random.normal(size=(5, 2))))
        assert crossing.low <= crossing.at <= crossing.high
        inside += crossing.low <= truth <= crossing.high
    assert inside >= 90


@pytest.mark.parametrize("shared", [(), (9,)])
def test_a_change_of_sign_that_no_seed_saw_is_a_crossing_between_the_two_sparsities(shared):
    """One that both have and that does not show it is no better."""
    early = {seed: 0.1 + seed / 1000 for seed in (0, 1, 2, 3, 4, *shared)}
    late = {seed: -0.1 - seed / 1000 for seed in (5, 6, 7, 8)} | dict.fromkeys(shared, 0.01)
    late |= {10: -0.2, 11: -0.2} if shared else {}
    differences, [crossing] = cross([0.9, 0.95], [early, late])
    assert [d.sign for d in differences] == [1, -1] and crossing.falls
    assert (crossing.low, crossing.high) == (0.9, 0.95) and 0.9 < crossing.at < 0.95
    assert Crossover("snip", "random erk", differences, [crossing]).verdict == "crossover"


def test_what_only_the_correction_leaves_open_is_not_said_to_overlap():
    spread = np.array([-1, -0.5, 0, 0.5, 1])[:, None] * [0.1, 0.1, 0.1, 0.1, 0.1, 0.01]
    _, text = said(spread + np.array([0, 0, 0, 0, 0.11, 0.1]))
    assert "intervals overlap from 0.8 to 0.98; not certain after Holm's correction at 0.99" in text


def test_a_sparsity_that_few_seeds_have_is_compared_over_those():
    spread = np.linspace(-0.01, 0.01, 6)
    columns = [
        {s: 0.1 + x for s, x in enumerate(spread)},
        {s: -0.1 - x for s, x in enumerate(spread) if s < 3},
    ]
    differences, [crossing] = cross([0.9, 0.99], columns)
    assert [d.seeds for d in differences] == [6, 3] and 0.9 < crossing.at < 0.99


def test_means_and_crossovers_of_results_with_a_known_answer(made):
    [comparison] = compare(analysis.open(made))
    assert comparison.setting == "digits, conv-5, 2 epochs, pruned at epoch 0"
    assert str(comparison.means["snip"][0.98]) == "0.900 ± 0.025"  # t(2) · 0.01 / √3
    against = {crossover.second: crossover for crossover in comparison.crossovers}
    # From +.02 at .95 to −.02 at .98: half way on log density.
    assert against["random erk"].at == pytest.approx(1 - math.sqrt(0.05 * 0.02))
    assert str(against["random erk"]) == "SNIP falls below random erk at 0.968 [0.967, 0.970]"
    assert against["random global"].verdict == "no crossover"


def test_any_two_criteria_and_scopes_can_be_compared(made):
    [comparison] = compare(analysis.open(made), "random:erk", "random:global")
    [crossover] = comparison.crossovers
    assert (crossover.first, crossover.second) == ("random erk", "random global")
    assert [d.mean.value for d in crossover.differences] == pytest.approx([0.05, 0.14, 0.23, 0.62, 0.8])


def test_only_finished_trials_count_and_settings_are_kept_apart(made, add):
    snip = {"criterion": "snip", "scope": "global", "sparsity": 0.8}
    add(
        trial("f", **snip, seed=9, status="failed"),
        trial("d", **snip, seed=9, status="diverged", split_seed=0),
        trial("n", **snip, seed=10, test_accuracy=math.nan),
        trial("e", **snip, seed=0, test_accuracy=0.2, prune_epoch=1),
    )
    early, late = compare(analysis.open(made))
    assert str(early.means["snip"][0.8]) == "0.970 ± 0.025 (3 lost)"
    assert late.setting.endswith("pruned at epoch 1")
    assert str(late.means["snip"][0.8]) == "0.200" and late.crossovers == []


def test_differences_are_paired_by_seed(made, add):
    add(trial("s", criterion="snip", scope="global", sparsity=0.8, seed=7, test_accuracy=0.0))
    [comparison] = compare(analysis.open(made))
    [first, *_] = comparison.crossovers[0].differences
    assert first.mean.value == pytest.approx(0.02), "seed 7 has no random trial to be compared with"


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
    assert len(one.crossovers) == 4
    assert other.crossovers[0].differences[0].mean.value == pytest.approx(-0.2)


def test_names_say_scope_and_iterations_where_they_matter(made, add):
    add(
        trial("a", criterion="force", iterations=20, scope="erk", test_accuracy=0.1),
        trial("b", criterion="magnitude", test_accuracy=0.1),
    )
    [comparison] = compare(analysis.open(made))
    assert sorted(comparison.means) == ["force erk T=20", "magnitude", "random erk", "random global", "snip"]


def test_the_dense_network_stands_beside_every_prune_epoch(made, add):
    add(trial("d", criterion="dense", sparsity=0, seed=0, test_accuracy=0.98))
    add(trial("e", criterion="magnitude", prune_epoch=1, test_accuracy=0.9))
    early, late = compare(analysis.open(made))
    assert str(early.means["dense"][0]) == str(late.means["dense"][0]) == "0.980"


def test_a_dense_network_trained_otherwise_is_not_the_one_beside_the_pruned(made, add):
    for lr, accuracy in ((0.1, 0.99), (0.3, 0.5), (0.01, 0.7)):
        add(trial(f"d{lr}", criterion="dense", sparsity=0, lr=lr, test_accuracy=accuracy))
    found = {comparison.setting: comparison.means for comparison in compare(analysis.open(made))}
    dense = {setting.rpartition("lr ")[2]: str(means["dense"][0]) for setting, means in found.items()}
    assert dense == {"0.1": "0.990", "0.3": "0.500", "0.01": "0.700"}
    assert [len(means) for means in found.values()].count(4) == 1


def test_a_dense_network_depends_on_what_its_training_does():
    assert {*AFTER_DENSE, "sparsity"} == {*config._AFTER_DENSE}


def test_results_from_before_a_field_existed_are_still_compared(made, add):
    old = trial("o", criterion="magnitude", test_accuracy=0.5)
    add(old | {"config": old["config"].replace('"lr":0.1,', "")}, trial("n", criterion="magnitude", lr=0.3))
    assert len(compare(analysis.open(made))) == 3


def test_sparsities_are_written_with_the_digits_their_density_has():
    assert [digits(s) for s in (0.5, 0.98123, 0.9951, 0.99951)] == ["0.500", "0.981", "0.9951", "0.99951"]
