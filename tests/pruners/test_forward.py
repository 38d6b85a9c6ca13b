import torch
from torch import nn

from pruners.forward import run


def test_a_module_that_stands_in_the_model_twice_keeps_its_parameters():
    layer = nn.Linear(3, 3)
    model, weight = nn.Sequential(layer, nn.ReLU(), layer), layer.weight
    other = {"0.weight": torch.eye(3), "0.bias": torch.ones(3)}
    assert torch.equal(run(model, other, torch.ones(1, 3)), torch.full((1, 3), 3.0))
    assert layer.weight is weight and isinstance(layer.weight, nn.Parameter)


def test_a_recurrent_layer_forgets_what_was_put_in_its_place():
    layer = nn.LSTM(2, 3)
    other = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    run(layer, other, torch.ones(4, 1, 2))
    assert layer._flat_weights[0] is layer.weight_ih_l0
