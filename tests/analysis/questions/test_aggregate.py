"""Aggregates over settings and sparsities, of results with known answers."""

import math

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.page import Page
from analysis.questions import aggregate
from analysis.statistics import aggregates
from analysis.statistics.aggregates import THRESHOLDS
from analysis.statistics.draws import interquartile_mean
from sweep.errors import BadInput
from sweep.store import results
from tests.analysis.conftest import trial


def studied(
    tmp_path, accuracy, seeds=4, sparsities=(0.8, 0.9), models=("conv-5", "lenet-5-caffe"), **outcome
):
    """Random by ERK, SNIP and magnitude on four tasks: accuracy(criterion, model, sparsity, seed)."""
    rows = [
        trial(
            f"{c}{m}{s}{seed}", criterion=c, scope=scope, model=m, sparsity=s, seed=seed,
            test_accuracy=accuracy(c, m, s, seed), **outcome,
        )
        for c, scope in (("random", "erk"), ("snip", "global"), ("magnitude", "global"))
        for m in models for s in sparsities for seed in range(seeds)
    ]  # fmt: skip
    results.write(tmp_path, rows, [[]], [[]])
    return analysis.open(tmp_path)


def test_the_interquartile_mean_is_scipys_where_four_divides_the_runs():
    values = np.random.default_rng(0).normal(size=40)
    mean, _ = interquartile_mean(values, np.full(40, 1 / 40))
    assert mean == pytest.approx(stats.trim_mean(values, 0.25))


def test_its_influence_is_that_of_scipys_standard_error_of_a_trimmed_mean():
    """Yuen's: the winsorized deviation over the share kept."""
    values = np.random.default_rng(0).normal(size=40)
    _, influence = interquartile_mean(values, np.full(40, 1 / 40))
    theirs = stats.mstats.trimmed_stde(values, limits=(0.25, 0.25), inclusive=(True, True))
    assert influence.std(ddof=1) / math.sqrt(40) == pytest.approx(float(theirs), rel=1e-6)


def test_each_task_weighs_the_same_however_many_runs_it_has():
    values = np.array([0.0, 1.0, 1.0, 1.0])
    mean, _ = interquartile_mean(values, np.array([1 / 2, 1 / 6, 1 / 6, 1 / 6]))
    assert mean == pytest.approx(0.5)


def test_the_probability_of_improvement_is_mann_whitneys_mean_over_tasks(tmp_path):
    random = np.random.default_rng(0)
    drawn = {}

    def accuracy(*key):
        return drawn.setdefault(key, round(0.5 + random.normal() / 20, 2))

    found = aggregates.aggregate(studied(tmp_path, accuracy))
    assert found.baseline == "random erk" and found.tasks == 4
    expected = []
    for model in ("conv-5", "lenet-5-caffe"):
        for sparsity in (0.8, 0.9):
            one, other = (
                [drawn[criterion, model, sparsity, seed] for seed in range(4)]
                for criterion in ("snip", "random")
            )
            expected.append(stats.mannwhitneyu(one, other).statistic / 16)
    [snip] = [one for one in found.ways if one.way == "snip"]
    assert snip.improvement.value == pytest.approx(np.mean(expected))
    assert snip.improvement.low < snip.improvement.value < snip.improvement.high


def test_the_profile_is_the_share_of_runs_above(tmp_path):
    found = aggregates.aggregate(studied(tmp_path, lambda c, m, s, seed: 0.505 + 0.1 * seed))
    shares = {round(t, 2): share.value for t, share in zip(THRESHOLDS, found.ways[0].profile, strict=True)}
    assert (shares[0.5], shares[0.51], shares[0.7], shares[0.81]) == (1, 0.75, 0.5, 0)


def test_runs_of_one_seed_are_one_draw(tmp_path):
    """What a seed does to all sparsities alike is as uncertain as that many seeds, not runs."""
    luck = np.random.default_rng(0).normal(size=5) / 50
    found = aggregates.aggregate(
        studied(tmp_path, lambda c, m, s, seed: 0.5 + luck[seed], seeds=5, models=("conv-5",))
    )
    [one] = [one for one in found.ways if one.way == "snip"]
    # Of all runs alike over the sparsities: a trimmed mean of five seeds.
    _, influence = interquartile_mean(0.5 + luck, np.full(5, 0.2))
    half = stats.t.ppf(0.975, 4) * influence.std(ddof=1) / math.sqrt(5)
    assert one.iqm.high - one.iqm.value == pytest.approx(half)


