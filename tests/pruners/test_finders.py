"""Heads, neurons and blocks of transformers as units; a network without them is the masked one, narrower."""

import copy

import pytest
import torch
from torch import nn

import pruners
from sweep import models
from tests.pruners.transformer_nets import BLOCKS, HEADS, NEURONS, WIDTH, batches, decoder

TOKENS = batches()[0][0]


def test_a_head_is_the_rows_of_its_queries_keys_and_values_and_the_columns_that_read_it():
    groups = pruners.find_units("head", decoder(), TOKENS)
    assert [group.size for group in groups] == [HEADS] * BLOCKS
    width = WIDTH // HEADS
    for number, group in enumerate(groups):
        path = f"blocks.{number}.attention"
        members = {(member.parameter, member.dim): member.index for member in group.members}
        assert list(members) == [(f"{path}.{leaf}.weight", int(leaf == "o")) for leaf in "qkvo"]
        for index in members.values():
            assert index.tolist() == [list(range(head * width, (head + 1) * width)) for head in range(HEADS)]


def test_a_neuron_is_a_row_of_gate_and_up_and_a_column_of_down():
    groups = pruners.find_units("neuron", decoder(), TOKENS)
    assert [group.size for group in groups] == [NEURONS] * BLOCKS
    for number, group in enumerate(groups):
        found = [(member.parameter, member.dim) for member in group.members]
        path = f"blocks.{number}.feedforward"
        assert found == [(f"{path}.gate.weight", 0), (f"{path}.up.weight", 0), (f"{path}.down.weight", 1)]


def test_a_vision_transformer_has_heads_as_slices_of_its_packed_projection():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    [head] = pruners.find_units("head", layer, torch.randn(2, 5, 8))
    members = {member.parameter: member.index for member in head.members}
    assert list(members) == [
        "self_attn.in_proj_weight",
        "self_attn.in_proj_bias",
        "self_attn.out_proj.weight",
    ]
    assert members["self_attn.in_proj_weight"][1].tolist() == [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23]
    [neuron] = pruners.find_units("neuron", layer, torch.randn(2, 5, 8))
    assert [member.parameter for member in neuron.members] == [
        "linear1.weight",
        "linear1.bias",
        "linear2.weight",
    ]


@pytest.mark.parametrize("structure", ["head", "neuron", "head+neuron", "depth"])
@pytest.mark.parametrize("criterion", ["snip", "random"])
def test_the_narrower_network_has_the_outputs_of_the_masked_one(structure, criterion):
    model = decoder()
    masks = pruners.prune(
        criterion, model, batches(), sparsity=0.5, structure=structure, exclude="head.*", unit_score="mean"
    )
    units = pruners.find_units(structure, model, TOKENS, ["head.*"])
    pruners.apply_masks(model, {**masks, **pruners.other_masks(model, units, masks)})
    small = pruners.STRUCTURES[structure].cut(model, units, pruners.kept_units(units, masks), TOKENS)
    count = sum(each.numel() for each in small.parameters())
    assert count < sum(each.numel() for each in model.parameters())
    assert float(small(TOKENS).detach().abs().max()) > 0.1
    torch.testing.assert_close(small(TOKENS), model(TOKENS), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["head", "neuron", "depth"])
def test_a_vision_transformer_is_narrowed_to_the_outputs_of_the_masked_one(structure):
    model = models.build("vit-tiny", (3, 8, 8), 10, 0).eval()
    nn.init.normal_(model.heads.head.weight)
    x = torch.randn(2, 3, 8, 8)
    masks = pruners.prune("random", model, [(x, torch.arange(2))], sparsity=0.5, structure=structure)
    units = pruners.find_units(structure, model, x)
    pruners.apply_masks(model, {**masks, **pruners.other_masks(model, units, masks)})
    small = pruners.STRUCTURES[structure].cut(model, units, pruners.kept_units(units, masks), x)
    assert sum(each.numel() for each in small.parameters()) < sum(each.numel() for each in model.parameters())
    torch.testing.assert_close(small(x), model(x), rtol=0, atol=1e-5 * float(model(x).abs().max()))


def test_heads_and_neurons_together_count_weights():
    """A head has 4 · 4 · 8 weights and a neuron 3 · 8: what is kept is as near to the half as units allow."""
    model = decoder()
    masks = pruners.prune(
        "flap", model, batches(), sparsity=0.5, structure="head+neuron", exclude="head.*", unit_score="mean"
    )
    total = sum(mask.numel() for mask in masks.values())
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert abs(kept - total / 2) <= 4 * WIDTH // HEADS * WIDTH / 2
    units = pruners.find_units("head+neuron", model, TOKENS, ["head.*"])
    assert all(each.any() for each in pruners.kept_units(units, masks).values())


def test_rotary_positions_keep_the_features_of_a_head_together_but_not_of_channels():
    """The structure `channel` is as it was: numbers that `forward` computes fix the features that they meet."""
    groups = pruners.channel_groups(decoder(), TOKENS)
    assert [group.name for group in groups] == [f"blocks.{n}.feedforward.gate.weight" for n in range(BLOCKS)]


def test_numbers_of_forward_that_differ_by_channel_keep_it():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, inputs):
            return self.last(self.first(inputs) * torch.arange(4.0))

    with pytest.raises(ValueError, match="has no neurons between linear layers"):
        pruners.find_units("neuron", Shifted(), torch.randn(2, 3))


def test_structure_block_finds_the_attention_and_the_feedforward_of_decoders():
    groups = pruners.find_units("block", decoder(), TOKENS)
    assert [group.name for group in groups] == [
        f"blocks.{block}.{part}" for block in range(3) for part in ("attention", "feedforward")
    ]


def test_a_block_that_may_not_be_pruned_as_a_whole_is_no_unit():
    groups = pruners.find_units("depth", decoder(), TOKENS, ["blocks.1.attention.q.weight"])
    assert [group.name for group in groups] == ["blocks.0", "blocks.2"]


def test_finding_units_changes_no_network():
    model = decoder()
    before = copy.deepcopy(model.state_dict())
    for structure in ("head", "neuron", "depth"):
        pruners.find_units(structure, model, TOKENS)
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
