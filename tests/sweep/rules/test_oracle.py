import math
from itertools import combinations

import pytest

from sweep import models
from sweep.config import Config
from sweep.errors import BadInput
from sweep.rules.oracle import combination, distinct, unranked
from sweep.trial.masking import excluded


def chosen(model, **fields):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "oracle", "epochs": 2}
    asked = Config(**(base | fields))
    return combination(asked, model, excluded(asked, model))


def test_the_combinations_are_all_ways_to_remove_filters_each_once():
    ways = [tuple(unranked(rank, 6, 3)) for rank in range(math.comb(6, 3))]
    assert ways == list(combinations(range(6), 3))
    order = [distinct(20, index, seed=1) for index in range(20)]
    assert sorted(order) == list(range(20)) and order != sorted(order)


def test_the_oracle_removes_as_many_filters_of_each_layer_as_the_sparsity_says():
    model = models.build("conv-5", (1, 8, 8), 10, 0)
    asked = {"criterion": "oracle", "structure": "filter", "sparsity": 0.25, "layers": "0.* 3.*"}
    seen = set()
    for index in range(30):
        masks = chosen(model, combination=index, seed=index, **asked)
        assert list(masks) == ["0.weight", "3.weight"]
        rows = {name: mask.flatten(1).any(1) for name, mask in masks.items()}
        assert {name: int(kept.sum()) for name, kept in rows.items()} == {"0.weight": 12, "3.weight": 24}
        seen.add(tuple(kept.tolist().__str__() for kept in rows.values()))
    assert len(seen) == 30
    with pytest.raises(BadInput, match="combination 1820: there are 1820 ways"):
        chosen(model, **asked | {"layers": "0.*", "combination": 1820})
