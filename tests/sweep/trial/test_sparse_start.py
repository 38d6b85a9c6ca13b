"""A random sparse start: its masks are on from the first step, and what is pruned at the start stays pruned."""

from pathlib import Path

import pytest
import torch

import pruners
from sweep import data, plan, rules
from sweep.errors import BadInput
from sweep.study.identity import Trial
from sweep.trial import masking, run
from sweep.trial.prefixes import Shared
from sweep.trial.stages import Stages
from tests.sweep.trial.test_run import trial


def stages(**fields):
    config = trial(**{"model": "lenet-300-100", "initial_sparsity": 0.5} | fields).config
    return Stages(config, data.load("digits", Path("data"), 0.1, 0), Shared())


def kept(masks):
    return {name: int(mask.sum()) for name, mask in masks.items()}


@pytest.mark.parametrize("scope", ["erk", "uniform", "igq"])
def test_the_start_keeps_the_counts_of_its_scope_by_a_draw_of_its_own(scope):
    one, other = stages(initial_scope=scope), stages(initial_scope=scope, mask_seed=7)
    expected = pruners.prune("random", one.model, sparsity=0.5, scope=scope)
    assert kept(one.start) == kept(expected) == kept(other.start)
    assert one.training.kept == 25_100
    for name, weight in pruners.prunable(one.model).items():
        assert torch.equal(weight != 0, one.start[name])
        if one.start[name].all():
            continue
        assert not torch.equal(one.start[name], other.start[name])
        assert not torch.equal(one.start[name], expected[name]), "other draws than those of a random mask"


@pytest.mark.parametrize(
    "fields",
    [
        {"prune_epoch": 1},
        {"prune_epoch": 1, "rewind_epoch": 0, "scope": "uniform", "initial_scope": "uniform"},
        {"criterion": "force", "iterations": 3, "scope": "rowwise", "initial_scope": "rowwise"},
        {"criterion": "random", "ablation": "reinit"},
        {"criterion": "imp", "iterations": 2, "epochs": 1},
        {"criterion": "gmp", "update_every": 2, "prune_epoch": 0.5},
    ],
)
def test_weights_pruned_at_the_start_stay_pruned_and_the_count_is_exact(fields):
    one = stages(sparsity=0.8, **fields)
    start = one.start
    recorder = one.run()
    assert recorder.outcome()["kept"] == pruners.kept_count(50_200, 0.8) == 10_040
    for name, mask in one.masks.items():
        assert not (mask & ~start[name]).any(), name
        assert not one.model.get_parameter(name)[~mask].any()
    assert max(row["kept"] for row in recorder.curves) <= 25_100


def test_levels_of_imp_count_from_the_start():
    """0.5 of the weights, then 0.4 and 0.32: by default a level removes a fifth of what is left."""
    asked = trial(criterion="imp", initial_sparsity=0.5, sparsity=0.744)
    assert rules.find("imp").iterations(asked.config) == 3
    three = stages(criterion="imp", sparsity=0.744, epochs=1, iterations=3)
    counts = [row["kept"] for row in three.run().curves]
    assert counts == [25_100, 20_080, 16_064, 12_851]


def test_granet_thins_from_the_sparse_start():
    one = stages(criterion="granet", update_every=3, epochs=4)
    counts = {row["kept"] for row in one.run().curves}
    assert max(counts) < 25_100 and min(counts) == 5_020
    # Updates before steps 3, 6, …, 30 of 40; epochs end after 10, 20, 30 and 40 steps.
    for at, row in zip((9, 18, 27, 30), one.recorder.curves, strict=True):
        assert row["kept"] == round(50_200 * (0.1 + 0.4 * (1 - at / 30) ** 3))


@pytest.mark.slow
def test_a_sparse_start_shares_no_dense_training_and_no_scores_of_dense_networks():
    sparse = [trial(prune_epoch=1, initial_sparsity=0.5, sparsity=s) for s in (0.8, 0.9)]
    dense = [trial(prune_epoch=1, sparsity=s) for s in (0.8, 0.9)]
    jobs = {job.trial.id: job for chain in plan.share([*dense, *sparse]) for job in chain}
    assert all(jobs[each.id].start is None and not jobs[each.id].saves for each in sparse)
    assert sum(bool(jobs[each.id].saves) for each in dense) == 1
    one, other = trial(score_init="fresh"), trial(score_init="fresh", initial_sparsity=0.5)
    assert one.config.scoring != other.config.scoring
    scores = {}
    after = [run(each, shared=Shared(scores=scores)).layers for each in (one, other)]
    assert after[1] == run(other).layers != after[0]


def test_the_initial_scope_of_a_dense_start_and_a_start_of_dense_training_change_no_id():
    assert trial(initial_scope="uniform") == trial()
    assert trial(sparsity=0, initial_sparsity=0.5, initial_scope="er") == trial(sparsity=0)
    assert trial(initial_sparsity=0.5, initial_scope="uniform").id != trial(initial_sparsity=0.5).id
    written = Trial.parse(trial(initial_sparsity=0.5).canonical)
    assert written == trial(initial_sparsity=0.5)


def test_a_scope_that_asks_a_layer_for_more_than_it_starts_with_is_refused():
    one = stages(initial_scope="erk", scope="uniform", sparsity=0.52)
    for refused in (lambda: masking.check(one.config, one.model, one.example), one.run):
        with pytest.raises(BadInput, match="initial_sparsity: scope uniform asks a layer for more weights"):
            refused()


def test_an_initial_scope_without_such_masks_is_refused():
    with pytest.raises(BadInput, match="initial_sparsity: scope uniform-plus"):
        stages(model="conv-5", initial_scope="uniform-plus", initial_sparsity=0.998, sparsity=0.999)
