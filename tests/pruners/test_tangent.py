import copy

import pytest
import torch
from torch import nn

import pruners
from pruners.tangent import output_change_gradient
from sweep.models.decoders import Decoder


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


class Read(nn.Module):
    """Tokens are embedded, and a linear layer reads each."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(5, 3), nn.Linear(3, 2, bias=False)

    def forward(self, tokens):
        return self.layer(self.embedding(tokens))


@pytest.mark.slow
def test_of_tokens_and_one_linear_layer_the_mean_is_known():
    """As of real inputs, 4·2 tokens whose embeddings are as wide as the embedding's weights: 2 ε² · 8 s²."""
    model = Read().double()
    nn.init.constant_(model.embedding.weight, 0.5)
    batches = [(torch.zeros(4, 2, dtype=torch.long), torch.zeros(4, dtype=torch.long))]
    found = pruners.saliency("ntk-sap", model, batches, draws=6000, redraw=False)["layer.weight"] / 6000
    torch.testing.assert_close(found, torch.full_like(found, 2 * 0.01**2 * 8 * 0.25), rtol=0.1, atol=0)


def test_of_a_decoder_it_is_the_slope_of_the_distance_with_drawn_embeddings():
    """Through attention, rotary positions and RMSNorm; against autograd with the embedding replaced by hand."""
    model = Decoder(11, 2, 8, 2, 12).double().eval()
    weights = {name: weight.detach() for name, weight in pruners.prunable(model).items()}
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    tokens = torch.arange(10).view(2, 5)

    def forward(leaves, inputs):
        return torch.func.functional_call(model, leaves, (inputs,))

    draws = torch.Generator().manual_seed(5)
    found = output_change_gradient(forward, weights, masks, tokens, draws, epsilon=0.01, redraw=False)

    draws = torch.Generator().manual_seed(5)
    noise = {name: torch.randn(w.shape, generator=draws).double() for name, w in weights.items()}
    width = model.embedding.weight.detach().square().mean().sqrt()
    drawn = torch.randn(2, 5, 8, generator=draws).double() * width
    gates = {name: torch.ones_like(weight, requires_grad=True) for name, weight in weights.items()}
    model.embedding.forward = lambda tokens: drawn
    plain = forward({name: gate * weights[name] for name, gate in gates.items()}, tokens)
    moved = {name: gate * (weights[name] + 0.01 * noise[name]) for name, gate in gates.items()}
    slopes = torch.autograd.grad((plain - forward(moved, tokens)).square().sum(), list(gates.values()))
    for name, expected in zip(gates, slopes, strict=True):
        torch.testing.assert_close(found[name], expected)
        assert found[name].any(), name


def test_tokens_count_by_their_number_alone():
    model = Decoder(11, 1, 8, 2, 12)
    tokens, targets = torch.arange(10).view(2, 5), torch.zeros(2, 5, dtype=torch.long)
    scores = pruners.saliency("ntk-sap", model, [(tokens, targets)])
    other = pruners.saliency("ntk-sap", model, [(tokens.flip(0) + 1, targets)])
    assert all(torch.equal(score, other[name]) for name, score in scores.items())


@pytest.mark.parametrize("places", [False, True], ids=["no embedding", "one of places alone"])
def test_tokens_that_no_embedding_reads_are_refused_in_one_line(places):
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.places = nn.Linear(5, 2), nn.Embedding(1, 5)

        def forward(self, tokens):
            place = self.places(torch.zeros(1, dtype=torch.long)) if places else 0
            return self.layer(nn.functional.one_hot(tokens, 5).float() + place)

    with pytest.raises(ValueError, match=r"ntk-sap.*tokens that go into an embedding") as caught:
        pruners.saliency("ntk-sap", Counted(), [(torch.arange(4), torch.zeros(4, dtype=torch.long))])
    assert "\n" not in str(caught.value)


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
