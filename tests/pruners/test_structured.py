import pytest
import torch
import torchvision
from torch import nn

import pruners


def kept_filters(mask):
    rows = mask.flatten(1)
    assert torch.equal(rows.any(1), rows.all(1)), "a filter is kept whole or not at all"
    return rows.all(1).nonzero().flatten().tolist()


def test_filters_rank_by_the_sum_of_their_weights_scores(conv_net):
    model, batches = conv_net
    scores = pruners.saliency("snip", model, batches)
    masks = pruners.prune(
        "snip", model, batches, sparsity=0.5, structure="filter", scope="uniform", exclude=["8.weight"]
    )
    for layer in ("0.weight", "4.weight"):
        sums = [float(scores[layer][f].sum()) for f in range(6)]
        assert kept_filters(masks[layer]) == sorted(sorted(range(6), key=lambda f: -sums[f])[:3])
    together = pruners.prune("snip", model, batches, sparsity=0.5, structure="filter", exclude=["8.weight"])
    assert sum(len(kept_filters(mask)) for mask in together.values()) == 6


def test_filters_by_l1_norm_and_at_random(conv_net):
    model, _ = conv_net
    only = {"sparsity": 0.4, "structure": "filter", "exclude": ["4.weight", "8.weight"]}
    norms = model[0].weight.detach().abs().flatten(1).sum(1)
    expected = sorted(norms.argsort(descending=True)[:4].tolist())  # 6 · 0.6 = 3.6
    assert kept_filters(pruners.prune("magnitude", model, **only)["0.weight"]) == expected
    drawn = [
        kept_filters(pruners.prune("random", model, seed=seed, **only)["0.weight"]) for seed in range(60)
    ]
    assert all(len(each) == 4 for each in drawn)
    assert {f for each in drawn for f in each} == set(range(6)) and len(set(map(tuple, drawn))) > 10


def test_pruned_filters_stay_pruned_over_the_iterations(conv_net):
    model, batches = conv_net
    steps = [
        {(layer, f) for layer, mask in step.masks.items() for f in kept_filters(mask)}
        for step in pruners.trajectory(
            "iter-snip", model, batches, sparsity=0.7, iterations=4, structure="filter", min_per_layer=1
        )
    ]
    assert steps[3] < steps[2] < steps[1] < steps[0] and len(steps[3]) == 5  # of 17
    assert {layer for layer, _ in steps[3]} == {"0.weight", "4.weight", "8.weight"}


def test_what_has_no_filters_is_an_error(recurrent_net, conv_net):
    with pytest.raises(ValueError, match=r"rows\.weight_ih_l0 of LSTM has no filters: exclude it"):
        pruners.prune("magnitude", recurrent_net[0], sparsity=0.5, structure="filter")
    with pytest.raises(ValueError, match="scope erk with structure filter: take global or uniform"):
        pruners.prune("magnitude", conv_net[0], sparsity=0.5, structure="filter", scope="erk")


def test_given_filters_are_removed_and_no_others(conv_net):
    model, _ = conv_net
    masks = pruners.filter_masks(model, {"0.weight": [1, 5]})
    assert kept_filters(masks["0.weight"]) == [0, 2, 3, 4]
    assert masks["4.weight"].all() and masks["8.weight"].all()
    with pytest.raises(ValueError, match="has no filter 6: its 6 are counted from 0"):
        pruners.filter_masks(model, {"0.weight": [6]})
    with pytest.raises(ValueError, match=r"0\.bias is no prunable weight"):
        pruners.filter_masks(model, {"0.bias": [0]})


def test_removed_filters_save_their_inputs_in_the_next_layer_too():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Flatten(),
        nn.Linear(24, 2),
    )
    masks = pruners.filter_masks(model, {"0.weight": [0], "2.weight": [1, 2]})
    cost = pruners.cost(model, masks, torch.zeros(1, 1, 2, 2))
    assert cost.params == 36 + 216 + 48 and cost.macs == 4 * (36 + 216) + 48
    assert cost.kept == 27 + 144 + 48 and cost.macs_kept == 4 * (27 + 144) + 48
    # Three input channels for four filters, and four channels of four pixels for the last layer.
    assert cost.effective == 27 + 3 * 9 * 4 + 32 and cost.macs_effective == 4 * (27 + 108) + 32


