"""`sap`: each level removes as many weights as the PQ index of its groups says, and no level removes others."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pruners
from sweep import models, plan
from sweep.errors import BadInput
from sweep.rules.sap import SAP, Options, chosen, removed
from sweep.store.states import Store
from sweep.trial import run
from sweep.trial.prefixes import Shared
from tests.sweep.trial.test_run import trial

PLAIN = Options(beta=1.0)


@pytest.mark.parametrize("size", [1, 2, 7, 1000, 99_991])
@pytest.mark.parametrize("options", [PLAIN, Options(p=1.0, q=2.0, beta=1.0), Options(p=0.3, q=1.7, beta=1.0)])
def test_one_weight_that_is_not_0_stays_and_weights_of_one_size_all_do(size, options):
    one = torch.zeros(size)
    one[size // 2] = -3.0
    assert size - removed(one, options) == 1
    signs = torch.where(torch.arange(size) % 2 == 0, 0.1, -0.1)
    assert removed(signs, options) == removed(torch.zeros(size), options) == 0


def test_counts_worked_out_by_hand():
    """√100 + 3·√1 = 13: 1 − I = 13²/(4·103) = 0.4102, so that ⌈4·0.4102⌉ = 2 of 4 are to be kept."""
    weights = torch.tensor([100.0, -1.0, 1.0, -1.0])
    assert removed(weights, PLAIN) == 2
    assert removed(weights, Options(gamma=0.5)) == 1
    assert removed(weights, Options(beta=0.3)) == 1
    assert removed(weights, Options(eta=0.5)) == 3, "⌈4·0.4102/1.5²⌉ = 1, and at most ⌊0.9·4⌋ = 3 go"
    assert removed(weights, Options(gamma=0.0)) == 0
    assert removed(torch.cat([torch.ones(1), torch.zeros(99)]), Options(beta=0.29)) == 29, "a decimal"


@settings(deadline=None, max_examples=40)
@given(
    weights=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60),
    options=st.builds(
        Options,
        p=st.sampled_from([0.1, 0.5, 1.0]),
        q=st.sampled_from([1.5, 2.0, 5.0]),
        eta=st.sampled_from([0.0, 0.5, 3.0]),
        gamma=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        beta=st.sampled_from([0.1, 0.9, 1.0]),
    ),
)
def test_counts_are_those_of_the_formula(weights, options):
    """By the norms themselves; a count may differ by one where the formula is whole but for rounding."""
    size, p, q = np.abs(np.array(weights, dtype=np.float64)), options.p, options.q
    count = removed(torch.tensor(weights), options)
    assert 0 <= count <= len(weights)
    if not size.any():
        assert count == 0
        return
    norms = [(size**power).sum() ** (1 / power) for power in (p, q)]
    if not min(norms) > 0:  # the powers of the smallest numbers are none
        return
    index = 1 - len(size) ** (1 / q - 1 / p) * norms[0] / norms[1]
    least = len(size) * (1 + options.eta) ** (-q / (q - p)) * max(0.0, 1 - index) ** (q * p / (q - p))
    expected = set()
    for slack in (-1e-6, 1e-6):
        kept = min(len(size), max(1, math.ceil(least * (1 + slack))))
        share = min(Fraction(options.gamma) * (len(size) - kept), Fraction(str(options.beta)) * len(size))
        expected.add(math.floor(share))
    assert count in expected


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-10, 10, width=16), min_size=2, max_size=40), st.sampled_from([0.0, 0.5]))
def test_the_exponents_of_the_paper_need_the_index_alone(weights, eta):
    """p = ½, q = 1: r = d(1 − I)/(1 + η)²; p = 1, q = 2: d(1 − I)²/(1 + η)²."""
    tensor, size = torch.tensor(weights), len(weights)
    for p, q, power in ((0.5, 1.0, 1), (1.0, 2.0, 2)):
        index = pruners.pq_index(tensor, p, q)
        if index is None:
            continue
        least = size * (1 - index) ** power / (1 + eta) ** 2
        kept = size - removed(tensor, Options(p, q, eta, beta=1.0))
        assert kept in {max(1, math.ceil(least * (1 + slack))) for slack in (-1e-6, 1e-6)} | {size}
        assert kept < size or least > size - 1 - 1e-6


@pytest.mark.parametrize("group", ["global", "layer", "neuron"])
def test_each_group_keeps_its_largest_and_what_is_pruned_stays_pruned(group):
    draws = torch.Generator().manual_seed(0)
    weights = {
        "conv": torch.randn(3, 2, 5, 5, generator=draws) ** 3,
        "linear": torch.randn(4, 30, generator=draws),
    }
    before = {name: torch.rand(weight.shape, generator=draws) < 0.7 for name, weight in weights.items()}
    before["linear"][0] = False  # a neuron without weights
    before["bias"] = torch.ones(4, dtype=torch.bool)  # no layer of these
    options = Options(group=group)
    masks = chosen(weights, before, options)
    assert list(masks) == ["conv", "linear"]
    parts = {
        "global": [[(name, slice(None)) for name in weights]],
        "layer": [[(name, slice(None))] for name in weights],
        "neuron": [[(name, row)] for name, weight in weights.items() for row in range(len(weight))],
    }[group]
    for part in parts:
        alive, stays, values = (
            torch.cat([each[name][place].flatten() for name, place in part])
            for each in (before, masks, weights)
        )
        assert not (stays & ~alive).any()
        assert int(alive.sum() - stays.sum()) == removed(values[alive], options)
        if stays.any() and (alive & ~stays).any():
            assert values[stays].abs().min() >= values[alive & ~stays].abs().max()
    assert any((before[name] & ~mask).any() for name, mask in masks.items())


FIELDS = {"criterion": "sap", "model": "lenet-300-100", "epochs": 1, "batch_size": 256}


def phases(result):
    return [(row["phase"], row["kept"]) for row in result.curves]


@pytest.mark.slow
def test_levels_end_at_the_sparsity_at_their_number_or_where_nothing_is_left_to_remove():
    whole = phases(run(trial(**FIELDS, sparsity=0.99, iterations=4)))
    assert [phase for phase, _ in whole] == ["dense", "level 1", "level 2", "level 3", "retrain"]
    kept = [count for _, count in whole]
    assert kept == sorted(set(kept), reverse=True), "every level removes weights"
    stopped = run(trial(**FIELDS, sparsity=1 - (kept[2] + 5) / kept[0], iterations=4))
    assert phases(stopped) == [*whole[:2], ("retrain", kept[2])], "the first level at or beyond the sparsity"
    assert stopped.trial["density"] == kept[2] / kept[0] and stopped.trial["status"] == "ok"
    nothing = run(trial(**FIELDS, sparsity=0.9, parameters=(("criterion.gamma", 0),)))
    assert phases(nothing) == [("dense", kept[0]), ("retrain", kept[0])]
    assert nothing.trial["iterations"] == 1 and nothing.trial["density"] == 1


@pytest.mark.slow
def test_a_level_begins_at_the_rewound_weights():
    """With one level, and nothing to remove, the training is the dense training again."""
    result = run(trial(**FIELDS, sparsity=0.9, iterations=3, parameters=(("criterion.gamma", 0),)))
    dense, again = result.curves
    assert (dense["test_loss"], dense["train_loss"]) == (again["test_loss"], again["train_loss"])


def test_the_dense_training_is_shared_with_imp_and_levels_with_trials_of_more_levels_alone():
    more = {"iterations": 4, "parameters": (("criterion.eta", 0.5),)}
    trials = [
        trial(**{**FIELDS, **fields})
        for fields in (
            {"iterations": 3},
            {"iterations": 4},
            {"iterations": 4, "ablation": "reinit"},
            {"iterations": 4, "sparsity": 0.8},
            more,
            {"criterion": "imp", "sparsity": 0.36, "iterations": 2},
        )
    ]
    chains = {chain[0].trial: chain for chain in plan.share(trials)}
    assert [job.trial for job in chains[trials[0]]] == trials[:3]
    assert [job.start and job.start.level for job in chains[trials[0]][1:]] == [3, 3]
    assert {len(chains[each]) for each in trials[3:]} == {1}, "another sparsity may end the levels earlier"
    starts = [chain[0].start for chain in chains.values()]
    assert sum(start is None for start in starts) == 1, "one trains dense for all"
    assert {(start.epoch, start.level) for start in starts if start} == {(None, 0)}


@pytest.mark.slow
def test_levels_that_have_ended_lead_no_other_trial_astray(tmp_path):
    """Of two and three levels asked for, the second ends them: both trials are the trial of two levels."""
    kept = phases(run(trial(**FIELDS, sparsity=0.9, iterations=2)))[-1][1]
    sparsity = 1 - kept / total()
    trials = [trial(**FIELDS, sparsity=sparsity, iterations=n) for n in (2, 3, 4)]
    alone = [run(each) for each in trials]
    shared = [
        run(job.trial, shared=Shared(Store(tmp_path), job.path, job.saves))
        for pack in plan.packs(trials, 1)
        for job in pack.jobs
    ]
    assert [phases(result) for result in shared] == [phases(result) for result in alone]
    assert {len(phases(result)) for result in shared} == {3}
    assert len({result.trial["test_loss"] for result in (*alone, *shared)}) == 1


def total():
    return sum(
        weight.numel()
        for weight in pruners.prunable(models.build("lenet-300-100", (1, 8, 8), 10, 0)).values()
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("p", 1, "give 0 < p < q"),
        ("p", 0, "give 0 < p < q"),
        ("q", math.inf, "give 0 < p < q"),
        ("eta", -0.5, r"criterion\.eta -0\.5: give a number from 0 on"),
        ("gamma", math.nan, r"criterion\.gamma nan: give a number from 0 on"),
        ("beta", 0, r"criterion\.beta 0: give a share above 0, up to 1"),
        ("beta", 1.5, r"criterion\.beta 1\.5: give a share"),
    ],
)
def test_numbers_without_a_meaning_are_refused(name, value, message):
    with pytest.raises(BadInput, match=message):
        trial(**FIELDS, parameters=((f"criterion.{name}", value),))


def test_filters_and_shuffled_masks_are_refused():
    for fields in ({"structure": "filter"}, {"retrain": "bn"}, {"ablation": "shuffle"}):
        with pytest.raises(BadInput, match="sap"):
            trial(**{**FIELDS, "model": "conv-5"}, **fields)


def test_thirty_levels_where_a_study_gives_none():
    assert SAP.iterations(trial(**FIELDS).config) == 30
