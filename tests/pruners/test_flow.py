"""PX: the flow along the paths that data activate. SynFlow and SynFlow-L2 are in test_derivations."""

import copy
import warnings
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pruners


def rectified(*widths):
    """Linear layers without biases, ReLU between them, and a batch of 4."""
    torch.manual_seed(0)
    layers = [nn.Linear(a, b, bias=False) for a, b in pairwise(widths)]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU()))).double()
    return model[:-1], [(torch.randn(4, widths[0], dtype=torch.float64), torch.arange(4) % widths[-1])]


def test_px_is_the_sum_over_paths_written_out():
    """R = Σ (Σ x² along active paths to an output) (Σ w² w² w² along all paths to it), per sample."""
    model, [(inputs, targets)] = rectified(3, 4, 5, 2)
    first, second, third = (layer.weight.detach() for layer in model[::2])
    scores = [torch.zeros_like(weight) for weight in (first, second, third)]
    for x in inputs:
        hidden = first @ x > 0
        later = second @ (first @ x).relu() > 0
        for o in range(2):
            active = sum(
                (x[i] ** 2).item()
                for i in range(3)
                for h in range(4)
                for k in range(5)
                if hidden[h] and later[k]
            )
            for i in range(3):
                for h in range(4):
                    for k in range(5):
                        flow = active * (first[h, i] * second[k, h] * third[o, k]).item() ** 2 / len(inputs)
                        scores[0][h, i] += flow
                        scores[1][k, h] += flow
                        scores[2][o, k] += flow
    for found, expected in zip(
        pruners.saliency("px", model, [(inputs, targets)]).values(), scores, strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ["px", "synflow-l2"])
def test_without_biases_and_norms_the_scores_of_each_layer_add_up_to_the_same(name):
    model, batches = rectified(6, 8, 8, 4)
    for step in pruners.trajectory(name, model, batches, sparsity=0.6, iterations=3):
        sums = [score.sum().item() for score in step.scores.values()]
        assert sums[0] > 0 and sums == pytest.approx([sums[0]] * 3, rel=1e-9)


def test_where_one_path_signal_reaches_every_output_px_is_synflow_l2():
    """One sample with Σ x² = 1, no activation, one unit in between: z₁ = 1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 4)).double()
    inputs = F.normalize(torch.randn(1, 3, dtype=torch.float64))
    found = pruners.saliency("px", model, [(inputs, torch.tensor([0]))])
    for name, expected in pruners.saliency("synflow-l2", model, [(inputs, torch.tensor([0]))]).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-12, atol=0)


def test_with_norms_biases_pooling_and_a_mask_px_is_the_slope_of_the_written_out_product(conv_net):
    """z₁ with the kept weights at 1 and no norm or bias, gated as the network is; z₂ squared, without ReLU."""
    model, batches = conv_net
    model = nn.Sequential(*model[:6], nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 5)).double().eval()
    with torch.no_grad():
        model[1].running_mean.uniform_(0.5, 1)  # so that z₂ is negative in places
        model[1].running_var.uniform_(0.5, 2)
    batches = [(inputs.double(), targets) for inputs, targets in batches]
    first, second = pruners.trajectory("px", model, batches, sparsity=0.5, iterations=2)
    pruned = copy.deepcopy(model)
    pruners.apply_masks(pruned, first.masks)
    ones = {name: mask.double() for name, mask in first.masks.items()}
    squared = copy.deepcopy(pruned)
    with torch.no_grad():
        for tensor in [*squared.parameters(), *squared.buffers()]:
            tensor.pow_(2)
    squared[2], squared[5] = nn.Identity(), nn.Identity()

    signals = 0
    for inputs, _ in batches:
        before = pruned[:2](inputs)
        after = pruned[4](before.relu())
        signal = F.conv2d(inputs.square(), ones["0.weight"], padding=1) * (before > 0)
        signal = F.conv2d(signal, ones["4.weight"], groups=2) * (after > 0)
        _, winners = F.max_pool2d(after.relu(), 2, return_indices=True)
        signal = signal.flatten(2).gather(2, winners.flatten(2)).flatten(1)
        signals = signals + F.linear(signal, ones["8.weight"]).sum(0) / 32

    def product(name, index, change):
        moved = copy.deepcopy(squared)
        with torch.no_grad():
            moved.get_parameter(name).view(-1)[index] *= 1 + change
            return (moved(torch.ones_like(batches[0][0][:1])) * signals).sum().item()

    for name, score in second.scores.items():
        for index in (0, score.numel() // 2, score.numel() - 1):
            slope = (product(name, index, 1e-5) - product(name, index, -1e-5)) / 2e-5
            assert score.view(-1)[index].item() == pytest.approx(abs(slope), rel=1e-5, abs=1e-9), (
                name,
                index,
            )


class Scaled(torch.autograd.Function):
    """A function that torch cannot differentiate forwards."""

    @staticmethod
    def forward(ctx, inputs):
        return 2 * inputs

    @staticmethod
    def backward(ctx, slope):
        return 2 * slope


def test_what_px_cannot_follow_is_one_line():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model.forward = lambda inputs: model[1](Scaled.apply(model[0](inputs)))
    with pytest.raises(ValueError, match=r"^px: a function of the network has no slopes forwards: ") as error:
        pruners.saliency("px", model, [(torch.randn(4, 3), torch.arange(4) % 3)])
    assert "\n" not in str(error.value)
    tokens = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 3))
    with pytest.raises(
        ValueError, match=r"^px: it squares the inputs, and can do so only where they are real"
    ):
        pruners.saliency("px", tokens, [(torch.arange(4), torch.arange(4) % 3)])


def test_outputs_that_no_input_reaches_score_0_and_nothing_is_warned_of():
    model, batches = rectified(3, 4, 2)
    model.forward = lambda inputs: model[2](torch.ones(len(inputs), 4, dtype=torch.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not any(score.any() for score in pruners.saliency("px", model, batches).values())
