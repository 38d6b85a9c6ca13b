"""Sparsity that counts effective weights."""

import pytest
import torch
from torch import nn

import pruners


def effective(model, masks, shape):
    found = pruners.effective_masks(model, masks, torch.zeros(1, *shape))
    return sum(int(mask.sum()) for mask in found.values())


def by_brute_force(weights, wanted):
    """Of a stack of linear layers: the shortest prefix of the ranking that has `wanted` effective weights."""
    names = list(weights)
    ranked = sorted(
        ((-abs(float(value)), number, name, index) for number, name in enumerate(names)
         for index, value in enumerate(weights[name].flatten())),
    )  # fmt: skip
    kept = {name: set() for name in names}
    for _, _, name, index in ranked:
        kept[name].add(divmod(index, weights[name].shape[1]))
        if len(on_paths([kept[each] for each in names], weights[names[0]].shape[1])) >= wanted:
            return kept
    raise AssertionError


def on_paths(layers, inputs):
    """Edges on a path: those whose start is reached from an input and whose end reaches an output."""
    reached = [set(range(inputs))]
    for edges in layers:
        reached.append({out for out, start in edges if start in reached[-1]})
    back = [{out for out, _ in layers[-1]}]
    for edges in reversed(layers):
        back.append({start for out, start in edges if out in back[-1]})
    back = back[::-1]
    return [
        (number, edge)
        for number, edges in enumerate(layers)
        for edge in edges
        if edge[1] in reached[number] and edge[0] in back[number + 1]
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9, 0.95])
def test_the_fewest_weights_are_kept_that_have_the_effective_ones(seed, sparsity):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    masks = pruners.prune(
        "magnitude", model, sparsity=sparsity, target="effective", example_input=torch.zeros(1, 5)
    )
    weights = {name: weight.detach() for name, weight in pruners.prunable(model).items()}
    wanted = pruners.kept_count(sum(weight.numel() for weight in weights.values()), sparsity)
    expected = by_brute_force(weights, wanted)
    assert {
        name: {tuple(each) for each in mask.nonzero().tolist()} for name, mask in masks.items()
    } == expected
    assert effective(model, masks, (5,)) >= wanted


@pytest.mark.parametrize(
    "scope", ["uniform", "erk", "balanced", "block:4x4", {"0.weight": 0.1, "3.weight": 1}]
)
def test_every_scope_reaches_the_effective_count(conv_net, scope):
    model, batches = conv_net
    if isinstance(scope, dict):
        scope = dict.fromkeys(pruners.prunable(model), 0.5) | {next(iter(pruners.prunable(model))): 0.1}
    shape = batches[0][0].shape[1:]
    masks = pruners.prune("snip", model, batches, sparsity=0.95, scope=scope, target="effective")
    total = sum(mask.numel() for mask in masks.values())
    plain = pruners.prune("snip", model, batches, sparsity=0.95, scope=scope)
    assert effective(model, masks, shape) >= pruners.kept_count(total, 0.95) >= effective(model, plain, shape)


def test_of_several_iterations_the_last_one_counts_effective_weights(conv_net):
    model, batches = conv_net
    given = {"sparsity": 0.9, "iterations": 5, "seed": 3}
    plain = [step.masks for step in pruners.trajectory("synflow", model, batches, **given)]
    steps = [
        step.masks for step in pruners.trajectory("synflow", model, batches, target="effective", **given)
    ]
    for one, other in zip(plain[:-1], steps[:-1], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert all(bool((steps[-2][name] | ~mask).all()) for name, mask in steps[-1].items())
    wanted = pruners.kept_count(sum(mask.numel() for mask in plain[0].values()), 0.9)
    assert effective(model, steps[-1], batches[0][0].shape[1:]) >= wanted


def test_without_a_sparsity_all_weights_are_kept():
    model = nn.Linear(4, 3)
    masks = pruners.prune("magnitude", model, sparsity=0, target="effective", example_input=torch.zeros(1, 4))
    assert masks["weight"].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give batches or an example_input"),
        ({"target": "alive"}, "target alive: kept or effective"),
        ({"structure": "filter"}, "leave out structure filter"),
        ({"scope": "2:4"}, "scope 2:4 says how many weights are kept"),
        ({"example_input": torch.zeros(1, 4), "start": {"weight": torch.zeros(3, 4, dtype=torch.bool)}},
         "0 of the 0 weights to choose from are effective, and the sparsity asks for 6"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(arguments, message):
    given = {"sparsity": 0.5, "target": "effective"} | arguments
    with pytest.raises(ValueError, match=message):
        next(pruners.trajectory("magnitude", nn.Linear(4, 3), **given))