@pytest.mark.slow
def test_the_removable_blocks_of_a_resnet_are_those_with_an_identity_shortcut():
    model = torchvision.models.resnet18()
    example = torch.zeros(1, 3, 64, 64)
    blocks = pruners.removable_blocks(model, example)
    assert blocks == ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    masks = pruners.block_masks(model, ["layer2.1"])
    pruned = [name for name, mask in masks.items() if not mask.any()]
    assert pruned == ["layer2.1.conv1.weight", "layer2.1.conv2.weight"]
    assert all(mask.all() for name, mask in masks.items() if name not in pruned)
    # The block is now its shortcut: at initialization BatchNorm adds nothing to it.
    pruners.apply_masks(model, masks)
    inputs = torch.rand(2, 128, 8, 8)
    torch.testing.assert_close(model.layer2[1](inputs), inputs)
    scores = pruners.saliency("magnitude", torchvision.models.resnet18())
    assert pruners.block_scores(scores, blocks)["layer4.1"] == pytest.approx(
        float(scores["layer4.1.conv1.weight"].sum() + scores["layer4.1.conv2.weight"].sum())
    )
    with pytest.raises(ValueError, match="'layer9' is no module with prunable weights"):
        pruners.block_masks(model, ["layer9"])


def test_a_chain_of_layers_has_no_block_that_can_go(conv_net):
    assert pruners.removable_blocks(conv_net[0], torch.zeros(1, 2, 6, 6)) == []


def test_precrop_narrows_each_layer_by_the_root_of_its_density():
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(256, 10))
    masks = pruners.precrop(model, 0.5)
    # 41,152 weights, half kept: the small layers whole, the second convolution 16,288 of 36,864.
    assert [len(kept_filters(mask)) for mask in masks.values()] == [64, 42, 10]
    assert kept_filters(masks["1.weight"]) == list(range(42))
    left = pruners.densities(pruners.effective_masks(model, masks, torch.zeros(1, 3, 6, 6)))
    assert left["3.weight"] == 42 / 64, "the inputs of the last layer go with the filters before it"


def test_a_gate_computed_from_its_own_input_is_no_shortcut():
    class Gated(nn.Module):
        """A residual block with squeeze and excitation in it."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.gate = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 1)
            )

        def forward(self, inputs):
            inner = self.conv(inputs)
            return inputs + inner * torch.sigmoid(self.gate(inner))

    model = nn.Sequential(nn.Conv2d(1, 3, 1), Gated(), nn.Flatten(), nn.Linear(48, 2))
    assert pruners.removable_blocks(model, torch.zeros(1, 1, 4, 4)) == ["1"]


def test_multiply_adds_and_relevance_reach_into_attention():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), nn.Flatten(), nn.Linear(12, 3)
    )
    inputs, targets = torch.randn(5, 3, 4), torch.arange(5) % 3
    assert pruners.multiply_adds(model, inputs)["0.self_attn.out_proj.weight"] == 3 * 16
    for name in ("wanda", "gblm", "lrp", "fts"):
        assert pruners.saliency(name, model, [(inputs, targets)])["0.self_attn.out_proj.weight"].any()
    small = pruners.saliency("lrp", model, [(inputs, targets)], epsilon=10.0)["0.self_attn.out_proj.weight"]
    whole = pruners.saliency("lrp", model, [(inputs, targets)])["0.self_attn.out_proj.weight"]
    assert small.sum() < whole.sum() / 5


def test_precrop_rounds_down_from_exact_roots():
    model = nn.Sequential(nn.Linear(599, 599, bias=False), nn.Linear(599, 599, bias=False))
    from fractions import Fraction

    masks = pruners.precrop(model, 1 - Fraction(510**2, 599**2))
    assert len(kept_filters(masks["0.weight"])) == 510
