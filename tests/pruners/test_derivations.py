"""Every criterion that is made of derivatives, against differences of losses of the network itself.

On a convolution with BatchNorm and a linear layer, and on an LSTM, all in float64; three weights of each
parameter. The references only ever run the network forwards, but for the inner steps of training and GraSP.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pruners

STEP = 1e-5


@pytest.fixture(params=["convolution", "lstm"])
def net(request, recurrent_net):
    if request.param == "lstm":
        return recurrent_net
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)
    ).double()
    model[1].running_mean.uniform_(-0.2, 0.2)
    model[1].running_var.uniform_(0.5, 2)
    return model, [(torch.randn(6, 2, 4, 4, dtype=torch.float64), torch.arange(6) % 3)]


class Reference:
    """A network at a mask, whose weights can be moved."""

    def __init__(self, net, train, masks=None, temperature=1.0):
        model, [(self.inputs, self.targets)] = net
        self.train, self.temperature = train, temperature
        self.model = copy.deepcopy(model)
        self.dense = {name: w.detach().clone() for name, w in pruners.prunable(model).items()}
        if masks:
            pruners.apply_masks(self.model, masks)
        self.weights = {name: w.detach().clone() for name, w in pruners.prunable(self.model).items()}

    def loss(self, rows=slice(None), moved=None):
        """Loss of some samples with some weights moved: (name, index) → by how much."""
        model = copy.deepcopy(self.model).train(self.train)
        with torch.no_grad():
            for (name, index), change in (moved or {}).items():
                model.get_parameter(name).view(-1)[index] += change
            return F.cross_entropy(model(self.inputs[rows]) / self.temperature, self.targets[rows]).item()

    def slope(self, at, rows=slice(None)):
        return (self.loss(rows, {at: STEP}) - self.loss(rows, {at: -STEP})) / (2 * STEP)

    def square(self, at):
        """Mean square of the slopes of single samples."""
        size = len(self.targets)
        return sum(self.slope(at, slice(i, i + 1)) ** 2 for i in range(size)) / size

    def gradient(self, model=None):
        """Gradient of all prunable weights, one after another."""
        model = model or copy.deepcopy(self.model).train(self.train)
        loss = F.cross_entropy(model(self.inputs) / self.temperature, self.targets)
        return torch.cat(
            [g.flatten() for g in torch.autograd.grad(loss, list(pruners.prunable(model).values()))]
        )

    def along(self, direction):
        """H v: difference of gradients on both sides."""
        sides = []
        for sign in (1, -1):
            model, start = copy.deepcopy(self.model).train(self.train), 0
            with torch.no_grad():
                for weight in pruners.prunable(model).values():
                    part = direction[start : start + weight.numel()]
                    weight += sign * 1e-4 * part.view_as(weight)
                    start += weight.numel()
            sides.append(self.gradient(model))
        return (sides[0] - sides[1]) / 2e-4

    def weight(self, at, dense=False):
        name, index = at
        return (self.dense if dense else self.weights)[name].view(-1)[index].item()

    def position(self, at):
        """Where the weight stands among all."""
        before = list(self.weights)[: list(self.weights).index(at[0])]
        return sum(self.weights[name].numel() for name in before) + at[1]


def places(scores):
    for name, score in scores.items():
        for index in {0, score.numel() // 2, score.numel() - 1}:
            yield name, index


def check(scores, expected, rel=2e-4):
    for name, index in places(scores):
        found = scores[name].view(-1)[index].item()
        assert found == pytest.approx(expected((name, index)), rel=rel, abs=1e-9), (name, index)


def second_order(reference, at):
    w, g, f = reference.weight(at), reference.slope(at), reference.square(at)
    return {
        "fisher-diagonal": f,
        "fisher-pruning": w**2 * f / 2,
        "fts": abs(w * g + w**2 * f / 2),
        "fbss": f / 2 * (w - g / f) ** 2,
    }


@pytest.mark.parametrize("name", ["fisher-diagonal", "fisher-pruning", "fts", "fbss"])
def test_the_fisher_family_squares_the_slopes_of_single_samples(name, net):
    reference = Reference(net, train=False)
    check(pruners.saliency(name, *net), lambda at: second_order(reference, at)[name])


FIRST_ORDER = {
    "grad-norm": lambda r, at: abs(r.slope(at)),
    "snip": lambda r, at: abs(r.weight(at) * r.slope(at)),
    "iter-snip": lambda r, at: abs(r.weight(at) * r.slope(at)),
    "force": lambda r, at: abs(r.weight(at, dense=True) * r.slope(at)),
    "grasp-it": lambda r, at: r.slope(at) ** 2,
}


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_first_order_criteria_take_the_slope_of_the_loss_at_the_mask(name, net):
    first, second = pruners.trajectory(name, *net, sparsity=0.6, iterations=2)
    for step, masks in ((first, None), (second, first.masks)):
        reference = Reference(net, train=True, masks=masks)
        check(step.scores, lambda at, reference=reference: FIRST_ORDER[name](reference, at))


def test_grasp_is_weight_times_the_change_of_the_gradient_along_itself(net):
    reference = Reference(net, train=True, temperature=200.0)
    product = reference.along(reference.gradient())
    expected = lambda at: reference.weight(at) * product[reference.position(at)].item()  # noqa: E731
    scores = pruners.saliency("grasp", *net)
    scale = max(float(score.abs().max()) for score in scores.values())
    check({k: s / scale for k, s in scores.items()}, lambda at: expected(at) / scale, rel=1e-3)


def test_crop_is_the_size_of_that_change_in_eval_mode_without_a_temperature_at_the_mask(net):
    first, second = pruners.trajectory("crop", *net, sparsity=0.6, iterations=2)
    for step, masks in ((first, None), (second, first.masks)):
        reference = Reference(net, train=False, masks=masks)
        gradient = reference.gradient()
        if masks:  # pruned weights do not move
            gradient = gradient * torch.cat([mask.flatten() for mask in masks.values()])
        product = reference.along(gradient)

        def expected(at, reference=reference, product=product):
            return abs(reference.weight(at) * product[reference.position(at)].item())

        check(step.scores, expected, rel=1e-3)


@pytest.mark.parametrize("name", ["hutchinson-diagonal", "hutchinson-pruning", "hutchinson-taylor"])
def test_hutchinson_averages_signs_times_changes_of_the_gradient_along_them(name, net):
    reference = Reference(net, train=False, temperature=2.0)
    draws = torch.Generator().manual_seed(4)
    sizes = [weight.shape for weight in reference.weights.values()]
    diagonal = 0
    for _ in range(3):
        signs = torch.cat([torch.randint(2, size, generator=draws).flatten() for size in sizes]) * 2.0 - 1
        diagonal = diagonal + signs * reference.along(signs.double()) / 3

    def expected(at):
        w, g, h = reference.weight(at), reference.slope(at), diagonal[reference.position(at)].item()
        return {"diagonal": h, "pruning": w**2 * h / 2, "taylor": abs(w * g + w**2 * h / 2)}[
            name.split("-")[1]
        ]

    check(pruners.saliency(name, *net, probes=3, temperature=2.0, seed=4), expected, rel=1e-3)


@pytest.mark.parametrize(("name", "power"), [("synflow", 1), ("synflow-l2", 2)])
def test_synflow_is_the_slope_of_the_outputs_for_ones_of_the_absolute_or_squared_network(name, power, net):
    model, [(inputs, _)] = net
    absolute = copy.deepcopy(model).eval()
    with torch.no_grad():
        for tensor in [*absolute.parameters(), *absolute.buffers()]:
            tensor.abs_().pow_(power)
    ones = torch.ones_like(inputs[:1])

    def expected(at):
        outputs = []
        for sign in (1, -1):
            moved = copy.deepcopy(absolute)
            with torch.no_grad():
                moved.get_parameter(at[0]).view(-1)[at[1]] *= 1 + sign * STEP
                outputs.append(moved(ones).sum().item())
        return (outputs[0] - outputs[1]) / (2 * STEP)

    check(pruners.saliency(name, *net), expected)


def test_prospr_is_the_slope_of_the_loss_after_training_in_each_weights_gate(net):
    model, [(inputs, targets)] = net

    def trained(at, gate):
        copied = copy.deepcopy(model).train()
        name, index = at
        weight = copied.get_parameter(name)
        with torch.no_grad():
            weight.view(-1)[index] *= gate
        # Gated weights move under the gradient of what they are; only their first value has the gate on it.
        optimizer = torch.optim.SGD(copied.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(copied(inputs), targets).backward()
            optimizer.step()
        with torch.no_grad():
            return F.cross_entropy(copied(inputs), targets).item()

    def expected(at):
        return abs(trained(at, 1 + STEP) - trained(at, 1 - STEP)) / (2 * STEP)

    check(pruners.saliency("prospr", *net), expected, rel=1e-3)
    # What training leaves alone, the look-ahead does too.
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.dim() > 1)
    check(pruners.saliency("prospr", *net), expected, rel=1e-3)
