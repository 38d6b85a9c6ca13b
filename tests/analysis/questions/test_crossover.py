import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analysis
from analysis.questions.crossover import Comparison, chart, compare, note, rows
from analysis.questions.verdict import Crossover, digits
from analysis.statistics.crossings import decide
from analysis.statistics.differences import paired
from analysis.warehouse import NO_PAIR
from sweep.means import Mean
from sweep.store import results
from tests.analysis.conftest import trial

SPARSITIES = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995]
# Differences of nine seeds around their mean.
SPREAD = np.linspace(-0.001, 0.001, 9)[:, None]


def pair(values, sparsities=SPARSITIES, first="snip", second="random erk", **how):
    """Of differences, seeds × sparsities."""
    [differences] = decide([(sparsities, [paired(list(column)) for column in np.asarray(values).T], True)])
    return Crossover(first, second, differences, **how)


def test_between_opposite_certain_signs_lies_a_crossing_and_the_bracket_is_its_interval():
    found = pair(np.array([0.1, 0.1, 0.1, -0.1, -0.1, -0.1]) + SPREAD)
    [crossing] = found.crossings
    assert found.verdict == "crossover" and crossing.falls
    assert (crossing.low, crossing.high, str(crossing)) == (0.95, 0.98, "[0.95, 0.98]")
    half_way = 1 - math.sqrt(0.05 * 0.02)  # on log density
    assert crossing.at == pytest.approx(half_way) and crossing.next == pytest.approx(half_way)
    assert str(found) == (
        "snip against random erk: certainly above at 0.95 and certainly below at 0.98: they cross in between "
        "(the means at about 0.968; run 0.968 next)"
    )


def test_open_sparsities_widen_the_bracket_and_the_next_one_is_where_the_means_cross():
    values = SPREAD * [1, 1, 100, 100, 1, 1] + [0.1, 0.1, 0.01, -0.01, -0.1, -0.1]
    [crossing] = pair(values).crossings
    assert (crossing.low, crossing.high) == (0.9, 0.99)
    assert 0.95 < crossing.next < 0.98 and "not certain at 0.95, 0.98" in str(pair(values))


def test_one_certain_sign_and_a_mean_on_the_other_side_are_no_crossing():
    """The mean may be on the other side by chance alone, however many sparsities it is."""
    found = pair(SPREAD * 100 * [1, 1, 1, 0.01, 0.01, 0.01] + [0.01, 0.01, 0.01, -0.1, -0.1, -0.1])
    assert (found.verdict, found.crossings) == ("undecided", [])
    assert str(found) == (
        "snip against random erk: undecided: certainly below from 0.98 on; where that begins is open: "
        "more seeds at 0.95 come next; not certain at 0.8, 0.9, 0.95"
    )
    other = pair(SPREAD * 100 * [0.01, 0.01, 1, 1, 1, 1] + [0.1, 0.1, 0, 0, 0, 0])
    assert "certainly above up to 0.9; where that ends is open: more seeds at 0.95 come next" in str(other)


def test_every_other_answer_has_its_words():
    assert str(pair(0.1 + SPREAD * np.ones(6))) == (
        "snip against random erk: no crossover: certainly above at all 6 sparsities tested (0.8 to 0.995)"
    )
    assert str(pair(-0.1 + SPREAD, [0.9])).endswith("certainly below at 0.9, the one sparsity tested")
    several = pair(np.array([0.1, 0.1, 0.1, -0.1, -0.1, 0.1]) + SPREAD)
    assert several.verdict == "several" and [c.falls for c in several.crossings] == [True, False]
    assert "certainly below at 0.99 and certainly above at 0.995" in str(several)
    nothing = pair(100 * SPREAD * [1, -1, 1, -1, 1, -1])
    assert (nothing.verdict, str(nothing).partition(": ")[2]) == (
        "undecided", "undecided: no difference is certain at 0.8, 0.9, 0.95, 0.98, 0.99, 0.995",
    )  # fmt: skip
    single = pair(np.array([[0.1, 0.1, 0.1, -0.1, -0.1, -0.1]]))
    assert single.verdict == "undecided" and "one seed has no interval at 0.8" in str(single)
    [lost] = decide([([0.8], [paired([], [(None, 0.9), (None, 0.9)], 0.1)], True)])
    assert str(Crossover("a", "b", lost)) == (
        "a against b: undecided: no seed finished in both at 0.8; lost runs: 2 of a"
    )
    middle = pair(SPREAD * 100 * [1, 1, 0.01, 1, 1, 1] + [0, 0, 0.1, 0, 0, 0])
    assert "undecided: certainly above at 0.95; not certain at 0.8" in str(middle)


