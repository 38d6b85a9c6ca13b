"""The scores by which weights are dropped and grown, against sums by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sweep.config import Config
from sweep.rules.choices import Choices
from sweep.rules.drops import Drop
from sweep.rules.growths import Growth
from sweep.rules.step_scores import signed

WEIGHTS = torch.tensor([[3.0, -1.0, 0.0], [2.0, -4.0, 1.0]])
GRADIENT = torch.tensor([[0.5, 2.0, -9.0], [0.0, -1.0, 3.0]])
MASK = WEIGHTS != 0


def run():
    """A run whose network is one layer with known weights and gradients."""
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    model[0].weight.data.copy_(WEIGHTS)
    model[0].weight.grad = GRADIENT.clone()
    config = Config(dataset="digits", model="conv-5", criterion="set", sparsity=0.5, epochs=1)
    return SimpleNamespace(model=model, exclude=[], config=config, batches=list, units=[])


@pytest.mark.parametrize(
    ("drop", "weight", "expected"),
    [
        ("magnitude", 0.0, [[3, 1, 0], [2, 4, 1]]),
        ("magnitude+gradient", 0.5, [[3.25, 2, -torch.inf], [2, 4.5, 2.5]]),
        ("taylor", 0.0, [[1.5, 2, -torch.inf], [0, 4, 3]]),
        # Of three positive weights 1 < 2 < 3, of two negative ones 1 < 4 in size.
        ("signed", 0.0, [[2.5 / 3, 0.25, -torch.inf], [0.5, 0.75, 0.5 / 3]]),
    ],
)
def test_scores_of_a_step(drop, weight, expected):
    choices = Choices(drop=drop, gradient_weight=weight)
    scores = Drop(choices, run()).scores({"0.weight": MASK}, 1)["0.weight"]
    assert torch.allclose(scores.double(), torch.tensor(expected, dtype=torch.float64))


def test_one_sign_each_drops_as_large_a_share_of_both_signs():
    weight = torch.cat([torch.rand(60), -100 * torch.rand(40)])[torch.randperm(100)]
    scores = signed(weight, torch.ones(100, dtype=torch.bool))
    dropped = scores.argsort()[:20]
    assert int((weight[dropped] >= 0).sum()) == 12 and int((weight[dropped] < 0).sum()) == 8
    positive, negative = weight[weight >= 0].sort().values, weight[weight < 0].sort().values
    assert weight[dropped].max() == positive[11] and weight[dropped].min() == negative[-8]


def test_momentum_is_the_moving_average_of_the_gradients_of_all_weights():
    one = run()
    growth = Growth(Choices(grow="momentum", average=0.75), one)
    for factor in (1, -2, 4):
        one.model[0].weight.grad = factor * GRADIENT
        growth.watch()
    average = GRADIENT * (0.25 * 4 + 0.75 * (0.25 * -2 + 0.75 * 0.25 * 1))
    assert torch.allclose(growth.scores(1)["0.weight"], average.abs())
    later = Growth(Choices(grow="momentum", average=0.75), one)
    later.load_state_dict(growth.state_dict())
    assert torch.equal(later.scores(1)["0.weight"], growth.scores(1)["0.weight"])


def test_averaged_taylor_scores_are_those_of_all_steps_so_far():
    one, choices = run(), Choices(drop="taylor-average", average=0.75)
    drop = Drop(choices, one)
    for factor in (1, -2, 4):
        one.model[0].weight.grad = factor * GRADIENT
        drop.watch({"0.weight": MASK})
    expected = (WEIGHTS * GRADIENT).abs() * (0.25 * 4 + 0.75 * (0.25 * 2 + 0.75 * 0.25 * 1))
    scores = drop.scores({"0.weight": MASK}, 1)["0.weight"]
    assert torch.allclose(scores[MASK], expected[MASK]) and scores[~MASK].item() == -torch.inf
    later = Drop(choices, one)
    later.load_state_dict(drop.state_dict())
    assert torch.equal(later.scores({"0.weight": MASK}, 1)["0.weight"], scores)
    assert not list(choices.problems(Choices())) and choices.averages_drop


def test_a_drop_by_adapters_takes_their_estimates_for_the_gradients():
    one, choices = run(), Choices(drop="lora-average", average=0.75)
    adapters = SimpleNamespace(estimates=lambda masks: dict.fromkeys(masks, GRADIENT))
    drop = Drop(choices, one, adapters)
    one.model[0].weight.grad = None
    drop.watch({"0.weight": MASK})
    scores = drop.scores({"0.weight": MASK}, 1)["0.weight"]
    assert torch.allclose(scores[MASK], 0.25 * (WEIGHTS * GRADIENT).abs()[MASK])
    assert choices.averages_drop and choices.estimates_drop


def test_weights_that_were_never_kept_come_first():
    growth = Growth(Choices(grow="unexplored"), run())
    growth.explore({"0.weight": torch.tensor([[True, False, False], [False, True, False]])})
    growth.explore({"0.weight": torch.tensor([[True, True, False], [False, False, False]])})
    ever = torch.tensor([[True, True, False], [False, True, False]])
    for step in range(5):
        scores = growth.scores(step)["0.weight"]
        assert scores[~ever].min() > scores[ever].max()
    assert not torch.equal(growth.scores(1)["0.weight"], growth.scores(2)["0.weight"])


def test_random_growth_draws_by_step_and_seed_alone():
    one, other = Growth(Choices(grow="random"), run()), Growth(Choices(grow="random"), run())
    assert torch.equal(one.scores(4)["0.weight"], other.scores(4)["0.weight"])
    assert not torch.equal(one.scores(4)["0.weight"], one.scores(5)["0.weight"])
