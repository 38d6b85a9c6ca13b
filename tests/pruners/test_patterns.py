"""Scopes whose masks have a pattern: N:M along the inputs, and blocks."""

from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pruners
from pruners.ranking import select
from pruners.scopes import PATTERNS, Blocks, Group, OfInputs

shapes = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.lists(st.integers(1, 9), min_size=2, max_size=4).map(tuple),
    min_size=1,
    max_size=4,
)


def chosen(scope, shapes, kept, seed=0, ties=False):
    draws = torch.Generator().manual_seed(seed)
    scores = {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()}
    if ties:
        scores = {name: score.sign() for name, score in scores.items()}
    groups = PATTERNS[scope](shapes, kept)
    return scores, select(scores, groups, [group.kept for group in groups])


@pytest.mark.slow
@given(st.sampled_from(sorted(PATTERNS)), shapes, st.integers(0, 9), st.booleans(), st.data())
def test_patterns_keep_exactly_what_is_asked(scope, shapes, seed, ties, data):
    total = sum(map(prod, shapes.values()))
    least = 1 if PATTERNS[scope].sparsity is None else round(total / 2)
    kept = data.draw(st.integers(least, total))
    _, masks = chosen(scope, shapes, kept, seed, ties)
    assert sum(int(mask.sum()) for mask in masks.values()) == kept
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == shapes


@pytest.mark.slow
@given(st.sampled_from([("2:4", 2, 4), ("4:8", 4, 8)]), shapes, st.integers(0, 9))
def test_at_half_the_weights_every_m_consecutive_inputs_keep_their_n_best(scope, shapes, seed):
    name, keeps, of = scope
    total = sum(map(prod, shapes.values()))
    scores, masks = chosen(name, shapes, round(total / 2), seed)
    for layer, mask in masks.items():
        inputs = mask.shape[1]
        for first in range(0, inputs - of + 1, of):
            part = mask[:, first : first + of]
            assert bool((part.sum(1) == keeps).all())
            worst = scores[layer][:, first : first + of].masked_fill(~part, torch.inf).amin(1)
            best = scores[layer][:, first : first + of].masked_fill(part, -torch.inf).amax(1)
            assert bool((worst >= best).all())
        # The inputs left behind keep half of their weights, to one weight of the layer.
        left = mask[:, inputs - inputs % of :]
        assert abs(float(left.sum()) - left.numel() / 2) <= 0.5


def test_a_pattern_of_inputs_refuses_a_sparsity_that_it_cannot_have_and_says_which_it_has():
    with pytest.raises(
        ValueError, match=r"scope 2:4 keeps 8 weights, and the sparsity 4: take sparsity 0\.5"
    ):
        PATTERNS["2:4"]({"a": (4, 4)}, 4)


def test_inputs_left_behind_are_ranked_among_themselves():
    scores = {"a": torch.tensor([[9.0, 8, 7, 6, 1], [5, 5, 5, 5, 2]])}
    masks = select(scores, PATTERNS["2:4"]({"a": (2, 5)}, 5), [5])
    assert masks["a"].int().tolist() == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 1]]


def test_convolutions_count_input_channels_at_one_position_of_the_kernel():
    scores = torch.zeros(1, 4, 1, 2)
    scores[0, :, 0, 0] = torch.tensor([1.0, 2, 3, 4])
    scores[0, :, 0, 1] = torch.tensor([4.0, 3, 2, 1])
    mask = select({"a": scores}, PATTERNS["2:4"]({"a": (1, 4, 1, 2)}, 4), [4])["a"]
    assert mask[0, :, 0].int().tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]


def test_blocks_are_kept_by_the_sums_of_their_scores_over_all_layers():
    scores = {"a": torch.ones(4, 8), "b": torch.full((5, 4), 2.0)}
    scores["a"][:, 4:] = 3
    # Sums 16 and 48 in a; 32 and, at the edge, 8 in b.
    masks = select(scores, [Group(("a", "b"), 32, Blocks(4, 4))], [32])
    assert masks["a"].sum(0).tolist() == [0, 0, 0, 0, 4, 4, 4, 4]
    assert masks["b"].sum(1).tolist() == [4, 4, 4, 4, 0]
    # Three weights more come from the next block.
    more = select(scores, [Group(("a", "b"), 35, Blocks(4, 4))], [35])
    assert int(more["a"][:, :4].sum()) == 3 and torch.equal(more["b"], masks["b"])


@pytest.mark.slow
@given(shapes, st.integers(0, 9), st.data())
def test_at_most_one_block_is_kept_in_part_and_more_kept_weights_are_a_larger_set(shapes, seed, data):
    total = sum(map(prod, shapes.values()))
    kept = data.draw(st.integers(1, total))
    _, masks = chosen("block:4x4", shapes, kept, seed)
    partly = 0
    for mask in masks.values():
        matrix = mask.flatten(1)
        for row in range(0, matrix.shape[0], 4):
            for column in range(0, matrix.shape[1], 4):
                block = matrix[row : row + 4, column : column + 4]
                partly += bool(block.any()) and not bool(block.all())
    assert partly <= 1
    _, more = chosen("block:4x4", shapes, min(total, kept + 5), seed)
    assert all(bool((more[name] | ~mask).all()) for name, mask in masks.items())


@pytest.mark.parametrize("scope", sorted(PATTERNS))
def test_masks_of_iterations_lie_within_each_other(scope):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 7), nn.ReLU(), nn.Linear(7, 4))
    batches = [(torch.rand(8, 10), torch.randint(4, (8,)))]
    steps = [
        step.masks
        for step in pruners.trajectory(
            "iter-snip", model, batches, sparsity=0.5, scope=scope, iterations=4, schedule="linear"
        )
    ]
    assert [sum(int(mask.sum()) for mask in step.values()) for step in steps][-1] == 49
    for before, after in pairwise(steps):
        assert all(bool((before[name] | ~mask).all()) for name, mask in after.items())


def test_a_pattern_says_at_which_sparsity_masks_have_it():
    assert {name: pattern.sparsity for name, pattern in PATTERNS.items()} == {
        "2:4": 0.5,
        "4:8": 0.5,
        "block:4x4": None,
    }
    assert OfInputs(1, 4).sparsity == 0.75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scope": "2:4", "sparsity": 0.9}, "take sparsity 0.5"),
        ({"scope": "2:4", "sparsity": 0.5, "min_per_layer": 1}, "not with scope 2:4"),
        (
            {"scope": "block:4x4", "sparsity": 0.5, "structure": "filter"},
            "scope block:4x4 with structure filter",
        ),
        ({"scope": "2:3", "sparsity": 0.5}, "unknown scope '2:3': did you mean '2:4'"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        pruners.prune("magnitude", nn.Linear(8, 8), **arguments)
