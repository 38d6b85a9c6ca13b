import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pruners
from pruners import samples


class Mixed(nn.Module):
    """Positions and samples share a dimension on the way, as in many attention models."""

    def __init__(self):
        super().__init__()
        self.each, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs):
        each = self.each(inputs.reshape(-1, 4)).relu()
        return self.head(each.reshape(len(inputs), -1, 5).mean(1))


class TimeFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.GRU(4, 5, 2), nn.Linear(5, 3)

    def forward(self, inputs):
        return self.head(self.rows(inputs.transpose(0, 1))[0][-1])


def shared():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Tanh(), nn.Linear(4, 3))


NETWORKS = {
    "few positions": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)), (9, 2, 4, 4)),
    "many positions": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(40, 3)), (9, 2, 12)),
    "in place": (lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)), (9, 1, 3, 3, 3)),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose1d(2, 4, 3), nn.Flatten(), nn.Linear(56, 3)), (9, 2, 12)),
    "a shared layer": (shared, (9, 4)),
    "samples and positions mixed": (Mixed, (9, 6, 4)),
    "time before samples, as many": (TimeFirst, (6, 6, 4)),
}  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
def test_squares_are_those_of_a_loop_over_samples(network):
    torch.manual_seed(0)
    build, shape = NETWORKS[network]
    model = build().double()
    inputs, targets = torch.randn(shape, dtype=torch.float64), torch.randint(0, 3, shape[:1])
    found = pruners.saliency("fisher-diagonal", model, [(inputs, targets)])
    expected = {name: torch.zeros_like(score) for name, score in found.items()}
    for i in range(len(targets)):
        alone = copy.deepcopy(model)
        F.cross_entropy(alone(inputs[i : i + 1]), targets[i : i + 1]).backward()
        for name in expected:
            expected[name] += alone.get_parameter(name).grad.square() / len(targets)
    torch.testing.assert_close(found, expected)


def test_an_lstm_and_a_convolutional_network_need_no_pass_per_sample(conv_net, recurrent_net, monkeypatch):
    monkeypatch.setattr(samples, "_one_by_one", None)
    for model, batches in (conv_net, recurrent_net):
        assert pruners.saliency("fisher-diagonal", model, batches)


SINGLE = ["fisher-diagonal", "fisher-pruning", "fts", "fbss", "gblm"]
WEIGHTS = torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64)
NO_MEAN = {
    "class weights": nn.CrossEntropyLoss(weight=WEIGHTS),
    "ignored targets": nn.CrossEntropyLoss(ignore_index=1),
    "a sum": nn.CrossEntropyLoss(reduction="sum"),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("loss", NO_MEAN)
def test_a_loss_that_is_no_mean_over_samples_is_refused_where_single_samples_score(name, loss, net_g):
    """Alone, a sample's class weight cancels: F would be that of the loss without weights, silently."""
    message = f"{name}: it scores with single samples, and the loss of a batch is not the mean of theirs"
    with pytest.raises(ValueError, match=message):
        pruners.saliency(name, *net_g, loss=NO_MEAN[loss])


@pytest.mark.parametrize("name", ["fisher-diagonal", "fts"])
def test_a_weighted_loss_that_is_a_mean_over_samples_scores_as_a_loop_over_them(name, net_g):
    model, [(inputs, targets)] = net_g

    def loss(outputs, targets):
        return F.cross_entropy(outputs, targets, weight=WEIGHTS, reduction="none").mean()

    def gradient(rows):
        model.zero_grad()
        loss(model(inputs[rows]), targets[rows]).backward()
        return {layer: model.get_parameter(layer).grad.clone() for layer in pruners.prunable(model)}

    alone = [gradient([i]) for i in range(6)]
    for layer, score in pruners.saliency(name, model, [(inputs, targets)], loss=loss).items():
        w, g = model.get_parameter(layer).detach(), gradient(range(6))[layer]
        fisher = sum(each[layer].square() for each in alone) / 6
        expected = fisher if name == "fisher-diagonal" else (w * g + w**2 * fisher / 2).abs()
        torch.testing.assert_close(score, expected)


def test_squares_never_fall_below_zero():
    """Two positions that cancel: a sum over pairs of them can round to just below 0."""

    class Centered(nn.Module):
        def __init__(self):
            super().__init__()
            self.each = nn.Linear(64, 64)

        def forward(self, inputs):
            out = self.each(inputs)
            return (out - out.mean(1, keepdim=True)).square().sum(1)

    torch.manual_seed(0)
    inputs = torch.randn(16, 1, 64).expand(-1, 2, -1) + 1e-4 * torch.randn(16, 2, 64)
    scores = pruners.saliency("fisher-diagonal", Centered(), [(inputs, torch.arange(16))])
    assert scores["each.weight"].min() >= 0


@pytest.mark.parametrize("per_sample", [True, False])
def test_the_fisher_family_scores_in_train_mode_too_if_asked(per_sample, conv_net):
    """Single samples then normalize with themselves, which `vmap` cannot follow and a loop can."""
    model, batches = conv_net
    model[3].p = 0.0
    found = pruners.saliency("fisher-diagonal", model, batches, score_mode="train", per_sample=per_sample)
    expected = {name: torch.zeros_like(score) for name, score in found.items()}
    parts = [(x[i : i + 1], y[i : i + 1]) for x, y in batches for i in range(16)] if per_sample else batches
    for inputs, targets in parts:
        alone = copy.deepcopy(model).train()
        F.cross_entropy(alone(inputs), targets).backward()
        for name in expected:
            expected[name] += alone.get_parameter(name).grad.square() / len(parts)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)
