"""Units that are dropped along training: their counts, which they are, and that they stay away."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import pruners
from sweep import data
from sweep.rules.along import Updates
from sweep.trial import run
from sweep.trial.prefixes import Shared
from sweep.trial.stages import Stages
from tests.sweep.trial.test_run import trial

# Inputs, hidden units and outputs of lenet-300-100 on digits; its layers.
INPUTS, FIRST, SECOND, CLASSES = 64, 300, 100, 10
LAYERS = ("1", "3", "5")


def prepared(drop="magnitude", structure="channel", **fields):
    options = (("criterion.drop", drop),) if drop != "magnitude" else ()
    base = {"criterion": "gmp", "model": "lenet-300-100", "sparsity": 0.8, "epochs": 2, "update_every": 3}
    asked = trial(**(base | {"structure": structure, "parameters": options, "batch_size": 128} | fields))
    return Stages(asked.config, data.load("digits", Path("data"), 0.1, 0), Shared())


class ByHand:
    """Hidden units of lenet-300-100, their worth, and which are left: written anew, without a line of ours."""

    def __init__(self, stages, gradient, mean):
        self.stages, self.gradient, self.mean = stages, gradient, mean
        self.left = torch.ones(FIRST, dtype=bool), torch.ones(SECOND, dtype=bool)

    def worth(self):
        layers = [self.stages.model.get_parameter(f"{name}.weight").detach() for name in LAYERS]
        grads = [self.stages.model.get_parameter(f"{name}.weight").grad for name in LAYERS]
        one, two, three = (
            (w * g).abs() if self.gradient else w.abs() for w, g in zip(layers, grads, strict=True)
        )
        first, second = one.sum(1) + two.sum(0), two.sum(1) + three.sum(0)
        return (first / (INPUTS + SECOND), second / (FIRST + CLASSES)) if self.mean else (first, second)

    def drop(self, kept, alike):
        """Keep so many units of both layers, or as large a share of each."""
        ranked = [worth.masked_fill(~left, -1) for worth, left in zip(self.worth(), self.left, strict=True)]
        counts = [round(0.75 * kept), round(0.25 * kept)] if alike else [kept]
        of_groups = ranked if alike else [torch.cat(ranked)]
        least = [
            each.sort(descending=True).values[count - 1]
            for each, count in zip(of_groups, counts, strict=True)
        ]
        self.left = ranked[0] >= least[0], ranked[1] >= least[-1]

    def masks(self):
        first, second = self.left
        return {
            "1.weight": first[:, None].expand(FIRST, INPUTS),
            "1.bias": first,
            "3.weight": second[:, None] & first,
            "3.bias": second,
            "5.weight": second.expand(CLASSES, SECOND),
        }


@pytest.mark.parametrize(
    ("drop", "scope", "unit_score"),
    [("magnitude", "global", "sum"), ("taylor", "uniform", "sum"), ("taylor", "global", "mean")],
)
def test_channels_of_the_least_scores_leave_as_the_cubic_path_says(drop, scope, unit_score):
    stages = prepared(drop, scope=scope, unit_score=unit_score)
    updates, hand = Updates(stages.rule, stages), ByHand(stages, drop == "taylor", unit_score == "mean")
    counts, last = [], 15

    def between(step):
        due = step % 3 == 0 and 0 < step <= last
        if due:
            counts.append(round(400 * (1 - 0.8 * (1 - (1 - step / last) ** 3))))
            hand.drop(counts[-1], scope == "uniform")
        assert updates(step) is False
        for name, mask in hand.masks().items() if due else ():
            assert torch.equal(stages.masks.get(name, torch.ones_like(mask)), mask), (step, name)
        return False

    list(stages.training.run(stages.end, between))
    assert counts == [244, 149, 100, 83, 80]
    for name, mask in hand.masks().items():
        assert not stages.model.get_parameter(name)[~mask].any(), "what is removed is 0 after training too"


CASES = {
    "filters by SNIP": ("snip", {"structure": "filter", "scope": "uniform", "model": "conv-5"}),
    "channels by a draw for each": ("random", {"scope": "uniform", "model": "conv-5"}),
    "channels by gradient, group by group": ("magnitude+gradient", {"unit_score": "group-mean"}),
    "channels of one sign each": ("signed", {"scope": "uniform"}),
    "blocks by Taylor": ("taylor", {"structure": "block", "model": "resnet-20", "sparsity": 0.6}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_whole_units_leave_for_good_in_the_exact_number_of_each_update(case):
    drop, fields = CASES[case]
    stages = prepared(drop, **{"epochs": 1, "update_every": 2} | fields)
    total, kept, before = sum(group.size for group in stages.units), [], None
    updates = Updates(stages.rule, stages)

    def between(step):
        nonlocal before
        updates(step)
        now = pruners.kept_units(stages.units, updates.masks)
        weights = pruners.prunable(stages.model)
        whole = pruners.unit_masks(stages.units, now, weights)
        assert all(torch.equal(whole[name], mask) for name, mask in updates.masks.items()), (
            "no part of a unit"
        )
        assert before is None or not any((now[name] & ~before[name]).any() for name in now), "none comes back"
        if step % 2 == 0 and 0 < step <= 6:
            kept.append(sum(int(each.sum()) for each in now.values()))
        before = now
        return False

    list(stages.training.run(stages.end, between))
    sparsity = stages.config.sparsity
    assert (
        kept
        == [max(1, round(total * (1 - sparsity * (1 - (1 - step / 6) ** 3)))) for step in (2, 4, 6)]
        == sorted(kept, reverse=True)
    )


@pytest.mark.slow
def test_a_trial_of_channels_along_training_counts_units_in_its_sparsity_and_weights_in_its_columns():
    asked = trial(
        criterion="gmp", structure="channel", scope="uniform", sparsity=0.75, update_every=4, epochs=2
    )
    found = run(asked, masks=True)
    rows = {row["name"]: row for row in found.layers}
    # Of conv-5, whose layers have 16, 32, 64, 64 and 64 channels, a quarter is left.
    inputs, outputs = (1, 4, 8, 16, 16), (4, 8, 16, 16, 16)
    weights = [9 * i * o for i, o in zip(inputs, outputs, strict=True)] + [16 * 10]
    assert [row["kept"] for row in rows.values()] == weights
    assert found.trial["kept"] == sum(weights) == found.curves[-1]["kept"]
    assert found.curves[0]["kept"] > sum(weights), "the first epoch ends on the way"
    assert found.trial["status"] == "ok" and found.trial["collapsed_layers"] == 0


@pytest.mark.parametrize(
    ("structure", "model"), [("filter", "conv-5"), ("channel", "conv-5"), ("block", "resnet-20")]
)
def test_a_unit_that_came_back_at_0_would_stay_0(structure, model):
    """Why rules that grow take no structure."""
    stages = prepared(structure=structure, model=model)
    groups = stages.units[:3]
    kept = {group.name: torch.arange(group.size) >= (group.size + 1) // 2 for group in groups}
    masks = pruners.unit_masks(groups, kept, dict(stages.model.named_parameters()))
    pruners.apply_masks(stages.model, masks)
    batch = stages.data.train.take(torch.arange(32))
    F.cross_entropy(stages.model(stages.data.inputs(batch.images)), batch.labels).backward()
    removed = {name: ~masks[name] for name in pruners.prunable(stages.model) if not masks[name].all()}
    assert removed
    for name, entries in removed.items():
        assert not stages.model.get_parameter(name).grad[entries].any(), name
