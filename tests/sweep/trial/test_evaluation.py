"""Evaluations of a trial's network: which are made, and what they say."""

from pathlib import Path

import pytest
import torch

from sweep import data, models
from sweep.config import Config
from sweep.study.identity import Trial
from sweep.trial import run
from sweep.trial.evaluation import Evaluation

FIELDS = {
    "dataset": "digits",
    "model": "lenet-300-100",
    "criterion": "magnitude",
    "sparsity": 0.9,
    "epochs": 1,
}


@pytest.fixture
def evaluated(monkeypatch):
    """The sizes of the splits that are evaluated, in order, with the loss of each."""
    found, evaluate = [], Evaluation.evaluate

    def noted(self, split):
        loss, metric = evaluate(self, split)
        found.append((len(split), loss))
        return loss, metric

    monkeypatch.setattr(Evaluation, "evaluate", noted)
    return found


def train_losses(evaluated):
    largest = max(size for size, _ in evaluated)
    return [loss for size, loss in evaluated if size == largest]


def test_a_network_that_nothing_follows_is_evaluated_on_its_training_data_once(evaluated):
    row = run(Trial.of(Config(**FIELDS, prune_epoch=1))).trial
    assert train_losses(evaluated) == [row["pre_train_loss"]]
    assert row["train_loss"] == row["pre_train_loss"] and row["test_loss"] == row["pre_test_loss"]


def test_a_network_with_new_weights_is_evaluated_again(evaluated):
    row = run(Trial.of(Config(**FIELDS, prune_epoch=1, ablation="reinit"))).trial
    before, after = train_losses(evaluated)
    assert (before, after) == (row["pre_train_loss"], row["train_loss"]) and before != after


def test_what_was_evaluated_once_is_told_by_split_and_weights(evaluated):
    digits = data.load("digits", Path("data"), 0.1, 0)
    network = models.build("lenet-300-100", digits.shape, digits.classes, 0)
    evaluation = Evaluation(Config(**FIELDS), network, digits)
    first = evaluation.evaluate_once(digits.test)
    assert evaluation.evaluate_once(digits.test) == first and len(evaluated) == 1
    assert evaluation.evaluate_once(digits.validation) != first
    weight = next(network.parameters())
    before = weight.detach().clone()
    with torch.no_grad():
        weight.data.view(-1)[:2] = weight.flatten()[:2].flip(0)
    evaluation.evaluate_once(digits.test)
    assert len(evaluated) == 3, "two weights that change places make another network"
    weight.data.copy_(before)
    assert evaluation.evaluate_once(digits.test) == first and len(evaluated) == 3
