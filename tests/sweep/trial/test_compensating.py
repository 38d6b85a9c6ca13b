"""Trials whose prune is made up for: by new weights, by biases, on images and on texts."""

import json

import pytest
import torch

import pruners
from sweep.data import load
from sweep.errors import BadInput
from sweep.store.states import Store
from sweep.study.identity import Trial
from sweep.trial import again, files, masking, run
from sweep.trial.prefixes import Shared
from sweep.trial.run import prepared
from tests.sweep.trial import test_text
from tests.sweep.trial.test_moves import ordeal
from tests.sweep.trial.test_prefixes import same, together
from tests.sweep.trial.test_run import numbers, trial

root = test_text.root  # the fixture
CPU = torch.device("cpu")


def on_text(**fields):
    given = {"steps": 6, "prune_epoch": 0.1, "layers": "* !head.*", "criterion": "magnitude"}
    return Trial.of(test_text.config(**(given | fields)))


def test_the_default_changes_no_id_and_each_compensation_has_its_own():
    plain = trial(prune_epoch=1)
    assert "compensate" not in json.loads(plain.canonical)
    assert "score_order" not in json.loads(plain.canonical)
    assert trial(prune_epoch=1, compensate="none", score_order="whole").id == plain.id
    assert len({trial(prune_epoch=1, compensate=name).id for name in pruners.COMPENSATIONS}) == 4


def test_scoring_batches_matter_to_a_compensation_whatever_the_criterion():
    assert trial(criterion="magnitude", score_batches=3).id == trial(criterion="magnitude").id
    asked = {"criterion": "magnitude", "compensate": "obs"}
    assert trial(**asked, score_batches=3).id != trial(**asked).id
    assert trial(sparsity=0, compensate="obs", score_order="blockwise").id == trial(sparsity=0).id
    assert trial(criterion="gmp", score_order="blockwise").id == trial(criterion="gmp").id
    assert trial(criterion="magnitude", score_order="blockwise").id == trial(criterion="magnitude").id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"criterion": "gmp", "compensate": "obs"}, "compensate obs: gmp does not prune once for all"),
        ({"criterion": "imp", "compensate": "bias"}, "compensate bias: imp does not prune once for all"),
        ({"compensate": "obs", "rewind_epoch": 0}, "rewind_epoch with compensate obs: other weights would"),
        ({"compensate": "obs", "ablation": "reinit"}, "ablation with compensate obs: other weights would"),
        ({"score_order": "blockwise", "structure": "filter"}, "structure with score_order blockwise"),
        ({"score_order": "blockwise", "target": "effective"}, "target with score_order blockwise"),
        ({"criterion": "obs", "structure": "filter"}, "obs prunes single weights: leave out structure"),
        ({"criterion": "obs", "min_per_layer": 2}, "min_per_layer does not apply to obs"),
        ({"criterion": "obs", "prune_when": "stable"}, "obs has moments of its own"),
        ({"criterion": "obs", "iterations": 3}, "iterations 3: obs is one-shot"),
    ],
)
def test_fields_that_do_not_go_with_it_are_one_line(fields, message):
    with pytest.raises(BadInput, match=message) as caught:
        trial(prune_epoch=1, **fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"criterion": "obs"}, "conv-5: obs chooses layer by layer: take scope uniform"),
        ({"score_order": "blockwise"}, "conv-5: score_order blockwise: the scope ranks layers of several"),
        ({"model": "lstm-s", "compensate": "bias"}, "compensate bias with lstm-s: layer .* exclude it"),
    ],
)
def test_what_the_network_does_not_have_is_said_before_a_launch(fields, message):
    config = trial(**fields).config
    stages = prepared(config, "data", CPU, Shared())
    with pytest.raises(BadInput, match=message):
        masking.check(config, stages.model, stages.example)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"compensate": "obs"}, {"compensate": "bias", "criterion": "wanda"}])
def test_a_trial_on_text_is_killed_again_and_again_and_bit_equal(root, tmp_path, fields):
    asked = on_text(steps=40, **fields)
    alone = run(asked, root, masks=True)
    assert alone.trial["status"] == "ok" and alone.trial["density"] == pytest.approx(0.5, abs=1e-3)
    found, kills = ordeal(asked, root, Store(tmp_path))
    assert kills >= 1 and numbers(found) == numbers(alone)


@pytest.mark.long
@pytest.mark.slow
def test_trials_on_text_share_their_dense_training_and_scores_with_compensated_ones(root, tmp_path):
    asked = [
        on_text(criterion=criterion, sparsity=sparsity, compensate=name)
        for criterion in ("magnitude", "wanda")
        for sparsity in (0.5, 0.7)
        for name in ("none", "obs", "bias")
    ]
    asked += [on_text(criterion="obs", compensate=name) for name in ("none", "obs")]
    asked += [on_text(criterion="wanda", score_order="blockwise", sparsity=s) for s in (0.5, 0.7)]
    alone = [run(each, root) for each in asked]
    shared, steps = together(asked, Store(tmp_path), root)
    same(shared, alone)
    assert steps < sum(result.trial["trained_steps"] for result in alone)


@pytest.mark.slow
def test_removed_weights_stay_0_while_updated_ones_are_trained(root):
    for name in ("obs", "bias", "reconstruct"):
        stages = prepared(on_text(compensate=name).config, root, CPU, Shared())
        stages.run()
        for layer, mask in stages.masks.items():
            weight = stages.model.get_parameter(layer)
            assert not weight[~mask].any() and weight[mask].all()


@pytest.mark.slow
def test_the_update_lowers_the_loss_right_after_the_prune(root):
    losses = {
        name: run(on_text(steps=60, prune_epoch=1, sparsity=0.8, compensate=name), root).trial[
            "pre_test_loss"
        ]
        for name in pruners.COMPENSATIONS
    }
    assert losses["obs"] < losses["none"] and losses["reconstruct"] < losses["none"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["obs", "bias"])
def test_kept_weights_and_exports_have_the_new_biases(name, root, tmp_path):
    asked = on_text(compensate=name)
    stages, outcome = again.run_again(asked, str(root), "cpu", None, lambda row: None)
    path = tmp_path / "weights.safetensors"
    files.write_weights(path, stages, files.header_of(asked, stages, outcome))
    other = prepared(asked.config, root, CPU, Shared())
    again._load(other, path, again.weights.parse(path.name, path.read_bytes()))
    state = other.model.state_dict()
    assert ("blocks.0.attention.q.bias" in state) == (name == "bias")
    assert all(torch.equal(value, state[each]) for each, value in stages.model.state_dict().items())
    program = files._program(stages).module()
    tokens = load(asked.config.dataset, root, 0.1, 0, arguments=asked.config.arguments("dataset")).test
    inputs = stages.data.inputs(tokens.images[:3])
    torch.testing.assert_close(program(inputs), stages.model.eval()(inputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["obs", "bias"])
def test_a_network_that_is_made_smaller_takes_its_updated_weights_along(name):
    asked = {"structure": "channel", "sparsity": 0.5, "scope": "uniform", "prune_epoch": 1, "epochs": 1}
    small, masked = (run(trial(**asked, compensate=name, shrink=shrink)).trial for shrink in (True, False))
    assert small["status"] == "ok" and small["pre_test_loss"] == masked["pre_test_loss"]
    assert small["test_loss"] == pytest.approx(masked["test_loss"], rel=1e-5)
