import copy

import pytest
import torch
from torch import nn

import pruners
from pruners.tangent import output_change_gradient


def test_it_is_the_slope_of_the_written_out_distance(conv_net):
    """Against central differences in the masks, the statistics of BatchNorm held as they are unperturbed."""
    model, batches = conv_net
    model = model.double().eval()
    like = batches[0][0].double()
    weights = {name: weight.detach() for name, weight in pruners.prunable(model).items()}
    generator = torch.Generator().manual_seed(3)
    masks = {name: torch.rand(w.shape, generator=generator) < 0.7 for name, w in weights.items()}

    def forward(leaves, inputs):
        return torch.func.functional_call(model, leaves, (inputs,))

    draws = torch.Generator().manual_seed(5)
    found = output_change_gradient(forward, weights, masks, like, draws, epsilon=0.01, redraw=False)

    draws = torch.Generator().manual_seed(5)
    inputs = torch.randn(like.shape, generator=draws).double()
    noise = {name: torch.randn(w.shape, generator=draws).double() for name, w in weights.items()}

    def distance(gates):
        plain, moved = copy.deepcopy(model), copy.deepcopy(model)
        with torch.no_grad():
            for name, gate in gates.items():
                plain.get_parameter(name).copy_(gate * weights[name])
                moved.get_parameter(name).copy_(gate * (weights[name] + 0.01 * noise[name]))
            return (plain(inputs) - moved(inputs)).square().sum().item()

    # The only BatchNorm sees the first convolution's output with the gates at the masks.
    with torch.no_grad():
        first = nn.functional.conv2d(inputs, masks["0.weight"] * weights["0.weight"], padding=1)
        model[1].running_mean.copy_(first.mean((0, 2, 3)))
        model[1].running_var.copy_(first.transpose(0, 1).flatten(1).var(1))
    for name, slope in found.items():
        for index in (0, slope.numel() // 2, slope.numel() - 1):
            values = []
            for step in (1e-5, -1e-5):
                gates = {layer: mask.double() for layer, mask in masks.items()}
                gates[name].view(-1)[index] += step
                values.append(distance(gates))
            expected = (values[0] - values[1]) / 2e-5
            assert slope.view(-1)[index].item() == pytest.approx(expected, rel=1e-4, abs=1e-10)


@pytest.mark.slow
def test_of_one_linear_layer_the_mean_is_known():
    """Σ (ε Σ_k m_k z_k x_k)² has the slope 2 ε² Σ x² in m at 1, on average over z."""
    model = nn.Linear(3, 2, bias=False).double()
    batches = [(torch.zeros(8, 3, dtype=torch.float64), torch.zeros(8, dtype=torch.long))]
    found = pruners.saliency("ntk-sap", model, batches, draws=20000, redraw=False)["weight"] / 20000
    torch.testing.assert_close(found, torch.full_like(found, 2 * 0.01**2 * 8), rtol=0.05, atol=0)


def test_it_sees_neither_data_nor_with_new_draws_the_weights(recurrent_net):
    model, batches = recurrent_net
    scores = pruners.saliency("ntk-sap", model, batches)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.rows.weight_ih_l0.copy_(other.rows.weight_ih_l0.flip(0))
    flipped = pruners.saliency("ntk-sap", other, [(torch.randn_like(x), y) for x, y in batches])
    assert all(torch.equal(score, flipped[layer]) for layer, score in scores.items())
    same = pruners.saliency("ntk-sap", model, batches, redraw=False)
    assert not torch.equal(same["rows.weight_ih_l0"], scores["rows.weight_ih_l0"])


def test_each_iteration_draws_anew(recurrent_net):
    model, batches = recurrent_net
    first, second = pruners.trajectory("ntk-sap", model, batches, sparsity=0, iterations=2)
    assert not torch.equal(first.scores["head.weight"], second.scores["head.weight"])
