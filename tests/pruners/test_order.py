"""Scores in the order of the blocks, each behind blocks that are pruned already."""

import pytest
import torch
from torch import nn

import pruners


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


BATCHES = [(torch.randn(32, 6, generator=torch.Generator().manual_seed(1)) + 0.5, torch.arange(32) % 3)]


def blockwise(criterion, **fields):
    steps = pruners.trajectory(criterion, network(), BATCHES, sparsity=0.5, **fields, score_order="blockwise")
    return next(steps)


def test_wanda_scores_each_layer_by_the_outputs_of_pruned_ones():
    model, step, values = network(), blockwise("wanda", scope="rowwise"), BATCHES[0][0]
    for name in ("0.weight", "2.weight", "4.weight"):
        layer = model.get_submodule(name[0])
        scores = layer.weight.abs() * values.norm(dim=0)
        torch.testing.assert_close(step.scores[name], scores.detach())
        middle = scores.shape[1] // 2
        least = scores.sort(1, descending=True).values[:, middle - 1 : middle]
        assert torch.equal(step.masks[name], scores >= least)
        with torch.no_grad():
            layer.weight *= step.masks[name]
            values = layer(values).relu()


def test_the_first_block_has_the_scores_of_the_whole_network_and_the_others_do_not():
    whole = pruners.saliency("wanda", network(), BATCHES)
    step = blockwise("wanda", scope="uniform")
    assert torch.equal(step.scores["0.weight"], whole["0.weight"])
    assert not torch.equal(step.scores["2.weight"], whole["2.weight"])


def test_a_score_that_looks_at_no_other_layer_is_the_same_in_either_order():
    for fields in (
        {"scope": "erk"},
        {"scope": "uniform", "min_per_layer": 10},
        {"scope": "uniform", "invert": True},
    ):
        whole = pruners.prune("magnitude", network(), sparsity=0.5, **fields)
        step = blockwise("magnitude", **fields)
        assert all(torch.equal(step.masks[name], mask) for name, mask in whole.items())


def test_batches_are_drawn_once_for_all_blocks():
    class Drawn:
        times = 0

        def __iter__(self):
            self.times += 1
            return iter(BATCHES)

    drawn = Drawn()
    next(pruners.trajectory("snip", network(), drawn, sparsity=0.5, scope="uniform", score_order="blockwise"))
    assert drawn.times == 1


def test_a_scope_that_ranks_blocks_together_is_one_line():
    with pytest.raises(ValueError, match="score_order blockwise: the scope ranks layers of several blocks"):
        blockwise("wanda", scope="global")


def test_wanda_is_magnitude_where_inputs_are_white():
    model = nn.Linear(16, 8, bias=False)
    white, _ = torch.linalg.qr(
        torch.randn(32, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    )
    batches = [(white.float(), torch.arange(32) % 8)]
    wanda, magnitude = (pruners.prune(each, model, batches, sparsity=0.5) for each in ("wanda", "magnitude"))
    assert torch.equal(wanda["weight"], magnitude["weight"])


def test_the_norm_of_gblms_code_is_the_root_of_a_mean_and_its_gradient_that_of_a_sum():
    model = network()
    own = pruners.saliency("gblm", model, BATCHES, alpha=3.0, mean_norm=True)["0.weight"]
    squares = torch.zeros(8, 6)
    for row, target in zip(*BATCHES[0], strict=True):
        loss = nn.functional.cross_entropy(model(row[None]), target[None])
        squares += torch.autograd.grad(loss, model[0].weight)[0].square()
    norm = BATCHES[0][0].square().mean(0).sqrt()
    torch.testing.assert_close(own, (model[0].weight.abs() * (norm + 3 * squares.sqrt())).detach())
