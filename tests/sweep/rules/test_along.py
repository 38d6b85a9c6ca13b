from pathlib import Path

import pytest
import torch

import pruners
from sweep import data
from sweep.config import Config
from sweep.errors import BadInput
from sweep.rules.along import Updates, by_gradient
from sweep.rules.rigl import RIGL
from sweep.trial.prefixes import Shared
from sweep.trial.stages import Stages


def started(criterion, **fields):
    base = {"dataset": "digits", "model": "conv-5", "sparsity": 0.9, "epochs": 4, "update_every": 3}
    config = Config(**(base | {"criterion": criterion} | fields))
    loaded = data.load("digits", Path("data"), 0.1, 0)
    stages = Stages(config, loaded, Shared())
    training, updates = stages.training, Updates(stages.rule, stages)
    seen = {}

    def between(step):
        before = {name: mask.clone() for name, mask in updates.masks.items()}
        changed = updates(step)
        if any(not torch.equal(before[name], mask) for name, mask in updates.masks.items()):
            seen[step] = (before, dict(updates.masks))
        return changed

    for _ in training.run(training.end, between):
        for name, mask in updates.masks.items():
            assert not training.model.get_parameter(name)[~mask].any(), "pruned weights are exactly 0"
    return training, updates, seen


def count(masks):
    return sum(int(mask.sum()) for mask in masks.values())


def test_gradual_pruning_follows_the_cubic_schedule_to_the_exact_count():
    training, updates, seen = started("gmp", prune_epoch=1)
    start, last = training.steps_of(1), max(seen)
    assert min(seen) == start + 3 and last <= 0.75 * training.end < last + 3
    assert count(updates.masks) == pruners.kept_count(97_552, 0.9) == training.kept
    for step, (before, after) in seen.items():
        density = 1 - 0.9 * (1 - (1 - (step - start) / (last - start)) ** 3)
        assert count(after) == round(97_552 * density)
        assert all(not (mask & ~before[name]).any() for name, mask in after.items()), "no weight grows back"


@pytest.mark.parametrize("criterion", ["set", "rigl"])
def test_dynamic_sparse_training_moves_weights_within_layers_and_keeps_their_number(criterion):
    _, updates, seen = started(criterion, scope="erk")
    assert len(seen) >= 5 and count(updates.masks) == pruners.kept_count(97_552, 0.9)
    moved = []
    for step, (before, after) in seen.items():
        for name, mask in after.items():
            assert int(mask.sum()) == int(before[name].sum()), (step, name)
        moved.append(sum(int((mask & ~before[name]).sum()) for name, mask in after.items()))
    assert moved[0] > 3 * moved[-1], "the number falls by a cosine"


def test_rigl_grows_where_the_gradient_is_largest_and_starts_from_zero(monkeypatch):
    met = []
    plain = by_gradient

    def watched(weight, draws):
        met.append(weight.grad.abs().clone())
        return plain(weight, draws)

    monkeypatch.setattr(RIGL, "growth", watched)
    training, _, seen = started("rigl", epochs=1)
    before, after = seen[min(seen)]
    gradients = dict(zip(after, met, strict=False))
    for name, mask in after.items():
        grown, never = mask & ~before[name], ~mask & ~before[name]
        if grown.any() and never.any():
            assert gradients[name][grown].min() >= gradients[name][never].max()
    assert training.spent == training.end


def test_granet_prunes_as_gradual_pruning_does_but_regrows_weights():
    _, updates, seen = started("granet", prune_epoch=0)
    assert count(updates.masks) == pruners.kept_count(97_552, 0.9)
    back = [
        any((mask & ~before[name]).any() for name, mask in after.items()) for before, after in seen.values()
    ]
    assert any(back)


def test_grown_weights_have_value_and_momentum_0_even_if_just_dropped():
    config = Config(
        dataset="digits",
        model="conv-5",
        criterion="rigl",
        sparsity=0.5,
        epochs=4,
        update_every=5,
        drop_fraction=0.9,
    )
    loaded = data.load("digits", Path("data"), 0.1, 0)
    stages = Stages(config, loaded, Shared())
    training, updates = stages.training, Updates(stages.rule, stages)
    stays = {}
    plain = updates._regrow
    updates._regrow = lambda growth, step: stays.setdefault(step, plain(growth, step))
    list(training.run(6, updates))
    [stay] = stays.values()
    dropped_and_back = 0
    for name, mask in updates.masks.items():
        weight = training.model.get_parameter(name)
        grown = mask & ~stay[name]
        # Momentum at the update was 0 and no step has been taken since.
        assert grown.any() and not weight[grown].any()
        assert not training._optimizer.state[weight]["momentum_buffer"][grown].any()
        dropped_and_back += int(grown.sum())
    assert dropped_and_back > 1000


@pytest.mark.parametrize(
    "fields", [{"update_every": 100, "epochs": 2}, {"criterion": "gmp", "prune_epoch": 4}]
)
def test_a_training_too_short_for_an_update_is_refused(fields):
    with pytest.raises(BadInput, match=r"steps for updates; take fewer"):
        started(**{"criterion": "rigl"} | fields)
