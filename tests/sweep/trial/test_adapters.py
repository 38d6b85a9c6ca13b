"""Masked low-rank adapters: the network has their exact merge at all times, and nothing else is trained."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pruners
from sweep import data, models
from sweep.config import Config
from sweep.seeds import generator
from sweep.study.identity import Trial
from sweep.trial import run
from sweep.trial.adapters import Adapters
from sweep.trial.masking import retrained
from sweep.trial.prefixes import Shared
from sweep.trial.run import prepared
from sweep.trial.training import Training


def config(**fields):
    base = {
        "dataset": "digits",
        "model": "conv-5",
        "criterion": "magnitude",
        "sparsity": 0.5,
        "epochs": 2,
        "batch_size": 256,
        "retrain": "lora",
        "lora_rank": 3,
    }
    return Config(**(base | fields))


class Written(nn.Module):
    """The network as MaskLoRA writes it, with adapters in its forward pass: torch differentiates them."""

    def __init__(self, network, masks, adapters, scale):
        super().__init__()
        self.network, self.masks, self.scale = network, masks, scale
        names = adapters.state()
        self.base = {name: parts["base"].clone() for name, parts in names.items()}
        self.a = nn.ParameterList(nn.Parameter(parts["a"].clone()) for parts in names.values())
        self.b = nn.ParameterList(nn.Parameter(parts["b"].clone()) for parts in names.values())

    def effective(self):
        return {
            name: (base + self.scale * (b @ a).view(base.shape)) * self.masks[name]
            for (name, base), a, b in zip(self.base.items(), self.a, self.b, strict=True)
        }

    def forward(self, inputs):
        return torch.func.functional_call(self.network, self.effective(), inputs)


def test_training_is_that_of_adapters_in_the_forward_pass_and_their_merge_is_exact():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).double()
    weights = pruners.prunable(network)
    masks = {name: torch.rand(weight.shape) < 0.5 for name, weight in weights.items()}
    masked = [(weight, masks[name].double()) for name, weight in weights.items()]
    adapters = Adapters(weights, rank=2, alpha=6, seed=1)
    pruners.apply_masks(network, masks)
    first = {name: weight.detach().clone() for name, weight in weights.items()}
    adapters.merge(masked)
    assert all(torch.equal(weight, first[name]) for name, weight in weights.items()), "B begins at 0"
    written = Written(network, masks, adapters, scale=3.0)
    own = torch.optim.AdamW(adapters.parameters, lr=0.05)
    other = torch.optim.AdamW(
        [each for pair in zip(written.a, written.b, strict=True) for each in pair], lr=0.05
    )
    images, labels = torch.randn(8, 2, 4, 4, dtype=torch.double), torch.arange(8) % 3
    for _ in range(4):
        expected = F.cross_entropy(written(images), labels)
        loss = F.cross_entropy(network(images), labels)
        torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
        other.zero_grad(), network.zero_grad()
        expected.backward(), loss.backward()
        for weight, mask in masked:
            weight.grad.mul_(mask)
        adapters.take_gradients()
        own.step(), other.step()
        adapters.merge(masked)
    for name, weight in written.effective().items():
        torch.testing.assert_close(weights[name].detach(), weight.detach(), rtol=1e-9, atol=1e-9)
        parts = adapters.state()[name]
        merged = parts["base"] + 3 * (parts["b"] @ parts["a"]).view(weight.shape)
        assert torch.equal(weights[name], torch.where(masks[name], merged, 0))
        assert not weights[name][~masks[name]].any() and not torch.equal(weights[name], first[name])


def test_the_estimate_of_a_gradient_is_what_one_step_takes_from_the_product():
    """W of 2×2, r 1 and α 3, by hand; G is masked: c = 3, g_A = 3·Bᵀ(G ⊙ M), g_B = 3·(G ⊙ M)Aᵀ."""
    weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.double))
    adapters = Adapters({"w": weight, "unused": nn.Parameter(torch.ones(2, 3))}, rank=1, alpha=3, seed=0)
    state = adapters.state()["w"]
    state["a"].copy_(torch.tensor([[1.0, 2.0]])), state["b"].copy_(torch.tensor([[1.0], [-1.0]]))
    weight.grad = torch.tensor([[1.0, 0.5], [2.0, 100.0]]).double()
    masks = {"w": torch.tensor([[True, True], [True, False]])}
    # G ⊙ M = [[1, 0.5], [2, 0]]: g_A = 3·[-1, 0.5], g_B = 3·[2, 2].
    of_a, of_b = torch.tensor([[-3.0, 1.5]]), torch.tensor([[6.0], [6.0]])
    expected = of_b @ torch.tensor([[1.0, 2.0]]) + torch.tensor([[1.0], [-1.0]]) @ of_a - of_b @ of_a
    assert expected.tolist() == [[21.0, 4.5], [27.0, 1.5]]
    assert torch.equal(adapters.estimates(masks)["w"], expected.double())
    assert not adapters.estimates({"unused": torch.ones(2, 3, dtype=torch.bool)})["unused"].any()
    after = (state["b"] - of_b) @ (state["a"] - of_a)
    torch.testing.assert_close(state["b"] @ state["a"] - after, expected.double())


@pytest.mark.slow
def test_along_training_the_base_stays_and_the_masks_cut_the_merge():
    asked = config(
        criterion="gmp",
        prune_epoch=0.4,
        update_every=1,
        structure="channel",
        parameters=(("criterion.drop", "lora-average"),),
    )
    stages = prepared(Trial.of(asked).config, "data", torch.device("cpu"), Shared())
    stages.run()
    assert stages.recorder.curves[-1]["phase"] == "sparse"
    kept = pruners.kept_units(stages.units, stages.masks)
    sizes = sum(group.size for group in stages.units)
    assert sum(int(each.sum()) for each in kept.values()) == pruners.kept_count(sizes, 0.5)
    for name, parts in stages.training.adapters.state().items():
        merged = parts["base"] + 32 / 3 * (parts["b"] @ parts["a"]).view(parts["base"].shape)
        weight = stages.model.get_parameter(name)
        torch.testing.assert_close(weight.detach(), merged * stages.masks.get(name, 1))
        assert parts["base"].all(), "no mask was on when the adapters began"


def test_adapters_are_of_the_rank_that_is_asked_for_and_other_parameters_stay():
    loaded = data.load("digits", Path("data"), 0.1, 0)
    network = models.build("conv-5", loaded.shape, 10, seed=1)
    training = Training(config(), network, loaded)
    before = training.snapshot()
    trained, training.adapted = retrained(config(), network)
    training.only(trained)
    list(training.run(3))
    for name, weight in pruners.prunable(network).items():
        change = (weight.detach() - before[name]).flatten(1)
        assert torch.linalg.matrix_rank(change, rtol=1e-4) == min(3, *change.shape), name
    biases = [name for name in before if name.endswith("bias")]
    assert biases and not any(torch.equal(before[name], network.state_dict()[name]) for name in biases)


def test_an_embedding_is_not_trained_by_adapters():
    network = models.build("gpt-tiny", (16,), 256, seed=1, dtype=torch.int64)
    trains, adapted = retrained(config(model="gpt-tiny"), network)
    assert adapted == set(pruners.prunable(network))
    left = [name for name, _ in network.named_parameters() if not trains(name)]
    assert left == ["embedding.weight"], "scales of RMSNorm are trained"


def test_the_scales_of_rms_norms_are_normalization():
    network = models.build("gpt-tiny", (16,), 256, seed=1, dtype=torch.int64)
    trains, adapted = retrained(config(model="gpt-tiny", retrain="bn"), network)
    trained = [name for name, _ in network.named_parameters() if trains(name)]
    assert len(trained) == 7 and all("norm" in name for name in trained) and not adapted


def test_a_state_of_other_adapters_is_refused():
    weight = {"w": nn.Parameter(torch.ones(4, 3))}
    one, other = Adapters(weight, 2, 2, 0), Adapters(weight, 1, 2, 0)
    assert one.can_restore(one.state()) and not one.can_restore(other.state())
    same = Adapters(weight, 2, 2, 0).state()["w"]["a"]
    assert torch.equal(same, one.state()["w"]["a"]), "the seed says what A begins with"
    drawn = torch.rand(2, 3, generator=generator(0, "adapters", "w"))
    torch.testing.assert_close(same, (2 * drawn - 1) / 3**0.5)


def test_options_of_adapters_matter_to_adapters_alone():
    assert Trial.of(config(retrain="all", lora_rank=4, lora_alpha=8)) == Trial.of(
        config(retrain="all", lora_rank=9)
    )
    assert Trial.of(config(lora_rank=4)) != Trial.of(config(lora_rank=9))
    assert Trial.of(config(sparsity=0, lora_rank=4)) == Trial.of(
        config(sparsity=0, retrain="all", lora_rank=9)
    )


@pytest.mark.slow
def test_a_trial_retrains_by_adapters_and_keeps_its_mask(tmp_path):
    trial = Trial.of(config(prune_epoch=1, sparsity=0.9))
    result = run(trial, "data", masks=True)
    assert result.trial["status"] == "ok" and result.trial["density"] == pytest.approx(0.1, abs=1e-3)
    assert {row["kept"] for row in result.curves if row["phase"] == "retrain"} == {result.trial["kept"]}
    assert result.trial["test_loss"] < result.trial["pre_test_loss"]
