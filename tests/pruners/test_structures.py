"""What is removed as a whole: units of each structure, how they rank, and what goes with them."""

import inspect

import pytest
import torch
from torch import nn

import pruners
from pruners.lookup import _TAKEN
from pruners.structured import norms_behind


class Block(nn.Module):
    """The inputs, plus two convolutions of them, each with BatchNorm."""

    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, inputs):
        return inputs + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(inputs)))))


def residual(blocks, seed=0):
    """A network of residual blocks after some training: no parameter and no statistic is at its start."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        *(Block(4) for _ in range(blocks)),
        nn.Flatten(),
        nn.Linear(36, 3),
    )
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor += 0.3 * torch.rand_like(tensor)
    return model.eval()


BATCH = torch.rand(6, 1, 3, 3), torch.arange(6) % 3


def masked(model, structure, masks):
    """Put masks on, and those of what goes with the removed units."""
    groups = pruners.find_units(
        structure, model, BATCH[0], [n for n in pruners.prunable(model) if n not in masks]
    )
    pruners.apply_masks(model, masks | pruners.other_masks(model, groups, masks))
    return model


def test_a_network_without_a_block_is_one_built_without_it():
    model = residual(3)
    masks = pruners.prune("magnitude", model, [BATCH], sparsity=0.4, structure="block")  # 1 of 3
    gone = {name.partition(".")[0] for name, mask in masks.items() if not mask.any()}
    assert len(gone) == 1 and all(mask.all() or name[0] in gone for name, mask in masks.items())
    short = nn.Sequential(*(layer for index, layer in enumerate(model) if str(index) not in gone))
    with torch.no_grad():
        expected = short(BATCH[0])
        masked(model, "block", masks)
        torch.testing.assert_close(model(BATCH[0]), expected)
    assert not any(p.any() for name, p in model.named_parameters() if name[0] in gone), "norms included"


@pytest.mark.parametrize("unit_score", ["sum", "mean"])
def test_blocks_rank_by_the_sum_or_the_mean_of_their_weights_scores(unit_score):
    model = residual(4)
    scores = pruners.saliency("snip", model, [BATCH])
    sums = pruners.block_scores(scores, ["2", "3", "4", "5"])
    means = {block: value / (2 * 4 * 4 * 9) for block, value in sums.items()}
    order = sorted(sums, key=(sums if unit_score == "sum" else means).get)
    masks = pruners.prune("snip", model, [BATCH], sparsity=0.5, structure="block", unit_score=unit_score)
    assert [block for block in sums if not masks[f"{block}.conv1.weight"].any()] == sorted(order[:2])


def test_a_block_stays_if_one_of_its_weights_may_not_be_pruned():
    found = pruners.find_units("block", residual(3), BATCH[0], ["3.conv2.weight"])
    assert [group.name for group in found] == ["2", "4"]


def test_mean_and_group_mean_are_what_they_say(conv_net):
    """Layers of other fan-ins: a filter of few weights ranks low by the sum and not by the others."""
    model, batches = conv_net
    scores = pruners.saliency("snip", model, batches)
    rows = {layer: score.flatten(1) for layer, score in scores.items()}
    by_hand = {
        "sum": {layer: each.sum(1) for layer, each in rows.items()},
        "mean": {layer: each.mean(1) for layer, each in rows.items()},
        "group-mean": {layer: each.sum(1) / each.sum(1).mean() for layer, each in rows.items()},
    }
    kept = {}
    for unit_score, expected in by_hand.items():
        masks = pruners.prune("snip", model, batches, sparsity=0.5, structure="filter", unit_score=unit_score)
        flat = torch.cat(list(expected.values()))
        best = flat >= flat.sort(descending=True).values[pruners.kept_count(len(flat), 0.5) - 1]
        kept[unit_score] = torch.cat([mask.flatten(1).any(1) for mask in masks.values()])
        assert torch.equal(kept[unit_score], best), unit_score
    assert len({tuple(each.tolist()) for each in kept.values()}) > 1


def test_scores_of_both_signs_keep_their_order_under_group_mean():
    """The mean of a group may be negative: dividing by it would rank the worst filter first."""
    model = nn.Sequential(nn.Linear(1, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[-9.0], [1.0], [2.0]]))
    scores = {"0.weight": model[0].weight.detach()}
    step = next(
        pruners.trajectory(
            "random", model, sparsity=0.6, structure="filter", unit_score="group-mean", first=scores
        )
    )
    assert step.masks["0.weight"].flatten().tolist() == [False, False, True]


def test_a_removed_filter_takes_its_bias_with_it_and_nothing_else():
    model = nn.Sequential(nn.Conv2d(1, 8, 5), nn.Flatten(), nn.Linear(8, 3))
    masks = pruners.filter_masks(model, {"0.weight": [0, 7]})
    found = pruners.other_masks(model, pruners.find_units("filter", model), masks)
    assert list(found) == ["0.bias"]
    assert found["0.bias"].logical_not().nonzero().flatten().tolist() == [0, 7]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"structure": "chanel"}, "unknown structure 'chanel'"),
        ({"structure": "block", "scope": "uniform"}, "scope uniform with structure block: take global"),
        ({"structure": "block", "unit_score": "group-mean"}, "unknown unit_score with structure block 'group-mean'"),
        ({"structure": "filter", "unit_score": "median"}, "unknown unit_score with structure filter 'median'"),
        ({"structure": "block", "batches": ()}, "structure block: give batches, whose shape says"),
        ({"structure": "filter", "min_per_layer": 4, "sparsity": 0.9}, "keeps 3 units where 8 groups have to keep 31"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_line(asked, message):
    given = {"batches": [BATCH], "sparsity": 0.5} | asked
    with pytest.raises(ValueError, match=message) as error:
        pruners.prune("magnitude", residual(3), given.pop("batches"), **given)
    assert "\n" not in str(error.value)


def test_a_network_without_blocks_says_so():
    with pytest.raises(ValueError, match="Sequential has no residual blocks with an identity shortcut"):
        pruners.find_units("block", nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), torch.zeros(1, 3))


def test_an_option_of_ones_own_criterion_has_no_name_of_an_argument():
    given = {*inspect.signature(pruners.prune).parameters, *inspect.signature(pruners.trajectory).parameters}
    assert given - {"options"} == _TAKEN


def test_a_removed_filter_outputs_nothing_behind_its_own_normalization():
    """The shift of BatchNorm would make a removed filter a constant. A normalization of a sum stays."""
    model = residual(1)
    model[1] = nn.Sequential(nn.ReLU(inplace=True), nn.Identity())
    masks = pruners.filter_masks(model, {"2.conv1.weight": [1], "2.conv2.weight": [0, 2]})
    found = pruners.other_masks(model, pruners.find_units("filter", model, BATCH[0]), masks)
    expected = [
        f"2.{layer}.{leaf}" for layer in ("conv1", "bn1", "conv2", "bn2") for leaf in ("weight", "bias")
    ]
    assert sorted(found) == sorted(name for name in expected if name not in masks)
    pruners.apply_masks(model, masks | found)
    seen = {}
    model[2].bn1.register_forward_hook(lambda *given: seen.update(inner=given[-1]))
    model[2].bn2.register_forward_hook(lambda *given: seen.update(outer=given[-1]))
    model(BATCH[0])
    assert not seen["inner"][:, 1].any() and seen["inner"][:, 0].any()
    assert not seen["outer"][:, [0, 2]].any() and seen["outer"][:, 1].any()


@pytest.mark.parametrize(
    ("layers", "shape", "expected"),
    [
        ([nn.Linear(4, 5), nn.LayerNorm(5)], (2, 3, 4), {"0.weight": ["1"]}),
        ([nn.Linear(4, 5), nn.BatchNorm1d(5)], (2, 4), {"0.weight": ["1"]}),
        ([nn.Linear(4, 5), nn.BatchNorm1d(3)], (2, 3, 4), {}),  # of positions
        ([nn.Conv2d(1, 4, 1), nn.LayerNorm(4)], (2, 1, 4, 4), {}),  # of columns
        ([nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4)], (2, 1, 4, 4), {"0.weight": ["1"]}),
        ([nn.Conv2d(1, 4, 1), nn.MaxPool2d(2), nn.BatchNorm2d(4)], (2, 1, 4, 4), {}),
    ],
)
def test_which_normalization_reads_the_outputs_of_one_layer_alone(layers, shape, expected):
    assert norms_behind(nn.Sequential(*layers), torch.rand(shape)) == expected


def test_a_normalization_of_two_layers_outputs_belongs_to_neither():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.norm = nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3)

        def forward(self, inputs):
            return self.norm(self.first(inputs)) + self.norm(self.second(inputs))

    assert norms_behind(Twice(), torch.rand(2, 3)) == {}
