import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pruners


def flat(scores):
    return torch.cat([score.flatten() for score in scores.values()])


def written_out(model, inputs, targets, share):
    """Relevance of every weight of Linear, ReLU, Linear: one sample, one output and one input at a time."""
    first, second = model[0], model[2]
    expected = [torch.zeros_like(first.weight), torch.zeros_like(second.weight)]
    for x, y in zip(inputs, targets, strict=True):
        z = first(x)
        a = z.clamp(min=0)
        out = second(a)
        hidden = torch.zeros_like(a)
        for i in range(len(a)):
            expected[1][y, i] += (part := share(a[i] * second.weight[y, i], a, second, y) * out[y])
            hidden[i] += part
        for j in range(len(a)):
            for i in range(len(x)):
                expected[0][j, i] += share(x[i] * first.weight[j, i], x, first, j) * hidden[j]
    return torch.cat([each.flatten() for each in expected]).abs() / len(inputs)


def epsilon_share(message, x, layer, j):
    z = layer.weight[j] @ x + layer.bias[j]
    return message / (z + (0.3 if z >= 0 else -0.3))


def alpha_beta_share(message, x, layer, j):
    messages = torch.cat([layer.weight[j] * x, layer.bias[j : j + 1]])
    if message > 0:
        return 2 * message / (messages.clamp(min=0).sum() + 1e-9)
    return -1 * message / (messages.clamp(max=0).sum() - 1e-9)


@pytest.mark.parametrize(
    ("share", "options"),
    [(epsilon_share, {"epsilon": 0.3}), (alpha_beta_share, {"epsilon": 1e-9, "alpha": 2.0})],
)
@torch.no_grad()
def test_relevance_follows_the_rule_written_out_message_by_message(share, options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    inputs, targets = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 3
    found = flat(pruners.saliency("lrp", model, [(inputs, targets)], **options))
    torch.testing.assert_close(found, written_out(model, inputs, targets, share))


def test_without_epsilon_relevance_is_weight_times_slope_of_the_true_output(conv_net):
    """Through convolutions, BatchNorm, ReLU and pooling; nll_loss is the negative mean of that output."""
    model, batches = conv_net
    model = model.double()
    batches = [(inputs.double(), targets) for inputs, targets in batches]
    found = flat(pruners.saliency("lrp", model, batches, epsilon=0.0))
    expected = flat(pruners.saliency("snip", model, batches, loss=F.nll_loss, score_mode="eval"))
    torch.testing.assert_close(found, expected)


def test_relevance_of_all_positive_weights_is_the_output():
    """Conservation: what enters a layer without biases leaves it again (Bach et al. 2015)."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2, bias=False)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    inputs, targets = torch.rand(5, 1, 4, 4), torch.tensor([0, 1, 1, 0, 1])
    expected = model(inputs).gather(1, targets.unsqueeze(1)).mean().item()
    for alpha in (None, 1.0):
        scores = pruners.saliency("lrp", model, [(inputs, targets)], alpha=alpha)
        assert [float(score.sum()) for score in scores.values()] == pytest.approx([expected] * 2, rel=1e-4)


def test_in_an_lstm_relevance_is_weight_times_slope_too(recurrent_net):
    model, [(inputs, targets)] = recurrent_net
    scores = pruners.saliency("lrp", model, [(inputs, targets)], epsilon=0.0)
    for name, score in scores.items():
        weight = model.get_parameter(name)
        for index in (0, weight.numel() // 2, weight.numel() - 1):
            outputs = []
            for factor in (1 + 1e-6, 1 - 1e-6):
                with torch.no_grad():
                    before = weight.view(-1)[index].clone()
                    weight.view(-1)[index] *= factor
                    outputs.append(model(inputs).gather(1, targets.unsqueeze(1)).mean().item())
                    weight.view(-1)[index] = before
            slope = abs(outputs[0] - outputs[1]) / 2e-6
            assert score.view(-1)[index].item() == pytest.approx(slope, rel=1e-4, abs=1e-9)


def test_a_linear_map_written_as_a_product_hands_relevance_on_as_the_layer_does():
    class Product(nn.Linear):
        def forward(self, inputs):
            return inputs @ self.weight.t() + self.bias

    torch.manual_seed(0)
    inputs, targets = torch.randn(5, 3), torch.arange(5) % 2
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    product = nn.Sequential(Product(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    product.load_state_dict(plain.state_dict())
    with torch.no_grad():  # a bias that is added outside of the map keeps no share to itself
        plain[0].bias.zero_(), product[0].bias.zero_()
    for options in ({"epsilon": 0.1}, {"alpha": 2.0}):
        expected = pruners.saliency("lrp", plain, [(inputs, targets)], **options)
        torch.testing.assert_close(pruners.saliency("lrp", product, [(inputs, targets)], **options), expected)
