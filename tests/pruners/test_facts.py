import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pruners


def test_multiply_adds_of_convolutions_linear_and_shared_layers():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer, layer)
    macs = pruners.multiply_adds(model, torch.zeros(5, 2, 6, 6))
    assert macs == {"0.weight": 16 * 9 * 4, "3.weight": 2 * 16}


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv1d(2, 4, 3, stride=2, padding=2), nn.Linear(5, 3)), (2, 7)),
        (nn.Sequential(nn.Conv2d(4, 6, (3, 2), dilation=2, groups=2), nn.Conv2d(6, 2, 1)), (4, 9, 8)),
        (nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2), nn.Conv3d(1, 2, 2)), (4, 5, 5)),
        (nn.ConvTranspose1d(4, 6, 3, groups=2, padding=1), (4, 5)),
    ],
)
def test_multiply_adds_are_half_the_flops_that_torch_counts(model, shape):
    inputs = torch.zeros(1, *shape)
    if isinstance(model, nn.Sequential) and isinstance(model[-1], nn.Conv3d):
        model.insert(1, nn.Unflatten(1, (1, 6)))
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    assert 2 * sum(pruners.multiply_adds(model, inputs).values()) == counter.get_total_flops()


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