def test_no_seed_need_be_on_both_sides_of_a_crossing():
    early = paired([0.1, 0.101, 0.102, 0.103, 0.104])
    late = paired([-0.1, -0.101, -0.103, -0.102])
    [differences] = decide([([0.9, 0.95], [early, late], True)])
    assert [(c.low, c.high) for c in Crossover("a", "b", differences).crossings] == [(0.9, 0.95)]


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(0, 0.2))
def test_a_crossing_is_inside_its_bracket_and_the_bracket_has_certain_ends(seed, seeds, size):
    """Whatever the numbers are."""
    random = np.random.default_rng(seed)
    found = pair(size * random.normal(size=6) + 0.02 * random.normal(size=(seeds, 6)))
    signs = {d.sparsity: d.sign for d in found.differences}
    for crossing in found.crossings:
        assert crossing.low < crossing.at < crossing.high and crossing.low < crossing.next < crossing.high
        assert (signs[crossing.low], signs[crossing.high]) == ((1, -1) if crossing.falls else (-1, 1))
    assert str(found) and (found.verdict in ("crossover", "several")) == bool(found.crossings)


def test_holms_correction_goes_over_all_pairs_of_the_answer():
    values = [paired([0.02, 0.03, 0.025, 0.028, 0.031])]
    [[alone]] = decide([([0.9], values, True)])
    many = decide([([0.9], values, True), *[([0.9], [paired([0.01, -0.01, 0.02, -0.02])], True)] * 400])
    assert alone.sign == 1 and many[0][0].sign == 0 and many[0][0].p == pytest.approx(401 * alone.p)


def test_a_study_that_still_runs_claims_no_certainty():
    [differences] = decide([([0.9, 0.95], [paired([0.1, 0.101, 0.102]), paired([-0.1, -0.101])], False)])
    found = Crossover("snip", "random erk", differences, unfinished="50 of 80 trials of quick")
    assert (found.verdict, found.crossings) == ("provisional", [])
    assert str(found) == (
        "snip against random erk: provisional, 50 of 80 trials of quick: nothing is certain before all have a "
        "result; so far mean above at 0.9, mean below at 0.95"
    )


def test_lost_and_fallen_runs_are_in_the_sentence():
    [differences] = decide(
        [([0.9], [paired([0.1, 0.101, 0.102, 0.1, 0.103], [(None, 0.9), (0.9, None)], 0.1)], True)]
    )
    text = str(Crossover("snip", "random erk", differences, ((2, 7), (0, 6))))
    assert "; lost runs: 1 of snip and 1 of random erk; far from" in text
    assert "; far from the median of their seeds: 2 of 7 runs of snip [8%, 64%]" in text
    [certain] = decide([([0.9], [paired([0.1, 0.101, 0.102, 0.1, 0.103], [(0.2, None)], 0.1)], True)])
    text = str(Crossover("snip", "random erk", certain))
    assert text.endswith("; lost runs: 1 of random erk (what is certain is so with them at chance too)")


def test_a_chart_has_the_bracket_of_every_crossing():
    found = Comparison("digits", "random")
    found.means = {"snip": {s: Mean(0.9, 0.01) for s in SPARSITIES}}
    found.crossovers = [pair(np.array([0.1, 0.1, 0.1, -0.1, -0.1, 0.1]) + SPREAD)]
    layout = chart(found, ["snip"]).layout
    assert [(round(1 - s.x0, 4), round(1 - s.x1, 4)) for s in layout.shapes] == [(0.95, 0.98), (0.99, 0.995)]
    # Its words stay within the chart.
    found.crossovers = [pair(np.array([0.1, -0.1, -0.1, -0.1, -0.1, 0.1]) + SPREAD)]
    words = chart(found, ["snip"]).layout.annotations
    assert [(one.xanchor, round(1 - 10**one.x, 4)) for one in words] == [("left", 0.8), ("right", 0.995)]


@pytest.mark.slow
def test_where_nothing_is_tested_the_note_says_so_and_files_have_no_number(made, add):
    add(*[trial(f"f-{s}", criterion="force", sparsity=0.9, seed=s, status="failed") for s in range(3)])
    connection = analysis.open(made)
    found = compare(connection, "force", "random:erk")
    assert "No difference is tested" in note(found) and "Holm" not in note(found)
    assert [(row["difference"], row["p_holm"]) for row in rows(found)] == [(None, None)]
    assert NO_PAIR in note(compare(connection, "snip", "snip"))


def test_names_are_left_as_they_are():
    text = str(pair(SPREAD + 0.1, [0.9], "my-snip", "unsnipped"))
    assert text.startswith("my-snip against unsnipped: ")


