import itertools

import pytest
import torch
from torch import nn

import pruners


def random_masks(model, density, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape, generator=generator) < density
        for name, weight in pruners.prunable(model).items()
    }


@pytest.mark.parametrize("seed", range(5))
def test_in_a_multilayer_perceptron_effective_weights_are_those_on_a_path(seed):
    """Against every path from an input to an output, written out."""
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 2))
    masks = random_masks(model, 0.3, seed)
    first, second, third = masks.values()
    expected = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    for i, j, k, o in itertools.product(range(4), range(5), range(3), range(2)):
        if first[j, i] and second[k, j] and third[o, k]:
            expected["0.weight"][j, i] = expected["2.weight"][k, j] = expected["4.weight"][o, k] = True
    found = pruners.effective_masks(model, masks, torch.zeros(1, 4))
    assert all(torch.equal(found[name], expected[name]) for name in masks)


class Residual(nn.Module):
    """A block whose addition keeps channels alive that its convolutions have lost."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.block = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(3 * 4, 2)

    def forward(self, inputs):
        stem = self.act(self.norm(self.stem(inputs)))
        return self.head(torch.flatten(self.pool(self.act(stem + self.block(stem))), 1))


def test_paths_run_through_batchnorm_pooling_and_residual_additions():
    model = Residual()
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in pruners.prunable(model).items()}
    masks["stem.weight"][1] = False  # channel 1 has no input
    masks["block.weight"][2] = False  # channel 2 lives on by the addition alone
    masks["head.weight"][:, 0:4] = False  # channel 0 of the addition reaches no output
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = pruners.effective_masks(model, masks, torch.zeros(1, 1, 4, 4))
    assert found["stem.weight"][0].all(), "channel 0 reaches the output through the block"
    assert not found["block.weight"][0].any(), "the block's channel 0 leads nowhere"
    assert not found["block.weight"][:, 1].any(), "nothing comes in on channel 1"
    assert found["block.weight"][1, 0].all() and found["block.weight"][1, 2].all()
    assert found["head.weight"][:, 4:8].all(), "channel 1 is alive behind the block"
    assert found["head.weight"][:, 8:12].all(), "channel 2 is alive by the addition"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_without_any_path_has_no_effective_weight(conv_net):
    model, _ = conv_net
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in pruners.prunable(model).items()}
    masks["4.weight"][:] = False
    found = pruners.effective_masks(model, masks, torch.zeros(1, 2, 6, 6))
    assert not any(mask.any() for mask in found.values())
    assert model.training


def test_a_module_it_cannot_look_through_is_named():
    model = nn.Sequential(nn.Linear(4, 4), nn.Bilinear(4, 4, 2))
    masks = random_masks(model, 1.1, 0)
    with pytest.raises(ValueError, match=r"not worked out for Bilinear \(module '1'\)"):
        pruners.effective_masks(model, masks, torch.zeros(1, 4))


def test_a_shared_weight_is_one_weight():
    layer = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    masks = {"0.weight": torch.tensor([[1, 0, 0], [0, 0, 0], [0, 1, 0]], dtype=torch.bool)}
    found = pruners.effective_masks(model, masks, torch.zeros(1, 3))
    # 0 → 0 → 0 is a path; input 1 → unit 2 leads nowhere, and unit 1 has no input.
    assert found["0.weight"].tolist() == [[True, False, False], [False] * 3, [False] * 3]
