import itertools
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep import plan
from sweep.config import Config
from sweep.study.identity import Trial

SIX = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
FIVE = ("random", "magnitude", "force", "grasp-it", "synflow")


def config(**fields):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 10}
    return Config(**(base | fields))


def grid(criteria, sparsities, iterations, prune_epochs, seeds, epochs):
    return [
        config(criterion=c, sparsity=s, iterations=i, prune_epoch=t, seed=seed, epochs=epochs)
        for c, s, i, t, seed in itertools.product(
            criteria, sparsities, iterations, prune_epochs, range(seeds)
        )
    ]


@pytest.mark.parametrize(
    ("asked", "trials", "distinct", "deduped", "prefix_only", "both"),
    [
        (grid(FIVE, (0, *SIX), (1, 10, 100), (0, 1, 2, 4), 5, 10), 2100, 1325, 13_250, 17_345, 10_940),
        (grid(FIVE, SIX, (1,), (0, 1, 2, 4), 5, 10), 600, 600, 6_000, 4_970, 4_970),
        (grid(FIVE, (0, *SIX), (1,), (0, 1, 2, 4, 8, 16, 32), 3, 160), 735, 633, 101_280, 111_081, 95_610),
        (
            grid(FIVE, (0, *SIX), (1, 10, 100), (0, 1, 2, 4, 8, 16, 32), 3, 160),
            2205,
            1389,
            222_240,
            333_051,
            209_766,
        ),
        (
            grid(FIVE, (0, *SIX), (1, 10, 100), (0, 20, 40, 80, 120), 3, 160),
            1575,
            993,
            158_880,
            170_460,
            107_400,
        ),
        (grid(("magnitude", "force"), (0, 0.9, 0.99), (1, 10), (0, 1, 2, 4), 2, 8), 96, 50, 400, 608, 316),
    ],
    ids=["full", "no-dense", "one-shot", "iterated", "late", "tiny"],
)
def test_trials_and_epochs_are_counted_as_closed_forms_say(
    asked, trials, distinct, deduped, prefix_only, both
):
    """Dense training, static criteria and sparsity 0 count once for each seed."""
    unique = list({trial.id: trial for trial in map(Trial.of, asked)}.values())
    work = plan.work(plan.share(unique), lambda config: 1)
    assert (len(asked), len(unique)) == (trials, distinct)
    assert (work.alone, work.shared) == (deduped, both)
    assert plan.work(plan.share([Trial(config) for config in asked]), lambda config: 1).shared == prefix_only
    assert work.saved == pytest.approx(1 - both / deduped)


def one(chains, **fields):
    [job] = [j for chain in chains for j in chain if j.trial == Trial.of(config(**fields))]
    return job


def test_the_longest_dense_training_saves_the_states_that_others_go_on_from():
    trials = [Trial.of(config(prune_epoch=t, **f)) for t in (0, 2, 4) for f in ({}, {"criterion": "random"})]
    chains = plan.share(trials)
    maker, other = one(chains, prune_epoch=4), one(chains, prune_epoch=4, criterion="random")
    assert [point.epoch for point in maker.saves] == [2, 4] and maker.start is None
    assert other.start == maker.saves[1] and other.path == maker.saves and not other.saves
    assert one(chains, prune_epoch=2).start == maker.saves[0]
    assert one(chains, prune_epoch=0).start is None


def test_all_trials_go_on_from_a_dense_run():
    trials = [Trial.of(config(sparsity=s, prune_epoch=3)) for s in (0, 0.9)]
    chains = plan.share([*trials, Trial.of(config(criterion="imp", sparsity=0.36, iterations=2))])
    dense = one(chains, sparsity=0)
    assert [point.epoch for point in dense.saves] == [3, None]
    imp = one(chains, criterion="imp", sparsity=0.36, iterations=2)
    assert imp.start == dense.saves[1]
    assert plan.own_steps(imp, 1) == 20, "two levels of ten epochs"


def test_a_prune_at_the_last_epoch_goes_on_from_the_end_of_a_dense_run():
    chains = plan.share([Trial.of(config(sparsity=s, prune_epoch=10)) for s in (0, 0.9)])
    assert plan.own_steps(one(chains, prune_epoch=10), 1) == 0


def test_levels_of_iterative_magnitude_pruning_go_on_from_each_other():
    fields = {"criterion": "imp", "rewind_epoch": 1}
    two, three = (0.36, 2), (0.488, 3)
    trials = [Trial.of(config(sparsity=s, iterations=n, **fields)) for s, n in (three, two, (0.9, 5))]
    again = Trial.of(config(sparsity=0.488, iterations=3, ablation="reinit", **fields))
    chains = plan.share([*trials, again])
    [chain] = [chain for chain in chains if len(chain) > 1]
    assert [(j.trial.config.iterations, j.trial.config.ablation) for j in chain] == [
        (2, "none"),
        (3, "none"),
        (3, "reinit"),
    ]
    assert chain[1].start == chain[2].start == chain[0].saves[-1]
    assert plan.own_steps(chain[1], 1) == 9 and plan.own_steps(chain[2], 1) == 9
    assert not chain[1].saves, "no trial has more levels"


def test_trials_that_share_no_level_share_the_dense_training():
    fields = {"criterion": "imp", "sparsity": 0.488, "iterations": 3}
    trials = [Trial.of(config(ablation=ablation, **fields)) for ablation in ("none", "reinit")]
    chains = plan.share([*trials, Trial.of(config(sparsity=0))])
    assert sum(plan.own_steps(job, 1) for chain in chains for job in chain) == 10 + 2 * 30