@pytest.mark.slow
def test_nothing_is_aggregated_over_tasks_that_not_all_ways_have(tmp_path):
    connection = studied(tmp_path, lambda c, m, s, seed: {"conv-5": 0.9}.get(m, 0.1) + seed / 100)
    kept = analysis.open(tmp_path, where="criterion <> 'magnitude' OR model = 'conv-5'")
    assert aggregates.aggregate(connection).tasks == 4
    found = aggregates.aggregate(kept)
    assert (found.tasks, found.left_out) == (2, 2) and min(one.iqm.value for one in found.ways) > 0.85
    said = aggregate.sentences(found)
    assert (
        "over 2 tasks" in said[0]
        and "Left out: 2, of which not all ways have a finished run." in said[0]
        and "no accuracy of any arm" in said[0]
    )
    with pytest.raises(
        BadInput, match=r"all 3 ways have finished trials of: magnitude \(2\), random erk \(2\)"
    ):
        aggregates.aggregate(analysis.open(tmp_path, where="(criterion = 'snip') = (model = 'conv-5')"))


def test_lost_trials_and_the_number_of_tests_are_said(tmp_path):
    connection = studied(
        tmp_path, lambda c, m, s, seed: math.nan if c == "snip" and seed == 3 else 0.5 + seed / 100
    )
    said = aggregate.sentences(aggregates.aggregate(connection))
    assert "for 2 tests" in said[0] and "one split" in said[0]
    assert [line.endswith("4 lost") for line in said if line.startswith("snip")] == [True]


@pytest.mark.slow
def test_a_task_with_one_run_and_seeds_that_are_all_alike_have_no_interval(tmp_path):
    single = aggregates.aggregate(studied(tmp_path / "one", lambda *_: 0.5, seeds=1))
    alike = aggregates.aggregate(studied(tmp_path / "alike", lambda *_: 0.1, seeds=3))
    assert {one.iqm.low for one in (*single.ways, *alike.ways)} == {None}
    assert all("no interval" in line for line in aggregate.sentences(single)[1:])
    # At chance nothing is better than anything.
    assert [one.improvement.value for one in alike.ways if one.improvement] == [0.5, 0.5]


@pytest.mark.slow
def test_a_baseline_is_one_way_or_refused_in_a_line(tmp_path):
    connection = studied(tmp_path, lambda c, m, s, seed: 0.5 + seed / 100)
    assert aggregates.aggregate(connection, "snip").baseline == "snip"
    assert aggregates.aggregate(connection, "random:erk").baseline == "random erk"
    with pytest.raises(
        BadInput, match="--baseline snap: no trials of it; there are: magnitude, random erk, snip"
    ):
        aggregates.aggregate(connection, "snap")
    rows = [
        trial(f"g{m}{s}", criterion="random", model=m, sparsity=s, test_accuracy=0.5)
        for m in ("conv-5", "lenet-5-caffe") for s in (0.8, 0.9)
    ]  # fmt: skip
    results.write(tmp_path, rows, [[]], [[]])
    assert aggregates.aggregate(analysis.open(tmp_path)).baseline == "random erk"
    with pytest.raises(BadInput, match=r"several ways \(random erk, random global\): name one"):
        aggregates.aggregate(analysis.open(tmp_path), "random")


@pytest.mark.slow
def test_the_report_draws_profiles_of_two_ways_or_more(made):
    page = Page()
    section = aggregate.QUESTION.section
    section.show(page, section.find(analysis.open(made)))
    assert "Performance profiles" in "".join(page.parts) and "no accuracy of any arm" in page.parts[0]
    alone = Page()
    section.show(alone, section.find(analysis.open(made, where="criterion = 'snip'")))
    assert not alone.parts


@pytest.mark.slow
def test_tasks_with_few_seeds_are_as_uncertain_as_these_seeds(tmp_path):
    """Twenty seeds at one sparsity do not make three at the other worth more."""
    connection = studied(
        tmp_path,
        lambda c, m, s, seed: 0.6 if (c, s) == ("snip", 0.9) else 0.5,
        seeds=20,
        models=("conv-5",),
    )
    few = analysis.open(tmp_path, where="sparsity = 0.8 OR seed < 3")
    for there, certain in ((connection, True), (few, False)):
        [snip] = [one for one in aggregates.aggregate(there).ways if one.way == "snip"]
        assert snip.improvement.value == 0.75 and (snip.improvement.low > 0.5) == certain


@pytest.mark.parametrize("finished", [10, 5])
def test_an_improvement_is_certain_only_if_it_is_with_lost_runs_at_chance(finished, tmp_path):
    def accuracy(c, m, s, seed):
        return (0.6 if seed < finished else math.nan) if c == "snip" else 0.5 + seed / 1000

    found = aggregates.aggregate(studied(tmp_path, accuracy, seeds=10), "random:erk")
    [snip] = [one for one in found.ways if one.way == "snip"]
    assert snip.improvement.value == 1 and (snip.p < 0.05) == (finished == 10)
    assert ("with the lost runs at chance too" in aggregate.sentences(found)[0]) == (finished == 5)
