import pytest
import torch
import torch.nn.functional as F
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


class Computing(nn.Module):
    """A layer that computes with something made of its weight, and a plain one."""

    def __init__(self, compute):
        super().__init__()
        self.inner, self.head, self.compute = nn.Linear(6, 6, bias=False), nn.Linear(6, 2), compute
        self.gain = nn.Parameter(torch.ones(6, 1))

    def forward(self, inputs):
        return self.head(self.compute(self, inputs, self.inner.weight))


def without_gradients(model, inputs, weight):
    with torch.no_grad():
        return F.linear(inputs, weight * 2)


COMPUTED = {
    "standardized": (lambda m, x, w: F.linear(x, (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True)), 36),
    "scaled": (lambda m, x, w: F.linear(x, w * 0.5), 36),
    "with a gain that is learned": (lambda m, x, w: F.linear(x, w * m.gain), 36),
    "a product": (lambda m, x, w: x @ w.T, 36),
    "a tied decoder": (lambda m, x, w: F.linear(F.linear(x, w).relu(), w.t()), 72),
    "a tied decoder as a product": (lambda m, x, w: (x @ w.t()).relu() @ w, 72),
    "a part of it": (lambda m, x, w: F.pad(F.linear(x, w[:4]), (0, 2)), 24),
    "held": (lambda m, x, w: F.linear(x, w.detach()), 36),
    "its data": (lambda m, x, w: F.linear(x, w.data), 36),
    "without gradients": (without_gradients, 36),
    "not used": (lambda m, x, w: x, 0),
    "asked for its shape alone": (lambda m, x, w: x.view(-1, w.shape[1]) + w.new_zeros(6), 0),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_multiply_adds_with_something_made_of_a_weight_are_the_weights(name):
    compute, expected = COMPUTED[name]
    model = Computing(compute)
    assert pruners.multiply_adds(model, torch.ones(3, 6)) == {"inner.weight": expected, "head.weight": 12}
    assert model.inner.weight.requires_grad and model.inner.weight.grad is None


def test_multiply_adds_of_frozen_weights_are_counted_too():
    model = Computing(COMPUTED["scaled"][0]).requires_grad_(False)
    assert pruners.multiply_adds(model, torch.ones(3, 6))["inner.weight"] == 36
    assert not model.inner.weight.requires_grad


@pytest.mark.parametrize(
    "compute",
    [
        lambda m, x, w: x * w.sum(1),
        lambda m, x, w: x + F.linear(x * w[0], w),
        lambda m, x, w: F.linear(x, w @ w),
        lambda m, x, w: F.linear(x, torch.cat([w[:4], m.head.weight])),
    ],
)
def test_a_weight_that_is_in_no_linear_map_of_its_own_is_no_zero_but_an_error(compute):
    with pytest.raises(ValueError, match=r"layer inner\.weight is used otherwise than as a linear map"):
        pruners.multiply_adds(Computing(compute), torch.ones(3, 6))


def test_what_masks_save_is_of_the_layers_that_have_one():
    """A layer that was excluded for what it is needs no count."""
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 2))
    masks = pruners.prune("random", model, sparsity=0.5, exclude="0.*")
    example = torch.ones(1, 4)
    found = pruners.cost(nn.Sequential(nn.Identity(), model[1]), masks, example)
    assert (found.macs, found.macs_kept, found.kept) == (8, 4, 4)
    with pytest.raises(ValueError, match="not worked out for networks that call the function"):
        pruners.cost(model, masks, example)


def test_pq_index_is_golden_on_the_closed_form_weights_and_zero_for_equal_ones(net_g):
    model, _ = net_g
    weights = torch.cat([model[0].weight.flatten(), model[2].weight.flatten()])
    assert pruners.pq_index(weights) == pytest.approx(0.0564345303, abs=1e-9)
    assert pruners.pq_index(weights, 1, 2) == pytest.approx(0.0807458320, abs=1e-9)
    assert pruners.pq_index(torch.full((5,), -0.3)) == pytest.approx(0)
    assert pruners.pq_index(torch.zeros(4)) is None and pruners.pq_index(torch.zeros(0)) is None


def test_the_pq_index_of_layers_together_is_that_of_their_kept_weights():
    torch.manual_seed(0)
    layers, masks = [torch.randn(4, 5), torch.randn(7)], [torch.rand(4, 5) < 0.5, torch.rand(7) < 0.5]
    kept = torch.cat([weight[mask] for weight, mask in zip(layers, masks, strict=True)])
    masked = [weight * mask for weight, mask in zip(layers, masks, strict=True)]
    for p, q in ((0.5, 1), (1, 2)):
        assert pruners.pq_index_of(masked, len(kept), p, q) == pytest.approx(pruners.pq_index(kept, p, q))
    assert pruners.pq_index_of([], 0) is None
    assert pruners.pq_index_of([torch.zeros(3)], 3) is None
    assert pruners.pq_index_of([torch.tensor([1.0, float("nan")])], 2) is None