def test_fields_that_are_irrelevant_to_levels_make_no_new_trial():
    fields = {"criterion": "imp", "sparsity": 0.488, "iterations": 3}
    same = ({}, {"prune_epoch": 3}, {"schedule": "linear"}, {"rewind_epoch": 0})
    assert len({Trial.of(config(**fields, **also)).id for also in same}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 0}, {"seed": 1}),
        ({"lr": 0.1}, {"lr": 0.2}),
        ({"epochs": 10}, {"epochs": 12}),  # the cosine is another
        ({"batch_size": 64}, {}),
        ({"init": "xavier"}, {}),
        ({"split_seed": 1}, {}),
    ],
)
def test_trials_that_differ_before_the_prune_share_nothing(one, other):
    trials = [Trial.of(config(prune_epoch=2, **fields)) for fields in (one, other)]
    assert all(job.start is None and not job.saves for chain in plan.share(trials) for job in chain)


@pytest.mark.parametrize(
    "fields",
    [{"criterion": "random"}, {"scope": "erk"}, {"retrain_lr": 0.01, "retrain_epochs": 5}, {"layers": "3.*"}],
)
def test_trials_that_differ_after_the_dense_training_share_it(fields):
    trials = [Trial.of(config(prune_epoch=2)), Trial.of(config(prune_epoch=2, **fields))]
    assert [job.start for chain in plan.share(trials) for job in chain].count(None) == 1


def test_rules_that_prune_along_training_share_nothing():
    trials = [Trial.of(config(criterion="gmp", prune_epoch=2, sparsity=s)) for s in (0.5, 0.9)]
    assert all(job.start is None for chain in plan.share(trials) for job in chain)


studies = st.builds(
    lambda seeds, prune, extra: [
        Trial.of(config(criterion=c, sparsity=s, seed=seed, prune_epoch=t, **f))
        for c, s in itertools.product(("random", "snip"), (0, 0.5, 0.9))
        for seed in range(seeds)
        for t in prune
        for f in extra
    ],
    st.integers(1, 6),
    st.lists(st.sampled_from((0, 1, 2.5, 10)), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(({}, {"rewind_epoch": 0}, {"lr": 0.01})), min_size=1, max_size=2),
)


@pytest.mark.slow
@given(studies, st.integers(1, 9), st.floats(0, 5))
def test_packs_have_every_trial_once_and_no_pack_needs_a_later_one(trials, workers, least):
    trials = list({trial.id: trial for trial in trials}.values())
    packs = plan.packs(trials, workers, least=least)
    jobs = [job for pack in packs for job in pack.jobs]
    assert sorted(job.trial.id for job in jobs) == sorted(trial.id for trial in trials)
    assert [pack.number for pack in packs] == list(range(len(packs)))
    left: set[str] = set()
    for pack in packs:
        assert pack.needs <= left
        left |= {point.key for job in pack.jobs for point in job.saves}
    # All trials of a seed come before the next seed; those that others wait for may come a seed earlier.
    waiting = [job.trial.config.seed for job in jobs if not job.saves]
    assert waiting == sorted(waiting)


@cache
def of_many_seeds():
    return [Trial.of(config(seed=seed)) for seed in range(400)]


@pytest.mark.slow
@settings(deadline=None)  # the first example makes the trials
@given(st.integers(1, 400), st.integers(1, 9))
def test_packs_get_smaller_so_that_all_workers_finish_together(count, workers):
    packs = plan.packs(of_many_seeds()[:count], workers)
    sizes = [len(pack.jobs) for pack in packs]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 1
    assert sizes[0] <= max(1, count / (4 * workers))
    larger = plan.packs(of_many_seeds()[:count], workers, least=5)
    assert all(len(pack.jobs) >= 5 for pack in larger[:-1])


def test_a_pack_is_brief_if_all_its_trials_are():
    trials = [Trial.of(config(seed=seed)) for seed in range(2)]

    def brief(cost):
        return [pack.brief for pack in plan.packs(trials, 1, cost, least=9)]

    assert brief(lambda job: 0.001) == [True]
    assert brief(lambda job: 0.001 + job.trial.config.seed) == [False]


def test_trials_that_others_wait_for_are_spread_over_the_workers():
    trials = [
        Trial.of(config(prune_epoch=5, sparsity=s, model=m))
        for m in ("conv-5", "lenet-300-100")
        for s in (0.5, 0.9)
    ]
    first, second, *rest = plan.packs(trials, 2)
    assert [len(first.jobs), len(second.jobs)] == [1, 1] and first.saves and second.saves
    assert all(pack.needs for pack in rest)


def test_a_large_study_is_planned_in_seconds():
    trials = [
        Trial.of(
            config(criterion="oracle", structure="filter", combination=n, prune_epoch=10, retrain_epochs=1)
        )
        for n in range(5000)
    ]
    packs = plan.packs(trials, 64)
    assert max(len(pack.jobs) for pack in packs) <= 200 and len(packs[0].jobs) == 1


def test_training_steps_of_every_kind_of_trial():
    def steps(**fields):
        return plan.training_steps(config(**fields), 100)

    assert steps() == steps(prune_epoch=3) == 1000
    assert steps(epochs=None, steps=250) == 250
    assert steps(prune_epoch=4, rewind_epoch=1) == 1300
    assert steps(prune_epoch=10, retrain_epochs=3) == 1300
    assert steps(criterion="imp", iterations=3, rewind_epoch=1) == 1000 + 3 * 900
