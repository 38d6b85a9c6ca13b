import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch

import pruners
from sweep import data
from sweep.config import Config
from sweep.errors import BadInput
from sweep.rules.along import Updates
from sweep.rules.growths import Growth
from sweep.seeds import derive
from sweep.trial.prefixes import Shared
from sweep.trial.stages import Stages


def prepared(criterion, options=None, **fields):
    base = {"dataset": "digits", "model": "conv-5", "sparsity": 0.9, "epochs": 4, "update_every": 3}
    chosen = tuple(sorted((f"criterion.{name}", value) for name, value in (options or {}).items()))
    config = Config(**(base | {"criterion": criterion, "parameters": chosen} | fields))
    return Stages(config, data.load("digits", Path("data"), 0.1, 0), Shared())


def started(criterion, options=None, **fields):
    stages = prepared(criterion, options, **fields)
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


@pytest.mark.slow
def test_gradual_pruning_follows_the_cubic_schedule_to_the_exact_count():
    training, updates, seen = started("gmp", prune_epoch=1)
    start, last = training.steps_of(1), max(seen)
    assert min(seen) == start + 3 and last <= 0.75 * training.end < last + 3
    assert count(updates.masks) == pruners.kept_count(97_552, 0.9) == training.kept
    for step, (before, after) in seen.items():
        density = 1 - 0.9 * (1 - (1 - (step - start) / (last - start)) ** 3)
        assert count(after) == round(97_552 * density)
        assert all(not (mask & ~before[name]).any() for name, mask in after.items()), "no weight grows back"


@pytest.mark.slow
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
    plain = Growth.scores

    def watched(growth, step):
        met.append({name: weight.grad.abs().clone() for name, weight in growth._run.model.named_parameters()})
        return plain(growth, step)

    monkeypatch.setattr(Growth, "scores", watched)
    training, _, seen = started("rigl", epochs=1)
    before, after = seen[min(seen)]
    gradients = met[0]
    for name, mask in after.items():
        grown, never = mask & ~before[name], ~mask & ~before[name]
        if grown.any() and never.any():
            assert gradients[name][grown].min() >= gradients[name][never].max()
    assert training.spent == training.end


@pytest.mark.slow
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
    plain = updates._left
    updates._left = lambda scores, share: stays.setdefault("first", plain(scores, share))
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
    "fields",
    [
        {"update_every": 100, "epochs": 2},
        {"criterion": "gmp", "prune_epoch": 4},
        {"criterion": "acdc", "update_every": 12},
    ],
)
def test_a_training_too_short_for_an_update_is_refused(fields):
    with pytest.raises(BadInput, match=r"steps for (two updates, back and forth|updates); take fewer"):
        started(**{"criterion": "rigl"} | fields)


