"""Trials whose counts are given by layer, by a pattern or in effective weights; and what a trial explores."""

import math

import pytest
import torch

import pruners
from sweep import data
from sweep.errors import BadInput
from sweep.models import build
from sweep.trial import masking, run
from tests.sweep.trial.test_run import numbers, trial


def without(result, *fields):
    """The numbers of a result without names that follow from some fields."""
    found = numbers(result)
    for row in found:
        for name in ("trial_id", "config", "arm", *fields):
            row.pop(name, None)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["snip", "set", "imp"])
def test_densities_give_the_numbers_of_a_scope_with_these_densities(criterion):
    given = {"criterion": criterion, "update_every": 4, "sparsity": 0.36, "epochs": 1}
    by_scope = run(trial(**given, scope="uniform"))
    by_layer = run(trial(**given, densities="0.*=0.5 *=0.5"))
    assert without(by_layer, "scope") == without(by_scope, "scope")
    assert by_layer.trial["trial_id"] != by_scope.trial["trial_id"]


@pytest.mark.slow
def test_a_sparsity_of_effective_weights_is_reached_in_effective_weights():
    plain, effective = (
        run(trial(sparsity=0.98, epochs=1, target=target)) for target in ("kept", "effective")
    )
    wanted = pruners.kept_count(plain.trial["params"], 0.98)
    assert plain.trial["kept"] == wanted > plain.trial["effective_density"] * plain.trial["params"]
    assert effective.trial["kept"] > wanted
    assert 0 <= round(effective.trial["effective_density"] * plain.trial["params"]) - wanted <= 3


@pytest.mark.slow
def test_masks_of_a_pattern_have_it_at_the_end():
    found = run(trial(criterion="gmp", update_every=4, scope="2:4", sparsity=0.5, epochs=1), masks=True)
    [layer] = [each for each in found.masks if each["name"] == "3.weight"] or [found.masks[1]]
    bits = torch.tensor(list(layer["bits"]), dtype=torch.uint8)
    mask = torch.stack([(bits >> shift) & 1 for shift in range(7, -1, -1)], 1).flatten()[: layer["params"]]
    of_four = mask.view(layer["shape"]).movedim(1, -1).reshape(-1, 4)
    assert bool((of_four.sum(1) == 2).all())


def test_effective_weights_need_a_network_for_which_they_are_worked_out():
    class Odd(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(torch.fft.fft(x).abs())

    config = trial(target="effective").config
    with pytest.raises(
        BadInput, match="target effective with conv-5: effective masks are not worked out for"
    ):
        masking.check_target(config, Odd(torch.nn.Linear(4, 3)), torch.zeros(1, 4))
    masking.check_target(trial().config, Odd(torch.nn.Linear(4, 3)), torch.zeros(1, 4))


@pytest.mark.slow
def test_explored_is_the_share_of_weights_that_a_mask_kept_in_a_step():
    kept = {"sparsity": 0.9, "epochs": 1}
    once, late, dense = (
        run(trial(**kept)),
        run(trial(**kept, prune_epoch=0.5)),
        run(trial(sparsity=0, epochs=1)),
    )
    assert once.trial["explored"] == once.trial["density"]
    assert late.trial["explored"] == dense.trial["explored"] == 1
    grown = run(trial(criterion="rigl", update_every=2, **kept))
    assert grown.trial["density"] < grown.trial["explored"] < 1


@pytest.mark.slow
def test_explored_is_the_union_of_the_masks_of_updates(monkeypatch):
    """Counted by hand: the masks that are on in each step."""
    from sweep.trial.training import Training

    seen, step = {}, Training._train

    def noting(self, batches, between):
        def after(number):
            stood_in = bool(between and between(number))
            return stood_in

        def before():
            for parameter, mask in self._masked:
                seen[parameter] = seen.get(parameter, torch.zeros_like(mask).bool()) | mask.bool()

        self.before_step = before
        return step(self, batches, after if between else None)

    monkeypatch.setattr(Training, "_train", noting)
    found = run(trial(criterion="set", update_every=3, sparsity=0.9, epochs=1))
    union = sum(int(mask.sum()) for mask in seen.values()) / sum(mask.numel() for mask in seen.values())
    assert found.trial["explored"] == union > found.trial["density"]


@pytest.mark.slow
def test_the_pq_index_of_the_whole_network_is_recorded_after_each_epoch():
    levels = run(trial(criterion="imp", sparsity=0.488, iterations=3, epochs=1))
    assert [row["phase"] for row in levels.curves] == ["dense", "level 1", "level 2", "retrain"]
    assert all(0 < row["pq_index"] < 1 for row in levels.curves)
    digits = data.load("digits", "data", 0.1, 0)
    model = build("conv-5", digits.form.shape, digits.classes, 0)
    weights = torch.cat([weight.flatten() for weight in pruners.prunable(model).values()])
    alike = run(trial(sparsity=0, epochs=1, lr=1e-12, weight_decay=0))
    assert math.isclose(alike.curves[-1]["pq_index"], pruners.pq_index(weights), rel_tol=0.02)
    # Layers that may not be pruned are weights of the network too.
    some = run(trial(sparsity=0.9, layers="!0.*", prune_epoch=1))
    assert some.curves[0] == run(trial(sparsity=0.9, prune_epoch=1)).curves[0] | {
        "trial_id": some.trial["trial_id"],
        "kept": some.curves[0]["kept"],
        "seconds": some.curves[0]["seconds"],
    }


@pytest.mark.slow
def test_a_trial_records_what_its_relus_let_pass_and_networks_without_them_have_none():
    found = run(trial(epochs=1)).trial
    assert 0 <= found["dead_units"] < found["zero_outputs"] < 1
    other = run(trial(epochs=1, model="lstm-s")).trial
    assert other.get("dead_units") is other.get("zero_outputs") is None
