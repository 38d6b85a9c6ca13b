import torch

from sweep import models
from sweep.models import cost
from sweep.trial import network


def test_multiply_adds_are_those_of_the_layers():
    # conv: output pixels × kernel × channels in × channels out; linear: its weights.
    assert cost.multiply_adds("conv-5", (1, 8, 8), 10) == {
        "0.weight": 64 * 9 * 16,
        "3.weight": 16 * 9 * 16 * 32,
        "6.weight": 16 * 9 * 32 * 64,
        "9.weight": 4 * 9 * 64 * 64,
        "12.weight": 4 * 9 * 64 * 64,
        "17.weight": 640,
    }
    assert sum(cost.multiply_adds("lenet-5-caffe", (1, 28, 28), 10).values()) == 2_293_000


def test_the_columns_of_a_masked_network():
    model = models.build("lenet-300-100", (1, 8, 8), 10, 0)
    masks = {
        "1.weight": torch.zeros(300, 64, dtype=torch.bool),
        "3.weight": torch.ones(100, 300, dtype=torch.bool),
        "5.weight": torch.ones(10, 100, dtype=torch.bool),
    }
    masks["1.weight"][7] = True
    macs = cost.multiply_adds("lenet-300-100", (1, 8, 8), 10)
    columns, effective = network.columns(model, masks, macs, torch.zeros(1, 1, 8, 8))
    assert columns["params"] == columns["macs_dense"] == 50_200
    assert columns["kept"] == columns["macs_masked"] == 64 + 30_000 + 1000
    assert columns["collapsed_layers"] == 0 and columns["min_layer_density"] == 1 / 300
    # Only what comes after unit 7 is on a path.
    assert columns["effective_density"] == (64 + 100 + 1000) / 50_200
    masks["1.weight"][7] = False
    columns, effective = network.columns(model, masks, macs, torch.zeros(1, 1, 8, 8))
    assert columns["collapsed_layers"] == 1 and columns["effective_density"] == 0
    assert not any(mask.any() for mask in effective.values())


def test_a_network_without_effective_masks_has_no_effective_density():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Threshold(0.1, 5), torch.nn.Linear(4, 2))
    masks = {f"{n}.weight": torch.ones_like(model[n].weight, dtype=torch.bool) for n in (0, 2)}
    columns, effective = network.columns(model, masks, {"0.weight": 16, "2.weight": 8}, torch.zeros(1, 4))
    assert effective is None and columns["effective_density"] is None and columns["density"] == 1