@pytest.mark.slow
def test_means_and_crossovers_of_results_with_a_known_answer(made):
    [comparison] = compare(analysis.open(made))
    assert comparison.setting == "digits, conv-5, 2 epochs, pruned at epoch 0"
    assert str(comparison.means["snip"][0.98]) == "0.900 ± 0.025"  # t(2) · 0.01 / √3
    against = {crossover.second: crossover for crossover in comparison.crossovers}
    # From +.02 at .95 to −.02 at .98.
    assert [str(crossing) for crossing in against["random erk"].crossings] == ["[0.95, 0.98]"]
    assert against["random global"].verdict == "no crossover"
    assert comparison.second == "random" and "all tests of this answer: 10 (pairs: 2)" in note([comparison])
    in_file = [row for row in rows([comparison]) if row["second"] == "random erk"]
    assert {(row["crossover_low"], row["crossover_high"]) for row in in_file} == {(0.95, 0.98)}


@pytest.mark.slow
def test_any_two_criteria_and_scopes_can_be_compared(made):
    [comparison] = compare(analysis.open(made), "random:erk", "random:global")
    [crossover] = comparison.crossovers
    assert (crossover.first, crossover.second) == ("random erk", "random global")
    assert [d.mean.value for d in crossover.differences] == pytest.approx([0.05, 0.14, 0.23, 0.62, 0.8])


@pytest.mark.slow
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


@pytest.mark.slow
def test_differences_are_paired_by_seed(made, add):
    add(trial("s", criterion="snip", scope="global", sparsity=0.8, seed=7, test_accuracy=0.0))
    [comparison] = compare(analysis.open(made))
    [first, *_] = comparison.crossovers[0].differences
    assert first.mean.value == pytest.approx(0.02), "seed 7 has no random trial to be compared with"


@pytest.mark.slow
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


@pytest.mark.slow
def test_names_say_scope_and_iterations_where_they_matter(made, add):
    add(
        trial("a", criterion="force", iterations=20, scope="erk", test_accuracy=0.1),
        trial("b", criterion="magnitude", test_accuracy=0.1),
    )
    [comparison] = compare(analysis.open(made))
    assert sorted(comparison.means) == ["force erk T=20", "magnitude", "random erk", "random global", "snip"]


@pytest.mark.slow
def test_the_dense_network_stands_beside_every_prune_epoch(made, add):
    add(trial("d", criterion="dense", sparsity=0, seed=0, test_accuracy=0.98))
    add(trial("e", criterion="magnitude", prune_epoch=1, test_accuracy=0.9))
    early, late = compare(analysis.open(made))
    assert str(early.means["dense"][0]) == str(late.means["dense"][0]) == "0.980"


@pytest.mark.slow
def test_a_dense_network_trained_otherwise_is_not_the_one_beside_the_pruned(made, add):
    for lr, accuracy in ((0.1, 0.99), (0.3, 0.5), (0.01, 0.7)):
        add(trial(f"d{lr}", criterion="dense", sparsity=0, lr=lr, test_accuracy=accuracy))
    found = {comparison.setting: comparison.means for comparison in compare(analysis.open(made))}
    dense = {setting.rpartition("lr ")[2]: str(means["dense"][0]) for setting, means in found.items()}
    assert dense == {"0.1": "0.990", "0.3": "0.500", "0.01": "0.700"}
    assert [len(means) for means in found.values()].count(4) == 1


def test_results_from_before_a_field_existed_are_still_compared(made, add):
    old = trial("o", criterion="magnitude", test_accuracy=0.5)
    add(old | {"config": old["config"].replace('"lr":0.1,', "")}, trial("n", criterion="magnitude", lr=0.3))
    assert len(compare(analysis.open(made))) == 3


def test_sparsities_are_written_with_the_digits_their_density_has():
    assert [digits(s) for s in (0.5, 0.98123, 0.9951, 0.99951)] == ["0.500", "0.981", "0.9951", "0.99951"]


def test_a_pair_of_which_no_seed_finished_in_both_is_not_one_seed(tmp_path):
    rows = [
        trial(f"{c}{seed}", criterion=c, seed=seed, test_accuracy=0.5, status="failed" if c == "snip" else "ok")
        for c in ("snip", "random") for seed in range(3)
    ]  # fmt: skip
    results.write(tmp_path, rows, [[]], [[]])
    [comparison] = compare(analysis.open(tmp_path), "snip", "random")
    assert "undecided: no seed finished in both at 0.9; lost runs: 3 of snip" in str(comparison.crossovers[0])
