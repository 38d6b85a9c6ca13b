"""Trials on text that are killed again and again, or share their training: all numbers are those undisturbed."""

from dataclasses import replace
from functools import cache

import pytest

from sweep.store.states import Store
from sweep.study.identity import Trial
from sweep.trial import run
from tests.sweep.trial import test_text
from tests.sweep.trial.test_moves import ordeal
from tests.sweep.trial.test_prefixes import same, together
from tests.sweep.trial.test_run import numbers

root = test_text.root  # the fixture

# An epoch has 28 steps: the dense training ends within the first one, and leaves a few steps after it.
PRUNED = {"steps": 16, "prune_epoch": 0.2, "layers": "* !head.*", "unit_score": "mean", "sparsity": 0.4}
KINDS = {
    "heads": {"structure": "head", "criterion": "flap", "compensate": "bias", "scope": "uniform"},
    "heads, smaller, adapters": {
        "structure": "head",
        "criterion": "activation",
        "scope": "global",
        "shrink": True,
        "retrain": "lora",
        "lora_rank": 2,
    },
    "neurons, smaller, in the schedule that goes on": {
        "structure": "neuron",
        "criterion": "activation",
        "scope": "uniform",
        "shrink": True,
    },
    "neurons, by an update": {
        "structure": "neuron",
        "criterion": "flap",
        "scope": "global",
        "compensate": "obs",
    },
    "heads and neurons, smaller, new biases": {
        "structure": "head+neuron",
        "criterion": "flap",
        "scope": "global",
        "compensate": "bias",
        "shrink": True,
    },
    "heads and neurons, taught": {
        "structure": "head+neuron",
        "criterion": "activation",
        "scope": "uniform",
        "retrain_loss": "distill",
        "distill_weight": 1.0,
        "distill_temperature": 1.0,
    },
    "a block, smaller, taught": {
        "structure": "depth",
        "criterion": "block-influence",
        "scope": "global",
        "shrink": True,
        "retrain_loss": "distill",
        "rewind_epoch": 0.1,
    },
    "a block, a twin with adapters": {
        "structure": "depth",
        "criterion": "random",
        "scope": "global",
        "retrain": "lora",
        "twin_seed": 3,
    },
    "owl, an update": {"criterion": "wanda", "scope": "owl", "compensate": "obs"},
    "SparseGPT's own mask": {"criterion": "obs", "scope": "2:4", "sparsity": 0.5, "compensate": "obs"},
    "block influence, new biases": {
        "criterion": "magnitude",
        "scope": "block-influence",
        "compensate": "bias",
    },
    "block influence, heads": {"structure": "head", "criterion": "snip", "scope": "block-influence"},
    "ecoflap, reconstructed": {"criterion": "wanda", "scope": "ecoflap", "compensate": "reconstruct"},
    "ecoflap, behind pruned blocks": {"criterion": "wanda", "scope": "ecoflap", "score_order": "blockwise"},
    "reconstructed, a schedule of its own": {
        "criterion": "magnitude",
        "compensate": "reconstruct",
        "retrain": "bn",
        "retrain_epochs": 0.3,
        "retrain_lr": 1e-3,
    },
    "gaprune, an update, adapters, taught": {
        "criterion": "gaprune",
        "score_length": 8,
        "compensate": "obs",
        "retrain": "lora",
        "retrain_loss": "distill",
    },
    "levels of heads": {
        "criterion": "imp",
        "structure": "head",
        "scope": "global",
        "sparsity": 0.36,
        "iterations": 2,
        "steps": 8,
        "rewind_epoch": 0.1,
    },
    "neurons along training": {
        "criterion": "gmp",
        "criterion.drop": "activation",
        "structure": "neuron",
        "scope": "uniform",
        "update_every": 4,
    },
    "heads along a training of adapters": {
        "criterion": "gmp",
        "criterion.drop": "lora-average",
        "structure": "head",
        "scope": "uniform",
        "update_every": 3,
        "retrain": "lora",
        "lora_rank": 2,
    },
    "neurons along training, by what blocks have changed so far": {
        "criterion": "gmp",
        "criterion.drop": "taylor",
        "structure": "neuron",
        "scope": "block-influence",
        "update_every": 3,
    },
    "blocks along training": {
        "criterion": "gmp",
        "criterion.drop": "block-influence",
        "structure": "depth",
        "scope": "global",
        "update_every": 4,
    },
    "by gradients along training": {"criterion": "rigl", "update_every": 4, "prune_epoch": 0, "scope": "erk"},
    "scores": {"criterion": "edge-popup", "prune_epoch": 0.1, "lr": 0.1},
    "a moment by the counts of heads": {
        "criterion": "magnitude",
        "structure": "head",
        "scope": "global",
        "prune_when": "stable",
        "prune_threshold": 0.9,
        "prune_epoch": 5,
        "steps": None,
        "epochs": 5,
        "batch_size": 64,
    },
    "bf16": {"criterion": "wanda", "scope": "owl", "compensate": "bias", "precision": "bf16"},
}


def asked(**fields):
    return Trial.of(test_text.config(**(PRUNED | fields)))


@pytest.fixture(scope="module")
def alone(root):
    """The result of the trial of a kind that nobody disturbs."""

    @cache
    def made(kind):
        return run(asked(**KINDS[kind]), root, masks=True)

    return made


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_on_text_that_is_killed_again_and_again_is_bit_equal(kind, alone, root, tmp_path):
    expected = alone(kind)
    assert expected.masks and expected.trial["status"] == "ok", expected.trial
    found, kills = ordeal(asked(**KINDS[kind]), root, Store(tmp_path))
    assert kills >= 1 and numbers(found) == numbers(expected)


@pytest.mark.long
@pytest.mark.slow
def test_trials_on_text_of_all_kinds_share_training_and_scores_and_change_no_number(alone, root, tmp_path):
    shared, steps = together([asked(**fields) for fields in KINDS.values()], Store(tmp_path), root)
    expected = [replace(alone(kind), masks=[]) for kind in KINDS]
    same(shared, expected)
    assert steps < sum(result.trial["trained_steps"] for result in expected)
