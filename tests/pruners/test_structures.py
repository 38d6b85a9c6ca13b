"""What is removed as a whole: units of each structure, how they rank, and what goes with them."""

import copy
import inspect
import itertools
import re
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pruners
from pruners.lookup import _TAKEN
from pruners.narrowing import narrowed
from pruners.structured import norms_behind
from pruners.unit_counts import weights_of_units
from pruners.units import unit_masks
from tests.pruners.test_pruning import networks


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


def removed(model, structure, masks):
    """Name of each group → its units that the masks remove."""
    kept = pruners.kept_units(pruners.find_units(structure, model, BATCH[0]), masks)
    return {name: each.logical_not().nonzero().flatten().tolist() for name, each in kept.items()}


def test_channels_rank_by_the_sum_over_all_that_is_coupled():
    model = residual(2)
    scores = pruners.saliency("snip", model, [BATCH])
    stream = sum(
        (
            *(scores[name].sum((1, 2, 3)) for name in ("0.weight", "2.conv2.weight", "3.conv2.weight")),
            *(scores[name].sum((0, 2, 3)) for name in ("2.conv1.weight", "3.conv1.weight")),
            scores["5.weight"].view(3, 4, 9).sum((0, 2)),
        )
    )
    by_hand = {"0.weight": stream} | {
        f"{block}.conv1.weight": scores[f"{block}.conv1.weight"].sum((1, 2, 3))
        + scores[f"{block}.conv2.weight"].sum((0, 2, 3))
        for block in (2, 3)
    }
    masks = pruners.prune("snip", model, [BATCH], sparsity=0.5, structure="channel", scope="uniform")
    expected = {name: sorted(each.argsort()[:2].tolist()) for name, each in by_hand.items()}
    assert removed(model, "channel", masks) == expected
    entries = {
        "0.weight": 9 * (1 + 4 * 4) + 27,
        **dict.fromkeys(("2.conv1.weight", "3.conv1.weight"), 2 * 4 * 9),
    }
    means = torch.cat([by_hand[name] / entries[name] for name in by_hand])
    masks = pruners.prune("snip", model, [BATCH], sparsity=0.25, structure="channel", unit_score="mean")
    gone = [
        4 * group + unit
        for group, units in enumerate(removed(model, "channel", masks).values())
        for unit in units
    ]
    assert gone == sorted(means.argsort()[:3].tolist())


@pytest.mark.parametrize(("structure", "scope"), [("channel", "global"), ("width", "uniform")])
def test_a_removed_channel_contributes_nothing(structure, scope):
    """The network is cut: by a test's own hands where that is easy, and by `narrowed` with its residual blocks."""
    model = residual(2)
    criterion = "snip" if structure == "channel" else "random"
    masks = pruners.prune(criterion, model, [BATCH], sparsity=0.4, structure=structure, scope=scope)
    groups = pruners.find_units(structure, model, BATCH[0])
    small = narrowed(model, groups, pruners.kept_units(groups, masks))
    masked(model, structure, masks)
    with torch.no_grad():
        torch.testing.assert_close(small(BATCH[0]), model(BATCH[0]))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())

    plain = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)
    ).eval()
    nn.init.uniform_(plain[1].bias)
    masks = pruners.prune(criterion, plain, [BATCH], sparsity=0.5, structure=structure, scope=scope)
    stay = masks["0.weight"].flatten(1).any(1)
    assert stay.sum() == 2 and torch.equal(masks["4.weight"], stay.expand(3, 4))
    by_hand = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 3)
    ).eval()
    with torch.no_grad():
        for layer in (0, 1):
            for name, tensor in by_hand[layer].state_dict().items():
                if tensor.dim():
                    tensor.copy_(plain[layer].state_dict()[name][stay])
        by_hand[4].weight.copy_(plain[4].weight[:, stay])
        by_hand[4].bias.copy_(plain[4].bias)
        expected = by_hand(BATCH[0])
        torch.testing.assert_close(masked(plain, structure, masks)(BATCH[0]), expected)


def chain(*widths):
    layers = [nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in zip((1, *widths), widths, strict=False)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(9 * widths[-1], 3, bias=False))


