"""GAPrune's score of two sources equals a direct computation with the gradient of each sample."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pruners


@pytest.fixture
def setting():
    draws = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    batches = [(torch.randn(6, 4, generator=draws), torch.arange(6) % 3) for _ in range(4)]
    return model, batches[:2], batches[2:]


def direct(model, batches):
    """Name → gradient of each sample, (n, ...), in float64."""
    rows = {name: [] for name in pruners.prunable(model)}
    for inputs, targets in batches:
        for one, target in zip(inputs, targets, strict=True):
            model.zero_grad()
            F.cross_entropy(model(one[None]), target[None]).backward()
            for name, weight in pruners.prunable(model).items():
                rows[name].append(weight.grad.double().clone())
    return {name: torch.stack(each) for name, each in rows.items()}


@pytest.mark.parametrize(("beta", "gamma"), [(1.0, 0.5), (0.3, 0.0)])
def test_the_score_is_the_formula_of_both_sources(setting, beta, gamma):
    model, domain, general = setting
    found = pruners.saliency("gaprune", model, pruners.Sources(domain, general), beta=beta, gamma=gamma)
    own, other = direct(model, domain), direct(model, general)
    for name, weight in pruners.prunable(model).items():
        size, f, g = weight.detach().double().abs(), own[name].square().mean(0), other[name].square().mean(0)
        a, b = own[name].mean(0).flatten(), other[name].mean(0).flatten()
        factor = min(1.2, max(0.8, 1 + 0.2 * float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))))
        expected = ((f - beta * g) * size * factor + gamma * size.sqrt()).exp().log1p()
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-7)


def test_equal_sources_leave_the_size_of_the_weight(setting):
    """Plain batches are both sources: with β = 1 nothing of them is left."""
    model, domain, _ = setting
    found = pruners.saliency("gaprune", model, domain)
    for name, weight in pruners.prunable(model).items():
        expected = F.softplus(weight.detach().double().abs().sqrt() / 2)
        torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-6)


def test_normalized_scores_have_mean_0_and_deviation_1_in_each_layer(setting):
    model, domain, general = setting
    for scores in pruners.saliency(
        "gaprune", model, pruners.Sources(domain, general), normalize=True
    ).values():
        assert abs(float(scores.mean())) < 1e-9 and float(scores.std()) == pytest.approx(1)


def test_other_criteria_look_at_the_domain_alone(setting):
    model, domain, general = setting
    both, one = pruners.Sources(domain, general), pruners.saliency("snip", model, domain)
    assert all(torch.equal(each, one[name]) for name, each in pruners.saliency("snip", model, both).items())
