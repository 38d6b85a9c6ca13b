import pytest
import torch
from torch import nn

from sweep.trial import run
from sweep.trial.exploration import Exploration
from tests.sweep.trial.test_run import trial


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 4))


def masked(net, *bits):
    return {
        f"{number}.weight": torch.tensor([bit == "1" for bit in each]).view(net[number].weight.shape)
        for number, each in enumerate(bits)
    }


def test_the_union_has_the_masks_under_which_there_was_a_step(net):
    first, second, third = (
        masked(net, *bits) for bits in (("1100", "1000"), ("0110", "1000"), ("0001", "0001"))
    )
    found = Exploration(net)
    found.note({}, 0)
    found.note(first, 3)  # three steps under the first masks
    found.note(second, 3)  # none under the second
    assert found.share(third, 5) == 5 / 8
    again = Exploration(net)
    again.note(first, 3)
    assert again.share(second, 4) == 4 / 8
    assert Exploration(net).share(first, 0) == 3 / 8, (
        "of weights that were never trained: those that are kept"
    )


def test_training_without_masks_explores_every_weight(net):
    found = Exploration(net)
    assert found.share({}, 0) == 1
    found.note({}, 2)
    assert found.share(masked(net, "1000", "1000"), 5) == 1


def test_a_state_goes_on_as_the_exploration_would(net):
    first, second = masked(net, "1100", "1000"), masked(net, "0110", "0001")
    whole, part, next_try = Exploration(net), Exploration(net), Exploration(net)
    for each in (whole, part):
        each.note(first, 3)
    state = part.state()
    assert next_try.can_restore(state)
    next_try.restore(state, torch.device("cpu"))
    assert next_try.share(second, 4) == whole.share(second, 4) == 5 / 8
    assert not next_try.can_restore(state | {"union": {"0.weight": torch.ones(2, dtype=torch.bool)}})


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"structure": "filter"}, {"structure": "channel", "shrink": True}])
def test_a_trial_pruned_at_the_start_explores_the_weights_that_it_keeps(fields):
    """Masks of biases and normalization do not count, and a smaller network is no other mask."""
    row = run(trial(model="conv-5", sparsity=0.5, **fields)).trial
    assert row["explored"] == row["density"] < 1
    assert run(trial(model="conv-5", sparsity=0.5, prune_epoch=0.5, **fields)).trial["explored"] == 1
