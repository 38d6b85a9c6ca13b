from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from sweep import data, plan
from sweep.config import Config, Trial


def trials(seeds):
    return [
        Trial.of(Config(dataset="digits", model="conv-5", criterion=c, sparsity=s, seed=seed, epochs=2))
        for c in ("random", "snip")
        for s in (0.5, 0.9)
        for seed in range(seeds)
    ]


@given(st.integers(1, 40), st.integers(1, 9))
def test_packs_hold_every_trial_once_one_seed_of_everything_first(seeds, workers):
    packs = plan.packs(trials(seeds), workers)
    ordered = [trial for pack in packs for trial in pack.trials]
    assert sorted(t.id for t in ordered) == sorted(t.id for t in trials(seeds))
    assert [t.config.seed for t in ordered] == sorted(t.config.seed for t in ordered)
    assert [pack.number for pack in packs] == list(range(len(packs)))
    sizes = [len(pack.trials) for pack in packs]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 1


def test_the_estimate_grows_with_epochs_and_scoring():
    whole = data.load("digits", Path("data"), 0.1, 0)
    base = {"dataset": "digits", "model": "conv-5", "sparsity": 0.9}

    def seconds(**fields):
        return plan.estimate([Trial.of(Config(**base, **fields))], whole, torch.device("cpu"))

    once = seconds(criterion="random", epochs=5)
    assert 0 < once < seconds(criterion="random", epochs=10) < 2 * once
    assert seconds(criterion="force", epochs=5, iterations=20) > seconds(criterion="snip", epochs=5) > once