class Former:
    """The updates of gmp, set, rigl and granet as they were before these shared paths, drops and growths."""

    def __init__(self, stages, thins, growth):
        self.stages, self.thins, self.growth, self.config = stages, thins, growth, stages.config
        self.first = stages.steps_of(self.config.prune_epoch) if thins else 0
        left = min(self.config.update_end * stages.end, stages.end - 1) - self.first
        self.last = self.first + int(left // self.config.update_every) * self.config.update_every
        self.masks = stages.full_masks() if thins else self.pruned("random", self.config.sparsity)
        stages.mask(self.masks)

    def pruned(self, criterion, sparsity):
        seed = derive(self.config.roots.mask, "mask")
        scope, model = self.config.scope, self.stages.model
        return pruners.prune(criterion, model, sparsity=sparsity, scope=scope, seed=seed)

    def __call__(self, step):
        if not self.first < step <= self.last or (step - self.first) % self.config.update_every:
            return False
        if self.thins:
            done = Fraction(step - self.first, self.last - self.first)
            self.masks = self.pruned("magnitude", Fraction(str(self.config.sparsity)) * (1 - (1 - done) ** 3))
        if self.growth and step < self.last:
            self.stages.mask(self.moved(step))
        self.stages.mask(self.masks)
        return not self.thins and step < self.last

    @torch.no_grad()
    def moved(self, step):
        stays, draws = {}, torch.Generator().manual_seed(derive(self.config.roots.mask, "grow", step))
        share = self.config.drop_fraction * (1 + math.cos(math.pi * step / self.last)) / 2
        for name, weight in pruners.prunable(self.stages.model).items():
            mask, kept = self.masks[name].flatten(), int(self.masks[name].sum())
            moved = min(int(share * kept), mask.numel() - kept)
            stay = torch.zeros_like(mask)
            size = weight.abs().flatten().masked_fill(~mask, -1)
            stay[size.argsort(descending=True, stable=True)[: kept - moved]] = True
            drawn = self.growth == "random"
            score = (torch.rand(weight.shape, generator=draws) if drawn else weight.grad.abs()).flatten()
            grown = stay.clone()
            order = score.masked_fill(stay, -torch.inf).argsort(descending=True, stable=True)
            grown[order[:moved]] = True
            self.masks[name], stays[name] = grown.view(weight.shape), stay.view(weight.shape)
        return stays


@pytest.mark.slow
@pytest.mark.parametrize(
    ("criterion", "thins", "growth", "fields"),
    [
        ("gmp", True, None, {"prune_epoch": 0.5}),
        ("set", False, "random", {"scope": "erk"}),
        ("rigl", False, "gradient", {"drop_fraction": 0.7, "optimizer": "adam", "lr": 0.01}),
        ("granet", True, "gradient", {"prune_epoch": 0.3}),
    ],
)
def test_the_former_rules_train_as_they_did_bit_by_bit(criterion, thins, growth, fields):
    stages = [prepared(criterion, epochs=2, **fields) for _ in range(2)]
    now, former = Updates(stages[0].rule, stages[0]), Former(stages[1], thins, growth)
    for one, updates in zip(stages, (now, former), strict=True):
        assert len(list(one.training.run(one.end, updates))) == 2
    first, second = (one.training.state() for one in stages)
    assert all(torch.equal(weight, second["model"][name]) for name, weight in first["model"].items())
    assert first["active"] == second["active"] and torch.equal(first["sum"], second["sum"])


# Rule and options → the density after an update: of the step, and of the first and the last update.
END, EVERY = 40, 3


def cubic(at, first, last):
    return 0.1 + 0.9 * (1 - (at - first) / (last - first)) ** 3


def waves(at, first, last):
    return 0.1 + 0.1 * (1 - math.cos(2 * math.pi * 2 * at / (0.4 * END))) if at < 0.4 * END else 0.1


def soft(at, first, last):
    return {True: 0.15, at >= 0.75 * last: 0.125, at == last: 0.1}[True]


PATHS = {
    "gmp, linear": (
        "gmp",
        {"path": "linear"},
        lambda at, first, last: 1 - 0.9 * (at - first) / (last - first),
    ),
    "gmp, exponential": (
        "gmp",
        {"path": "exponential"},
        lambda at, first, last: 0.1 ** ((at - first) / (last - first)),
    ),
    "gmp by SNIP": ("gmp", {"drop": "snip"}, cubic),
    "gmp by the gradient's norm": ("gmp", {"drop": "grad-norm"}, cubic),
    "gmp by Taylor": ("gmp", {"drop": "taylor"}, cubic),
    "granet by momentum": ("granet", {"grow": "momentum"}, cubic),
    "set of one sign each": ("set", {"drop": "signed"}, lambda *_: 0.1),
    "set, unexplored first": ("set", {"grow": "unexplored"}, lambda *_: 0.1),
    "rigl by SNIP": ("rigl", {"drop": "snip"}, lambda *_: 0.1),
    "mest": ("mest", {}, lambda *_: 0.1),
    "mest, soft": ("mest", {"path": "soft", "peak": 1.5}, soft),
    "east": ("east", {}, waves),
    "acdc": ("acdc", {}, lambda at, first, last: 1 if (at - first) // EVERY % 2 else 0.1),
    "acdc, part of the weights": (
        "acdc",
        {"grow": "gradient", "peak": 4},
        lambda at, first, last: 0.4 if (at - first) // EVERY % 2 else 0.1,
    ),
}


@pytest.mark.parametrize("scope", ["global", "erk"])
@pytest.mark.parametrize("kind", PATHS)
def test_every_update_keeps_the_exact_count_of_its_path(kind, scope):
    criterion, options, density = PATHS[kind]
    stages = prepared(criterion, options, model="lenet-300-100", epochs=4, update_every=EVERY, scope=scope)
    assert stages.end == END
    updates, found = Updates(stages.rule, stages), {}

    def between(step):
        replaced = updates(step)
        found[step] = count(updates.masks), stages.training.kept
        return replaced

    list(stages.training.run(END, between))
    first = EVERY if criterion == "acdc" else 0
    last = 27 if criterion == "acdc" else 30
    for step, (kept, trained) in found.items():
        at = min(last, step - (step - first) % EVERY) if step >= first else None
        expected = 50_200 * (density(at, first, last) if at is not None else 1)
        assert abs(kept - expected) <= 0.5001 and kept == trained, (step, kept, expected)
    assert count(updates.masks) == 5_020
    if scope == "erk":
        alone = pruners.prune("random", stages.model, sparsity=0.9, scope="erk")
        assert {n: int(m.sum()) for n, m in updates.masks.items()} == {
            n: int(m.sum()) for n, m in alone.items()
        }


def test_acdc_trains_all_weights_in_dense_phases_and_restores_them_at_0():
    stages = prepared("acdc", model="lenet-300-100", update_every=7, prune_epoch=0.5, update_end=0.85)
    updates, met = Updates(stages.rule, stages), {}

    def between(step):
        before = dict(updates.masks)
        updates(step)
        met[step] = {
            name: stages.model.get_parameter(name)[mask & ~before[name]].abs().sum().item()
            for name, mask in updates.masks.items()
        }
        return False

    list(stages.training.run(stages.end, between))
    # Of 40 steps: dense to step 5, sparse, dense, sparse, dense from 26 on, sparse from 33 on to the end.
    dense = 5 + 7 + 7
    assert stages.training.active == 50_200 * dense + 5_020 * (40 - dense)
    assert all(not sum(grown.values()) for grown in met.values()), "what comes back starts at 0"
    weights = pruners.prunable(stages.model)
    assert sum(int(weight.count_nonzero()) for weight in weights.values()) <= 5_020
