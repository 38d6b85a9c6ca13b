import pytest
import torch
import torch.nn.functional as F
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


def spread_by_hand(layer, x, out):
    """Σ over positions of σ(output) / σ(window) for each filter, in a loop; x is padded already."""
    height, width = layer.weight.shape[2:]
    per_group = len(layer.weight) // layer.groups
    channels = layer.weight.shape[1]
    ratios = []
    for k in range(len(layer.weight)):
        first = (k // per_group) * channels
        ratio = 0.0
        for r in range(out.shape[2]):
            for c in range(out.shape[3]):
                top, left = r * layer.stride[0], c * layer.stride[1]
                window = x[:, first : first + channels, top : top + height, left : left + width]
                if window.std(correction=0) > 0:
                    ratio += float(out[:, k, r, c].std(correction=0) / window.std(correction=0))
        ratios.append(ratio)
    return ratios


def test_of_a_filter_beta_rank_is_its_size_times_the_spread_of_its_outputs_over_that_of_its_windows(conv_net):
    """Against a loop over positions; with padding, a stride, two groups, BatchNorm, and a second batch."""
    model, batches = conv_net
    model[4] = nn.Conv2d(6, 6, 3, stride=2, groups=2)
    batches[1] = tuple(part[:4] for part in batches[1])
    with torch.no_grad():
        model[1].running_mean[:3] = 50.0  # of the first group no signal passes the ReLU
        model[0].weight[4] = 0.0
    scores = pruners.saliency("beta-rank", model, batches)
    masks = pruners.prune("beta-rank", model, batches, sparsity=0.5, scope="uniform", structure="filter")
    model.double().eval()
    for place, name in ((0, "0.weight"), (4, "4.weight")):
        layer = model[place]
        expected = torch.zeros(6, dtype=torch.float64)
        for inputs, targets in batches:
            x = model[:place](inputs.double()).detach()
            by_hand = spread_by_hand(layer, F.pad(x, (layer.padding[0],) * 4), layer(x).detach())
            expected += torch.tensor(by_hand) * len(targets) / 20
        expected *= layer.weight.detach().abs().flatten(1).mean(1)
        torch.testing.assert_close(scores[name].flatten(1).sum(1).double(), expected, rtol=1e-4, atol=1e-9)
    assert not scores["4.weight"][:3].any() and not scores["0.weight"][4].any()
    for name, count in (("0.weight", 3), ("4.weight", 3)):
        best = scores[name].flatten(1).sum(1).topk(count).indices
        assert sorted(best.tolist()) == masks[name].flatten(1).all(1).nonzero().flatten().tolist()


def test_of_a_linear_layer_and_an_lstm_a_window_is_all_that_a_unit_reads(recurrent_net):
    model, batches = recurrent_net
    inputs = batches[0][0]
    scores = pruners.saliency("beta-rank", model, batches)
    states = model.rows(inputs)[0].detach()
    of_head = model.head(states[:, -1]).std(0, correction=0) / states[:, -1].std(correction=0)
    head = model.head.weight.detach()
    torch.testing.assert_close(scores["head.weight"], head.abs() * of_head[:, None].detach() / head.shape[1])
    matrix = model.rows.weight_ih_l0.detach()
    steps = [(row @ matrix.t()).std(0, correction=0) / row.std(correction=0) for row in inputs.unbind(1)]
    expected = matrix.abs() * sum(steps)[:, None] / matrix.shape[1]
    torch.testing.assert_close(scores["rows.weight_ih_l0"], expected)


def test_what_beta_rank_cannot_score_is_one_line():
    transposed = nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.Flatten(), nn.Linear(27, 3))
    inputs, targets = torch.randn(4, 2, 2, 2), torch.arange(4) % 3
    with pytest.raises(
        ValueError, match=r"^beta-rank: layer 0\.weight is a transposed convolution.*exclude it$"
    ):
        pruners.saliency("beta-rank", transposed, [(inputs, targets)])
    assert pruners.saliency("beta-rank", transposed, [(inputs, targets)], exclude="0.*")
    with pytest.raises(ValueError, match=r"^beta-rank: .* give at least two in each batch$"):
        pruners.saliency("beta-rank", transposed, [(inputs[:1], targets[:1])])


