from pathlib import Path

import pytest
import torch

import pruners
from pruners.narrowing import narrowed
from sweep import data, models
from sweep.config import Config
from sweep.errors import BadInput
from sweep.study.identity import Trial
from sweep.trial import masking, scoring
from sweep.trial.prefixes import Shared
from sweep.trial.run import prepared
from sweep.trial.scoring import ScoringData


def config(**fields):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 2}
    return Config(**(base | fields))


@pytest.fixture
def network():
    return models.build("conv-5", (1, 8, 8), 10, 0), data.load("digits", Path("data"), 0.1, 0)


def test_layers_include_and_exclude_weights_by_patterns(network):
    model, _ = network
    names = list(pruners.prunable(model))
    assert masking.excluded(config(), model) == []
    assert masking.excluded(config(layers="3.* 6.*"), model) == [
        n for n in names if n[:2] not in ("3.", "6.")
    ]
    assert masking.excluded(config(layers="* !17.*"), model) == ["17.weight"]
    assert masking.excluded(config(layers="!17.*"), model) == ["17.weight"]
    with pytest.raises(BadInput, match=r"layers conv9: conv-5 has no such prunable weight; it has 0\.weight"):
        masking.excluded(config(layers="0.* conv9"), model)
    with pytest.raises(BadInput, match="leaves nothing to prune"):
        masking.excluded(config(layers="0.* !0.weight"), model)


def test_balanced_scoring_batches_have_equally_many_images_of_each_class(network):
    _, loaded = network
    asked = config(balanced=True, score_batch_size=30, score_batches=50)
    drawn = ScoringData(asked, loaded)
    first = [labels for _, labels in drawn]
    assert len(first) == 50, "shuffled again when the images are used up"
    assert all(torch.bincount(labels, minlength=10).tolist() == [3] * 10 for labels in first)
    again = [labels for _, labels in ScoringData(asked, loaded)]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_scoring_options_reach_the_criterion(network):
    model, loaded = network
    plain = scoring.choose(config(), model, loaded).masks

    def other(**fields):
        masks = scoring.choose(config(**fields), model, loaded).masks
        return any(not torch.equal(masks[name], plain[name]) for name in plain)

    assert other(score_mode="eval") and other(score_loss="logit") and other(score_init="fresh")
    assert other(ablation="invert") and other(min_per_layer=300) and other(structure="filter", layers="!17.*")
    shuffled = scoring.choose(config(ablation="shuffle"), model, loaded).masks
    assert pruners.densities(shuffled) == pruners.densities(plain)
    assert any(not torch.equal(shuffled[name], plain[name]) for name in plain)


def test_the_layers_parameters_and_masks_of_a_config_are_checked(network):
    model, _ = network
    images = torch.zeros(1, 1, 8, 8)
    masking.check(config(layers="3.*", structure="filter"), model, images)
    recurrent = models.build("lstm-s", (1, 28, 28), 10, 0)
    lenet = models.build("lenet-300-100", (1, 8, 8), 10, 0)
    for asked, net, message in [
        (config(layers="conv9"), model, "layers conv9: conv-5 has no such prunable weight"),
        (config(structure="filter"), recurrent, "of LSTM has no filters: exclude it"),
        (config(min_per_layer=5000), model, "min_per_layer 5000 keeps more than"),
        (config(retrain="bn"), lenet, "retrain bn: conv-5 has no such parameters"),
        (config(criterion="oracle", structure="filter", layers="0.*", sparsity=0.5, combination=12870), model, "there are 12870 ways"),
    ]:  # fmt: skip
        with pytest.raises(BadInput, match=message):
            masking.check(asked, net, images)


@pytest.mark.parametrize(
    ("fields", "model", "message"),
    [
        ({"structure": "block"}, "conv-5", "conv-5: Sequential has no residual blocks with an identity shortcut"),
        ({"structure": "channel", "layers": "17.*"}, "conv-5", "conv-5: Sequential has no channels that can be removed"),
        ({"structure": "channel", "sparsity": 0.99}, "conv-5", "sparsity 0.99 keeps 2 units where 5 groups have to"),
        ({"structure": "width", "criterion": "random", "scope": "balanced", "sparsity": 0.9999}, "conv-5", "the narrowest"),
    ],
)  # fmt: skip
def test_what_a_network_has_no_units_for_is_one_line(fields, model, message):
    with pytest.raises(BadInput, match=message) as error:
        masking.check(config(**fields), models.build(model, (1, 8, 8), 10, 0), torch.zeros(1, 1, 8, 8))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("structure", ["channel", "width", "filter"])
def test_removed_units_are_nothing_after_training(structure):
    """Biases, scales and shifts stay 0 under momentum and weight decay, and are not counted as kept weights."""
    random = {"criterion": "random", "scope": "uniform"} if structure == "width" else {}
    trial = Trial.of(
        config(structure=structure, sparsity=0.5, epochs=1, batch_size=256, prune_epoch=0.5, **random)
    )
    stages = prepared(trial.config, "data", torch.device("cpu"), Shared())
    recorder = stages.run()
    parameters = dict(stages.model.named_parameters())
    others = {name: mask for name, mask in stages.masks.items() if name not in pruners.prunable(stages.model)}
    assert {"1.weight", "1.bias"} <= set(others)
    assert all(not parameters[name][~mask].any() for name, mask in stages.masks.items())
    kept = pruners.kept_units(stages.units, stages.masks)
    assert recorder.curves[-1]["kept"] == recorder.outcome()["kept"] < stages.total
    if structure != "filter":
        small = narrowed(stages.model.eval(), stages.units, kept)
        with torch.no_grad():
            images = torch.rand(3, 1, 8, 8)
            torch.testing.assert_close(small(images), stages.model(images))