@pytest.mark.parametrize("sparsity", [0.3, 0.7, 0.9])
@pytest.mark.parametrize("scope", ["balanced", "uniform", "erk"])
def test_width_keeps_the_first_units_of_the_widest_network_that_has_no_more_weights(sparsity, scope):
    model = chain(20, 30, 40)
    masks = pruners.prune("random", model, [BATCH], sparsity=sparsity, structure="width", scope=scope)
    widths = [int(mask.flatten(1).any(1).sum()) for mask in masks.values()][:-1]
    for mask, (inputs, outputs) in zip(masks.values(), itertools.pairwise([1, *widths]), strict=False):
        assert mask[:outputs, :inputs].all() and int(mask.sum()) == outputs * inputs * 9
    kept, total = sum(int(mask.sum()) for mask in masks.values()), 9 * (20 + 600 + 1200 + 120)
    assert kept <= pruners.kept_count(total, sparsity)
    # One more unit in each layer is more than fits: no width is given away.
    more = [min(full, width + 1) for full, width in zip((20, 30, 40), widths, strict=True)]
    assert 9 * (more[0] + more[0] * more[1] + more[1] * more[2] + 3 * more[2]) > pruners.kept_count(
        total, sparsity
    )


def test_width_of_a_chain_is_precrop_at_the_density_that_fits():
    model = chain(20, 30, 40)
    masks = pruners.prune("random", model, [BATCH], sparsity=0.7, structure="width", scope="balanced")
    widths = [int(mask.flatten(1).any(1).sum()) for mask in masks.values()][:-1]
    cropped = [
        [int(mask.flatten(1).any(1).sum()) for mask in pruners.precrop(model, step / 200).values()][:-1]
        for step in range(200)
    ]
    assert widths in cropped


def test_all_that_a_stage_adds_up_has_one_width():
    model = residual(2)
    masks = pruners.prune("random", model, [BATCH], sparsity=0.6, structure="width", scope="uniform")
    gone = removed(model, "width", masks)
    assert gone["0.weight"] and all(units == list(range(units[0], 4)) for units in gone.values() if units)
    assert (
        not masks["2.conv2.weight"][gone["0.weight"]].any()
        and not masks["3.conv1.weight"][:, gone["0.weight"]].any()
    )


