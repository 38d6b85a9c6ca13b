"""Indicators of the moment to prune: scripted paths of weights and masks with a known epoch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruners.units import Member, UnitGroup
from sweep import plan
from sweep.errors import BadInput
from sweep.rules.moments import MOMENTS, alike
from sweep.trial import run
from sweep.trial.prefixes import branch
from tests.sweep.trial.test_run import numbers, trial


def watch(name, script, **fields):
    """The epoch that an indicator chooses; None: none. It is saved and loaded again after each epoch.

    Args:
        script: for each epoch the weights, or the masks.
    """
    config = trial(prune_when=name, prune_epoch=99, epochs=99, **fields).config
    model = nn.Linear(2, 1, bias=False)
    rows = Member("0", 0, torch.arange(2).unsqueeze(1))
    units = [UnitGroup("0", (rows,))] if config.structure == "filter" else []
    moment, now = None, None
    for epoch, now in enumerate(script, 1):
        fresh = MOMENTS[name](SimpleNamespace(config=config, model=model, units=units), lambda now=now: now)
        if moment:
            fresh.load_state_dict(moment.state_dict())
        moment = fresh
        if name == "stable":
            model.load_state_dict({"weight": torch.tensor([now])})
        if moment(epoch):
            return epoch
    return None


# Distances from the weights after epoch 1, in their length: 0, 1, 1.6, 1.9, 1.95.
PATH = [[3.0, 4.0], [3.0, 9.0], [11.0, 4.0], [3.0, 13.5], [12.75, 4.0]]


@pytest.mark.parametrize(
    ("fields", "epoch"),
    [
        ({"sparsity": 0.9}, 5),
        ({"sparsity": 0.5}, 4),
        ({"sparsity": 0.35}, 3),
        ({"sparsity": 0.98}, None),
        ({"sparsity": 0.98, "prune_threshold": 0.4}, 4),
        ({"sparsity": 0.5, "structure": "filter"}, 4),
        ({"sparsity": 0.65, "structure": "filter"}, 5),
        ({"sparsity": 0.95, "structure": "filter"}, None),
    ],
)
def test_weights_are_stable_when_their_distance_changes_by_little(fields, epoch):
    """Steps of the distance: 1 (epoch 2), 0.6, 0.3 and 0.05. They are compared with 1 − s, or 0.9 − s."""
    assert watch("stable", PATH, **fields) == epoch


def test_weights_that_never_move_are_no_sign_of_stability_and_nan_is_none():
    assert watch("stable", [[1.0, 1.0]] * 20) is None, "nothing is below a share of 0"
    assert watch("stable", [[0.0, 0.0]] * 3 + [[float("nan"), 0.0]] * 3) is None


def layers(counts):
    """Masks of two layers that keep these counts of 100 weights."""
    return [{f"{i}": (torch.arange(100) < n).view(10, 10) for i, n in enumerate(pair)} for pair in counts]


def test_the_structure_is_stable_five_epochs_after_its_last_change():
    """Counts change up to epoch 9; the EPI is 1 at epoch 14, and at 13 four of five summands are 1."""
    counts = [(50 + epoch, 50 - epoch) for epoch in range(9)] + [(58, 42)] * 9
    assert watch("epi", layers(counts), prune_threshold=1) == 14
    # |57 − 58|/115 and |43 − 42|/85, their mean, a fifth of that: 0.9980 at epoch 13, lower before.
    assert watch("epi", layers(counts), prune_threshold=0.997) == 13
    assert watch("epi", layers([(60, 40)] * 20)) == 11, "five epochs to compare with, each with five before"
    assert (
        watch("epi", layers([(60 + 20 * (epoch % 2), 40) for epoch in range(20)]), prune_threshold=1) is None
    )


def test_each_kind_of_score_has_its_threshold():
    """Counts that alternate: three of five epochs before have the other ones, so that the EPI is 1 − 0.6·δ."""
    for more, index in ((6, 0.9830), (12, 0.9679)):
        assert 1 - 0.6 * more / (100 + more) / 2 == pytest.approx(index, abs=5e-5)
        counts = layers([(100, 50 + more * (epoch % 2)) for epoch in range(20)])
        assert (watch("epi", counts, criterion="magnitude") == 11) == (more == 6)
        assert watch("epi", counts, criterion="snip") == 11


def epi(counts, least):
    """The first epoch by the formulas, from all epochs at once."""
    n = np.array(counts, dtype=float)
    total = n[:, None] + n[None]
    psi = 1 - (np.abs(n[:, None] - n[None]) / np.where(total, total, 1)).mean(2)
    index = {t: np.mean([psi[t, t - j] for j in range(1, 6)]) for t in range(5, len(n))}
    for t in range(10, len(n)):
        before = max(index[t - j] for j in range(1, 6))
        if index[t] >= least and index[t] >= before - 1e-12:
            return t + 1, min(abs(index[t] - least), abs(index[t] - before) or 1)
    return None, 1


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(40, 60)), min_size=11, max_size=24),
    st.sampled_from([0.5, 0.9, 0.97]),
)
def test_epochs_are_those_of_the_formula(counts, least):
    expected, margin = epi(counts, least)
    found = watch("epi", layers(counts), prune_threshold=least)
    assert found == expected or margin < 1e-9


def test_structures_are_alike_by_their_layers():
    assert alike([10, 0], [10, 0]) == 1
    assert alike([10, 5], [30, 5]) == pytest.approx(1 - 0.5 / 2)
    assert alike([0], [7]) == 0


def test_masks_are_stable_when_none_of_the_last_five_epochs_changed_a_tenth():
    def masks(shifts):
        return [{"0": (torch.arange(100).roll(shift) < 50).view(10, 10)} for shift in shifts]

    # A shift by k of a block of 50 changes 2k of 100 entries.
    assert watch("mask-distance", masks([0] * 9)) == 6
    assert watch("mask-distance", masks([0, 20, 24, 28, 32, 36, 40, 44])) == 7, "the first change was large"
    assert watch("mask-distance", masks(range(0, 60, 5))) is None, "a tenth is not below a tenth"
    assert watch("mask-distance", masks(range(0, 60, 5)), prune_threshold=0.11) == 6


def test_of_filters_the_filters_count():
    filters = [torch.tensor([[True] * 9, [False] * 9]), torch.tensor([[False] * 9, [True] * 9])]
    script = [{"0": filters[0]}] * 3 + [{"0": filters[1]}] * 6
    fields = {"structure": "filter", "sparsity": 0.5}
    assert watch("mask-distance", script, **fields) == 9, "both filters of two differ between epochs 3 and 4"


WATCHED = {
    "stable": {"sparsity": 0.5, "model": "lenet-300-100"},
    "epi": {"criterion": "magnitude", "batch_size": 256, "model": "lenet-300-100"},
    "mask-distance": {"sparsity": 0.5, "batch_size": 256, "structure": "filter"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WATCHED)
def test_a_trial_has_the_numbers_of_one_pruned_at_the_epoch_that_the_indicator_chose(name):
    fields = {"epochs": 14, "lr": 0.05, **WATCHED[name]}
    chosen = run(trial(prune_when=name, prune_epoch=13, **fields), masks=True)
    epoch = chosen.trial["pruned_at_epoch"]
    assert MOMENTS[name].earliest <= epoch < 13
    fixed = run(trial(prune_epoch=epoch, **fields), masks=True)
    assert fixed.trial["pruned_at_epoch"] is None
    one, other = numbers(chosen), numbers(fixed)
    for row in (*one, *other):
        for name in ("trial_id", "config", "arm", "prune_epoch", "pruned_at_epoch"):
            row.pop(name, None)
    assert one == other


@pytest.mark.slow
def test_a_prune_comes_at_the_latest_epoch_also_within_one():
    fields = {"epochs": 4, "model": "lenet-300-100", "prune_when": "stable", "prune_threshold": 1e-9}
    for latest in (1.5, 3):
        result = run(trial(**fields, prune_epoch=latest))
        assert result.trial["pruned_at_epoch"] == pytest.approx(latest, abs=0.05)
        dense = [row["epoch"] for row in result.curves if row["phase"] == "dense"]
        assert dense == pytest.approx(
            [*range(1, int(latest) + 1), *([latest] if latest % 1 else [])], abs=0.05
        )


@pytest.mark.slow
def test_weights_before_the_chosen_epoch_come_back_after_it():
    fields = {"epochs": 6, "model": "lenet-300-100", "sparsity": 0.5, "rewind_epoch": 2}
    chosen = run(trial(prune_when="stable", prune_epoch=5, **fields))
    fixed = run(trial(prune_epoch=chosen.trial["pruned_at_epoch"], **fields))
    assert chosen.trial["pruned_at_epoch"] < 5 and chosen.trial["test_loss"] == fixed.trial["test_loss"]


def test_a_trial_with_a_moment_of_its_own_goes_on_from_no_state_and_saves_none():
    """No state holds what the indicator has seen, and nobody knows how long it trains dense."""
    asked = trial(prune_when="stable", prune_epoch=2)
    assert branch(asked.config) is None
    chains = plan.share([asked, trial(prune_epoch=1), trial(sparsity=0)])
    [job] = [job for chain in chains for job in chain if job.trial == asked]
    assert (job.start, job.path, job.saves) == (None, (), ())


def test_what_a_fixed_moment_does_not_read_is_no_part_of_the_trial():
    assert trial(prune_when="stable", prune_epoch=1, sparsity=0) == trial(sparsity=0)
    assert trial(prune_when="stable", prune_epoch=1).id != trial(prune_epoch=1).id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "prune_when stable needs prune_epoch: the latest epoch of the prune"),
        ({"prune_when": None, "prune_threshold": 0.5}, "prune_threshold needs prune_when: whose"),
        (
            {"criterion": "imp", "prune_epoch": 1},
            "prune_when stable: imp has moments of its own: put prune_when",
        ),
        ({"criterion": "gmp", "prune_epoch": 1}, "gmp has moments of its own"),
        (
            {"prune_when": "epi", "prune_epoch": 1, "scope": "erk"},
            "its counts of layers never change: take global",
        ),
        (
            {"prune_when": "epi", "prune_epoch": 1, "criterion": "oracle", "structure": "filter"},
            "those of oracle are drawn: take stable",
        ),
        (
            {"prune_epoch": 9, "epochs": 9, "rewind_epoch": 4},
            "may prune at epoch 3 already: rewind to an epoch up",
        ),
        ({"prune_epoch": 9}, "prune_epoch 9 is beyond the 2 epochs of training"),
    ],
)
def test_fields_that_do_not_go_together_are_one_line(fields, message):
    with pytest.raises(BadInput, match=message):
        trial(**{"prune_when": "stable", **fields})


def test_an_unknown_indicator_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="no such moment; did you mean stable"):
        trial(prune_when="stabel", prune_epoch=1)
