"""AP, the second ranking of `imp`: exact counts, and among negative weights those that moved least go."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pruners
from sweep import data, plan
from sweep.errors import BadInput
from sweep.rules.ap import stays
from sweep.trial import network, run
from tests.sweep.trial.test_run import trial

TENTH = Fraction(1, 10)


def kept(weights, start, count, share):
    mask = stays(torch.tensor(weights), torch.tensor(start), count, Fraction(str(share)))
    return [index for index, stay in enumerate(mask.tolist()) if stay]


def test_a_level_worked_out_by_hand():
    """Of ten weights four go: two by size, 0.5 of them by movement (-5 moved by 1, -7 by 2, 6 by 0)."""
    weights = [1.0, -2.0, 3.0, -4.0, -5.0, 6.0, -7.0, 8.0, -9.0, 10.0]
    start = [9.0, 9.0, 9.0, 9.0, -4.0, 6.0, -5.0, 9.0, 9.0, 9.0]
    assert kept(weights, start, 6, 0.5) == [2, 3, 5, 7, 8, 9]
    assert kept(weights, start, 6, 0.25) == [3, 5, 6, 7, 8, 9]
    assert kept(weights, start, 6, 0.1) == [4, 5, 6, 7, 8, 9], "0.4 of a weight is none: magnitude alone"


def test_where_too_few_are_negative_the_smallest_of_the_others_go():
    assert kept([1.0, 2.0, 3.0, -4.0, 5.0, 6.0], [0.0] * 6, 2, 0.9) == [4, 5]
    assert kept([1.0, 2.0, 3.0, 4.0], [0.0] * 4, 2, 0.5) == [2, 3]


def test_what_was_pruned_before_is_neither_counted_nor_chosen():
    """Six of eight are left. Of the two that go one is chosen by movement."""
    weights = [0.0, 0.0, -1.0, -2.0, -3.0, 4.0, 5.0, 6.0]
    start = [0.0, 0.0, -1.0, -9.0, -3.5, 4.0, 5.0, 6.0]
    assert kept(weights, start, 4, 0.5) == [3, 5, 6, 7]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_counts_are_exact_and_the_two_rankings_are_kept_apart(drawn):
    size = drawn.draw(st.integers(1, 40))
    values = st.lists(st.integers(-20, 20).map(float), min_size=size, max_size=size)
    weights, start = drawn.draw(values), drawn.draw(values)
    alive = sum(weight != 0 for weight in weights)
    count, share = drawn.draw(st.integers(0, alive)), drawn.draw(st.fractions(0.01, 0.99))
    found = stays(torch.tensor(weights), torch.tensor(start), count, share).tolist()
    assert sum(found) == count
    assert all(weights[index] != 0 for index, stay in enumerate(found) if stay)
    gone = [index for index, stay in enumerate(found) if not stay and weights[index] != 0]
    second = round(share * len(gone))
    # All that goes is among the smallest, but for as many as the second ranking may choose.
    smallest = min((abs(weights[i]) for i, stay in enumerate(found) if stay), default=99)
    beyond = [index for index in gone if abs(weights[index]) > smallest]
    assert len(beyond) <= second
    assert all(weights[index] < 0 for index in beyond)


LEVELS = {"criterion": "imp", "sparsity": 0.488, "iterations": 3, "epochs": 1, "lr": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["global", "erk"])
def test_levels_keep_as_many_weights_as_without_and_other_ones(scope):
    plain, second = (
        run(trial(**LEVELS, scope=scope, **fields), masks=True) for fields in ({}, {"second": "ap"})
    )
    kept = [[row["kept"] for row in result.curves] for result in (plain, second)]
    assert kept[0] == kept[1]
    if scope != "global":
        assert [row["kept"] for row in plain.layers] == [row["kept"] for row in second.layers]
    assert [row["bits"] for row in plain.masks] != [row["bits"] for row in second.masks]


@pytest.mark.slow
def test_movement_counts_from_the_weights_that_the_level_began_with(monkeypatch):
    """Of every level these are the weights to which training rewinds: here the initial ones."""
    seen = []

    def watched(weights, start, kept, share):
        seen.append((weights.clone(), start))
        return stays(weights, start, kept, share)

    monkeypatch.setattr("sweep.rules.ap.stays", watched)
    asked = trial(**{**LEVELS, "iterations": 2}, second="ap")
    run(asked)
    loaded = data.load("digits", Path("data"), 0.1, 0)
    initial = network.built(asked.config, loaded, 0, "init")
    flat = torch.cat([weight.detach().flatten() for weight in pruners.prunable(initial).values()])
    assert [torch.equal(start, flat) for _, start in seen] == [True, True]
    assert not torch.equal(seen[0][0], flat) and int((seen[1][0] == 0).sum()) > 0


def test_a_share_is_part_of_the_trial_only_with_a_second_ranking():
    plain, ap = trial(**LEVELS), trial(**LEVELS, second="ap")
    assert trial(**LEVELS, second_share=0.3) == plain != ap
    assert (
        trial(**LEVELS, second="ap", second_share=0.1) == ap != trial(**LEVELS, second="ap", second_share=0.3)
    )
    assert trial(second="ap") == trial(), "a criterion that prunes once has one ranking"


def test_levels_of_other_rankings_are_not_shared():
    trials = [
        trial(**{**LEVELS, "sparsity": s, "iterations": n}, **fields)
        for s, n in ((0.2, 1), (0.36, 2))
        for fields in ({}, {"second": "ap"}, {"second": "ap", "second_share": 0.3})
    ]
    chains = plan.share(trials)
    assert [len(chain) for chain in chains] == [2, 2, 2]
    assert all(
        len({(job.trial.config.second, job.trial.config.second_share) for job in c}) == 1 for c in chains
    )


@pytest.mark.parametrize("fields", [{"scope": "rowwise"}, {"min_per_layer": 5}])
def test_fields_that_its_counts_cannot_keep_to_are_refused(fields):
    with pytest.raises(BadInput, match="second ap"):
        trial(**LEVELS, second="ap", **fields)