def test_each_group_of_channels_keeps_one_even_where_scores_would_leave_none():
    model = residual(2)
    with torch.no_grad():
        model[2].conv1.weight.zero_()
        model[2].conv2.weight.zero_()
    masks = pruners.prune("magnitude", model, [BATCH], sparsity=0.75, structure="channel")  # 3 of 12
    assert [len(units) for units in removed(model, "channel", masks).values()] == [3, 3, 3]
    assert pruners.collapsed_layers(masks) == []
    for structure, asked, message in [
        (
            "channel",
            {"sparsity": 0.8},
            "sparsity 0.8 keeps 2 units where 3 groups have to keep 3, at least 1 of",
        ),
        ("channel", {"sparsity": 0.5, "min_per_layer": 3}, "keeps 6 units where 3 groups have to keep 9"),
        ("width", {"sparsity": 0.99, "scope": "uniform"}, "and the narrowest network has 72: take a lower"),
        (
            "width",
            {"sparsity": 0.5},
            "scope global with structure width: take uniform, er, erk, balanced, per",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            pruners.prune("random", model, [BATCH], structure=structure, **asked)


def test_pruned_channels_stay_pruned_over_the_iterations():
    model = residual(2)
    steps = pruners.trajectory("iter-snip", model, [BATCH], sparsity=0.6, iterations=3, structure="channel")
    gone = [
        {(name, unit) for name, units in removed(model, "channel", step.masks).items() for unit in units}
        for step in itertools.islice(steps, 3)
    ]
    assert gone[0] < gone[1] < gone[2] and len(gone[2]) == 7


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    networks(),
    st.sampled_from(["random", "magnitude", "snip", "grasp", "force"]),
    st.sampled_from([name for name in pruners.STRUCTURES if name != "weight"]),
    st.sampled_from(["global", "uniform", "balanced"]),
    st.sampled_from(["sum", "mean", "group-mean"]),
    st.integers(1, 3),
    st.decimals(0, "0.999", places=3),
)
def test_any_structure_of_any_network_keeps_the_exact_count_of_its_units(
    network, criterion, structure, scope, unit_score, iterations, sparsity
):
    """Or says in one line why not; it leaves the network as it was, and its masks are those of whole units."""
    model, shape = network
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(shape, generator=generator), torch.randint(0, 3, shape[:1], generator=generator))]
    before = copy.deepcopy(model.state_dict())

    def prune():
        return pruners.prune(
            criterion, model, batches,
            sparsity=sparsity, structure=structure, scope=scope, unit_score=unit_score, iterations=iterations,
        )  # fmt: skip

    try:
        masks = prune()
    except ValueError as error:
        assert re.search(
            "with structure|has no |narrowest network|take a lower sparsity|not worked out", str(error)
        ), error
        assert "\n" not in str(error)
        return
    units = pruners.find_units(structure, model, batches[0][0])
    kept = pruners.kept_units(units, masks)
    counts = {name: int(each.count_nonzero()) for name, each in kept.items()}
    if structure == "width":
        total = sum(mask.numel() for mask in masks.values())
        assert sum(int(mask.sum()) for mask in masks.values()) <= pruners.kept_count(total, sparsity)
        assert all(each[:count].all() for each, count in zip(kept.values(), counts.values(), strict=True))
    elif pruners.STRUCTURES[structure].weighed:
        each = weights_of_units(units, {name: tuple(mask.shape) for name, mask in masks.items()})
        total = sum(each[name] * len(mask) for name, mask in kept.items())
        left, least = sum(each[name] * count for name, count in counts.items()), sum(each.values())
        # Each iteration keeps what the one before has; the last is off by less than the largest unit.
        target = max(pruners.kept_count(total, sparsity), least)
        assert abs(left - target) <= max(each.values()) * iterations + least
    else:
        assert sum(counts.values()) == pruners.kept_count(sum(map(len, kept.values())), sparsity)
    assert not pruners.STRUCTURES[structure].least or min(counts.values()) >= 1
    assert all(torch.equal(mask, masks[name]) for name, mask in unit_masks(units, kept, masks).items())
    assert all(torch.equal(mask, masks[name]) for name, mask in prune().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.slow
def test_random_removes_units_of_all_sizes_equally_often():
    """A sum of draws would keep the units with the most weights: no baseline."""
    model, runs = residual(2), 400
    groups = pruners.find_units("channel", model, BATCH[0])
    gone = dict.fromkeys((group.name for group in groups), 0)
    for seed in range(runs):
        masks = pruners.prune("random", model, sparsity=0.25, structure="channel", units=groups, seed=seed)
        for name, units in pruners.kept_units(groups, masks).items():
            gone[name] += int(units.logical_not().sum())
    # 3 of 12 units in each run, a third of them in each of the three groups; 400 ± 4 deviations.
    assert sum(gone.values()) == 3 * runs and all(abs(count - runs) < 65 for count in gone.values()), gone


def test_units_that_were_removed_stay_removed_and_the_count_is_exact_where_a_scope_would_give_one_back():
    """Of layers of 3, 5 and 5 units, 7 of 13 are 1, 3 and 3, but 6 of 13 are 2, 2 and 2, by remainders."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2)
    )
    groups = pruners.find_units("channel", model, torch.ones(1, 2))

    def pruned(kept, start=None):
        sparsity = 1 - Fraction(kept, 13)
        asked = {"scope": "uniform", "structure": "channel", "units": groups, "start": start}
        masks = next(pruners.trajectory("magnitude", model, sparsity=sparsity, **asked)).masks
        return masks, [int(each.sum()) for each in pruners.kept_units(groups, masks).values()]

    seven, counts = pruned(7)
    assert counts == [1, 3, 3] and pruned(6)[1] == [2, 2, 2]
    six, counts = pruned(6, seven)
    assert counts == [1, 3, 2], "the first group that has more left keeps the unit"
    assert not any((six[name] & ~mask).any() for name, mask in seven.items())
    assert pruned(6, six)[1] == counts
