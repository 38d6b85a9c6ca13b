import pytest
import torch
from torch import nn

import pruners


def test_multiply_adds_of_convolutions_linear_and_shared_layers():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer, layer)
    macs = pruners.multiply_adds(model, torch.zeros(5, 2, 6, 6))
    assert macs == {"0.weight": 16 * 9 * 4, "3.weight": 2 * 16}


def test_multiply_adds_of_an_lstm_are_those_of_every_step(recurrent_net):
    model, [(inputs, _)] = recurrent_net
    assert pruners.multiply_adds(model, inputs) == {
        "rows.weight_ih_l0": 6 * 80,
        "rows.weight_hh_l0": 6 * 100,
        "head.weight": 15,
    }
    assert model.training


def test_pq_index_is_golden_on_the_closed_form_weights_and_zero_for_equal_ones(net_g):
    model, _ = net_g
    weights = torch.cat([model[0].weight.flatten(), model[2].weight.flatten()])
    assert pruners.pq_index(weights) == pytest.approx(0.0564345303, abs=1e-9)
    assert pruners.pq_index(weights, 1, 2) == pytest.approx(0.0807458320, abs=1e-9)
    assert pruners.pq_index(torch.full((5,), -0.3)) == pytest.approx(0)
    assert pruners.pq_index(torch.zeros(4)) is None and pruners.pq_index(torch.zeros(0)) is None
