from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pruners
from sweep.data import TASKS
from sweep.errors import BadInput
from sweep.models import losses
from sweep.models.losses import LOSSES
from tests.sweep.models.test_metrics import DATA

PAIRS = [(name, task) for name, loss in LOSSES.items() for task in TASKS if loss.fits(task)]


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_loss_is_a_mean_over_samples_that_has_a_gradient(name, task):
    """So that losses of batches add up, and criteria can score with single samples."""
    outputs, targets = DATA[task]
    outputs = outputs.double().requires_grad_()
    targets = targets.double() if targets.is_floating_point() else targets
    loss = LOSSES[name]
    whole = loss.compute(outputs, targets)
    alone = [loss.compute(outputs[n : n + 1], targets[n : n + 1]).item() for n in range(len(targets))]
    assert whole.item() == pytest.approx(sum(alone) / len(alone), rel=1e-5)
    assert loss.total(outputs, targets).item() == pytest.approx(sum(alone), rel=1e-5)
    [slope] = torch.autograd.grad(whole, outputs)
    assert slope.isfinite().all() and slope.any()


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_criteria_score_with_single_samples_by_every_loss(name, task):
    outputs, targets = DATA[task]
    torch.manual_seed(0)
    channels = outputs.shape[1]
    layer = {"segmentation": partial(nn.Conv2d, kernel_size=1), "language": partial(nn.Conv1d, kernel_size=1)}
    model = layer.get(task, nn.Linear)(channels, channels)
    batch = [(outputs[:5], targets[:5])]
    scores = pruners.saliency("fisher-diagonal", model, batch, loss=LOSSES[name].compute)["weight"]
    assert scores.isfinite().all() and scores.any()


def test_the_hinge_loss_is_that_of_torch():
    outputs, labels = DATA["classification"]
    assert torch.allclose(LOSSES["hinge"].compute(outputs, labels), F.multi_margin_loss(outputs, labels))


def test_losses_are_those_of_their_formulas():
    scores, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    likely = scores.softmax(1)[:, 0]
    assert LOSSES["focal"].compute(scores, labels) == pytest.approx(
        float((-((1 - likely) ** 2) * likely.log()).mean())
    )
    assert LOSSES["hinge"].compute(scores, labels) == pytest.approx((0 + 2) / 2 / 2)
    outputs, numbers = torch.tensor([[3.0], [0.5]]), torch.tensor([[1.0], [0.0]])
    assert LOSSES["mse"].compute(outputs, numbers) == pytest.approx((4 + 0.25) / 2)
    assert LOSSES["mae"].compute(outputs, numbers) == pytest.approx((2 + 0.5) / 2)
    assert LOSSES["huber"].compute(outputs, numbers) == pytest.approx((1.5 + 0.125) / 2)
    certain = torch.tensor([[[[50.0, 50]], [[-50.0, -50]]]])  # class 0 in both pixels
    assert LOSSES["dice"].compute(certain, torch.tensor([[[0, 1]]])) == pytest.approx(1 - (2 / 3 + 0) / 2)
    assert LOSSES["dice"].compute(certain, torch.tensor([[[0, 0]]])) < 1


def test_a_trial_trains_with_the_loss_that_it_names_or_with_its_tasks_own():
    assert all(losses.chosen(None, task).fits(task) for task in TASKS)
    assert losses.chosen("huber", "regression") is LOSSES["huber"]
    with pytest.raises(BadInput, match=r"^no such loss: mes; known: cross-entropy"):
        losses.find("mes")