class Inner(nn.Module):
    """A layer that `forward` computes with in its own way."""

    def __init__(self, compute):
        super().__init__()
        self.inner, self.compute = nn.Linear(3, 3, bias=False), compute

    def forward(self, inputs):
        return self.compute(inputs, self.inner.weight)


def without_gradients(inputs, weight):
    with torch.no_grad():
        return F.linear(inputs, weight.t().t())


@pytest.mark.parametrize(
    "compute",
    [
        lambda x, w: x @ w.t(),
        lambda x, w: torch.mm(x, w.T),
        lambda x, w: torch.cat([F.linear(x, part) for part in w.split(1)], 1),
        lambda x, w: F.linear(x, w.flatten().view(3, 3).detach()),
        lambda x, w: F.linear(x, w.data),
        without_gradients,
    ],
)
def test_a_linear_map_written_otherwise_scores_as_the_layer_does(compute):
    torch.manual_seed(0)
    model, inputs = Inner(compute), torch.randn(4, 3)
    found = pruners.saliency("wanda", model, [(inputs, torch.arange(4) % 3)])["inner.weight"]
    torch.testing.assert_close(found, model.inner.weight.detach().abs() * inputs.norm(dim=0))


@pytest.mark.parametrize("decode", [lambda h, w: F.linear(h, w.t()), lambda h, w: h @ w])
def test_a_tied_decoder_is_a_second_use_of_its_weight(decode):
    """Each weight meets a unit's input on the way in and its output on the way out."""
    torch.manual_seed(0)
    model = Inner(lambda x, w: decode(torch.relu(F.linear(x, w)), w))
    inputs = torch.randn(4, 3)
    weight = model.inner.weight.detach()
    hidden = torch.relu(inputs @ weight.t())
    met = inputs.square().sum(0) + hidden.square().sum(0)[:, None]
    batches = [(inputs, torch.arange(4) % 3)]
    found = pruners.saliency("wanda", model, batches)["inner.weight"]
    torch.testing.assert_close(found, weight.abs() * met.sqrt())
    fisher = pruners.saliency("fisher-diagonal", model, batches)["inner.weight"]
    both = pruners.saliency("gblm", model, batches, alpha=2.0)["inner.weight"]
    torch.testing.assert_close(both, weight.abs() * (met.sqrt() + 2 * (4 * fisher).sqrt()))


@pytest.mark.parametrize("name", ["wanda", "gblm", "beta-rank"])
@pytest.mark.parametrize(
    "compute",
    [
        lambda x, w: x * w.sum(0),
        lambda x, w: F.linear(x, 0.5 * w),
        lambda x, w: F.linear(x, w - w.mean(1, keepdim=True)),
        lambda x, w: F.linear(x, w) + x * w.sum(0),
        lambda x, w: F.linear(F.linear(x, w), w.abs()),
        lambda x, w: F.linear(x * w[0], w),
        lambda x, w: F.linear(x, w, w[0]),
        lambda x, w: torch.einsum("ni,oi->no", x, w),
    ],
)
def test_a_weight_used_in_another_way_if_only_once_is_an_error_that_names_criterion_and_layer(name, compute):
    batches = [(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))]
    message = rf"{name}: layer inner\.weight is used otherwise than as a linear map; exclude it"
    with pytest.raises(ValueError, match=message):
        pruners.saliency(name, Inner(compute), batches)


def test_a_layer_that_is_not_used_scores_zero():
    model = nn.ModuleDict({"used": nn.Linear(3, 3), "unused": nn.Linear(3, 3)})
    model.forward = lambda inputs: model["used"](inputs)
    scores = pruners.saliency("wanda", model, [(torch.randn(4, 3), torch.arange(4) % 3)])
    assert scores["used.weight"].all() and not scores["unused.weight"].any()
