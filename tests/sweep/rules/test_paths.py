"""Densities by hand, and whatever a study chooses: exact counts, nothing left of dropped weights, a state that is all."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import pruners
from sweep import rules
from sweep.config import Config
from sweep.rules.along import Updates
from sweep.rules.choices import Choices
from sweep.rules.paths import PATHS, Moment, stairs
from sweep.rules.step_scores import STEP_SCORES
from sweep.study.consistency import Inconsistent, check

TENTH = Fraction(1, 10)


def high(path, number, done, time=None, **options):
    moment = Moment(number, Fraction(done), Fraction(done if time is None else time))
    return PATHS[path](moment, Fraction(1), TENTH, Choices(path=path, **options)).high


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("constant", {}, [0.1, 0.1, 0.1, 0.1, 0.1]),
        ("linear", {}, [1, 0.775, 0.55, 0.325, 0.1]),
        ("cubic", {}, [1, 0.1 + 0.9 * 27 / 64, 0.1 + 0.9 / 8, 0.1 + 0.9 / 64, 0.1]),
        ("exponential", {}, [1, 0.1**0.25, 0.1**0.5, 0.1**0.75, 0.1]),
        ("square", {"grow": "all"}, [0.1, 1, 0.1, 1, 0.1]),
        ("square", {"peak": 2}, [0.1, 0.2, 0.1, 0.2, 0.1]),
        ("square", {"peak": 20}, [0.1, 1, 0.1, 1, 0.1]),
        ("soft", {"peak": 1.5}, [0.15, 0.15, 0.15, 0.125, 0.1]),
        # One wave until the middle: its top is at a quarter.
        ("cyclic", {"cycles": 1, "cycle_end": 0.5}, [0.1, 0.3, 0.1, 0.1, 0.1]),
        ("cyclic", {"cycles": 1, "cycle_end": 1}, [0.1, 0.2, 0.3, 0.2, 0.1]),
    ],
)
def test_densities_at_the_quarters_of_a_path(path, options, expected):
    found = [high(path, number, Fraction(number, 4), **options) for number in range(5)]
    assert [float(each) for each in found] == pytest.approx(expected, abs=1e-11)
    assert found[-1] == TENTH


def test_easts_density_is_that_of_its_code():
    """d + 2d · ½ (1 − cos 2πτ), for two cycles of 50 of 250 epochs."""
    for epoch in range(250):
        wave = 0.1 + 0.2 * 0.5 * (1 - math.cos(2 * math.pi * epoch / 50)) if epoch < 100 else 0.1
        assert float(high("cyclic", 0, Fraction(epoch, 251), Fraction(epoch, 250))) == pytest.approx(wave)


def test_mests_bounds_are_those_of_its_scripts():
    """Epochs 0, 90 and 120 of 160: drop to 92, 91, 90 % and grow to 90 %; EM&S grows to 85, 87.5, 90 %."""
    for epoch, dropped, grown in ((0, 92, 85), (85, 92, 85), (90, 91, 87.5), (115, 91, 87.5), (120, 90, 90)):
        done = Fraction(epoch, 120)
        assert 90 + 10 * 0.2 * float(stairs(done)) == pytest.approx(dropped)
        assert 100 * (1 - high("soft", 0, done, peak=1.5)) == pytest.approx(grown)


class Little:
    """The moves of a rule with a small network that does not learn: its weights and gradients are drawn."""

    def __init__(self, config, end):
        self.config, self.end, self.exclude, self.start = config, end, [], None
        self.scope = config.scope
        torch.manual_seed(0)
        layers = nn.Linear(9, 8), nn.Linear(8, 7, bias=False), nn.Linear(7, 3)
        self.model, self.total, self.loss = nn.Sequential(*layers), 149, nn.functional.mse_loss
        self.units = pruners.find_units(config.structure, self.model, torch.ones(2, 9))
        if config.initial_sparsity:
            asked = {"sparsity": config.initial_sparsity, "scope": config.initial_scope, "seed": 5}
            self.start = pruners.prune("random", self.model, **asked)

    def steps_of(self, epochs):
        return round(epochs * 6)

    def batches(self):
        return [(torch.ones(2, 9), torch.zeros(2, 3))]

    def full_masks(self):
        weights = pruners.prunable(self.model)
        return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}

    def mask(self, masks):
        pruners.apply_masks(self.model, masks)

    def step(self, number, masks):
        """Draw weights and gradients as after the training of a step."""
        draws = torch.Generator().manual_seed(number)
        for name, weight in pruners.prunable(self.model).items():
            weight.data.copy_(torch.randn(weight.shape, generator=draws) * masks[name])
            weight.grad = torch.randn(weight.shape, generator=draws)


@st.composite
def asked(draw):
    structure = draw(st.sampled_from(["weight", "weight", "filter", "channel"]))
    single = structure == "weight"
    criteria = ["gmp", "set", "rigl", "granet", "acdc", "mest", "east"] if single else ["gmp"]
    criterion = draw(st.sampled_from(criteria))
    options = {
        "path": st.sampled_from(list(PATHS)),
        "drop": st.sampled_from([*STEP_SCORES, "random", "snip", "grad-norm"]),
        "grow": st.sampled_from(["none", "random", "gradient", "momentum", "unexplored", "all"]),
        "peak": st.sampled_from([1.1, 2.0, 50.0]),
    }
    named = draw(st.lists(st.sampled_from(list(options)), max_size=3, unique=True))
    fields = {
        "sparsity": draw(st.floats(0.3, 0.95 if single else 0.85)),  # each group keeps a channel
        "structure": structure,
        "unit_score": "sum" if single else draw(st.sampled_from(["sum", "mean", "group-mean"])),
        "scope": draw(st.sampled_from(["global", "uniform", *(["erk", "rowwise"] if single else [])])),
        "update_every": draw(st.integers(1, 3)),
        "update_end": draw(st.sampled_from([0.5, 0.75, 1.0])),
        "drop_fraction": draw(st.sampled_from([0.1, 0.5, 1.0])),
        "prune_epoch": draw(st.sampled_from([0, 0, 0.5])),
        "initial_sparsity": draw(st.sampled_from([0, 0, 0.25])) if single else 0,
    }
    if fields["scope"] != "global":
        fields["initial_scope"] = fields["scope"]
    chosen = tuple(sorted((f"criterion.{name}", draw(options[name])) for name in named))
    config = Config(
        dataset="digits", model="conv-5", epochs=4, criterion=criterion, parameters=chosen, **fields
    )
    try:
        check(config)
    except Inconsistent:
        assume(False)
    return config


@pytest.mark.slow
@given(asked(), st.integers(0, 22))
@settings(deadline=None, max_examples=60)
def test_whatever_is_chosen_the_counts_are_exact_and_a_state_leads_on(config, resumed):
    rule, end = rules.find(config.criterion), 24
    run, later = Little(config, end), None
    updates, total = Updates(rule, run), sum(group.size for group in run.units) or run.total
    for step in range(end):
        run.step(step, updates.masks)
        before = {name: mask.clone() for name, mask in updates.masks.items()}
        updates(step)
        units = pruners.kept_units(run.units, updates.masks)
        kept = sum(int(mask.sum()) for mask in (units or updates.masks).values())
        changed = any(not torch.equal(before[name], mask) for name, mask in updates.masks.items())
        if changed:
            assert kept == pruners.kept_count(total, 1 - updates._levels(step).high)
            for name, mask in updates.masks.items():
                weight, grown = run.model.get_parameter(name), mask & ~before[name]
                assert not weight[~mask].any() and not weight[grown].any()
                assert not run.units or not grown.any(), "units leave for good"
        if later:
            later.run.step(step, later.masks)
            later(step)
            assert all(torch.equal(mask, later.masks[name]) for name, mask in updates.masks.items())
        if step == resumed:
            later = Updates(rule, Little(config, end))
            later.load_state_dict(updates.state_dict())
            # As a checkpoint does: biases of removed units are 0.
            later.run.model.load_state_dict(run.model.state_dict())
    assert kept == pruners.kept_count(total, config.sparsity)
