import pytest
import torch
from torch import nn

import pruners
from tests.pruners.golden import GOLDEN


def golden(name):
    return torch.tensor([float(value) for value in GOLDEN[name].split()], dtype=torch.float64)


def test_wanda_and_gblm_are_golden_in_the_first_layer(net_g):
    found = pruners.saliency("wanda", *net_g)["0.weight"].flatten()
    torch.testing.assert_close(found, golden("wanda"), rtol=1e-6, atol=0)
    found = pruners.saliency("gblm", *net_g, alpha=1.0)["0.weight"].flatten()
    torch.testing.assert_close(found, golden("gblm alpha=1"), rtol=1e-6, atol=0)


def test_of_a_convolution_each_weight_meets_its_own_pixels(conv_net):
    """Against a loop over samples, positions and weights; the second convolution has two groups."""
    model, batches = conv_net
    scores = pruners.saliency("wanda", model, batches)
    model.eval()
    inputs = torch.cat([inputs for inputs, _ in batches])
    entering = [inputs, model[:4](inputs)]
    padded = [nn.functional.pad(entering[0], (1, 1, 1, 1)), entering[1]]
    for layer, name, x in zip((model[0], model[4]), ("0.weight", "4.weight"), padded, strict=True):
        out, channels, height, width = layer.weight.shape
        per_group = out // layer.groups
        for o, c, i, j in [(0, 0, 0, 0), (out - 1, channels - 1, 2, 2), (2, 1, 0, 2), (3, 0, 1, 1)]:
            channel = (o // per_group) * channels + c
            rows, columns = x.shape[2] - height + 1, x.shape[3] - width + 1
            met = [
                x[n, channel, r + i, k + j].item()
                for n in range(len(x))
                for r in range(rows)
                for k in range(columns)
            ]
            norm = sum(value**2 for value in met) ** 0.5
            expected = abs(layer.weight[o, c, i, j].item()) * norm
            assert scores[name][o, c, i, j].item() == pytest.approx(expected, rel=1e-4)


def test_of_an_lstm_the_hidden_matrix_meets_the_states_before_each_step(recurrent_net):
    model, batches = recurrent_net
    scores = pruners.saliency("wanda", model, batches)
    inputs = batches[0][0]
    hidden = model.rows(inputs)[0][:, :-1]  # the first step meets zeros
    for name, met in [("rows.weight_ih_l0", inputs), ("rows.weight_hh_l0", hidden)]:
        norm = met.detach().flatten(0, 1).square().sum(0).sqrt()
        torch.testing.assert_close(scores[name], model.get_parameter(name).detach().abs() * norm)


def test_a_weight_used_in_another_way_is_an_error_that_names_criterion_and_layer():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, inputs):
            return inputs @ self.inner.weight.t()

    batches = [(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))]
    with pytest.raises(
        ValueError, match=r"wanda: layer inner\.weight is used otherwise than as a linear map"
    ):
        pruners.saliency("wanda", Scaled(), batches)
