"""What docs/results.md says about the quickstart and explains."""

from pathlib import Path

import pytest
import torch
from torch import nn

import pruners
from sweep import data, models
from sweep.seeds import derive
from sweep.study import load
from sweep.training import Training
from sweep.trial import run


@pytest.mark.parametrize("shifts", ["trained", "reset"])
def test_force_collapses_after_an_epoch_because_batchnorm_has_trained_shifts(shifts):
    config = load("studies/quickstart.yaml").trials()[-1].config
    whole = data.load("digits", Path("data"), 0.1, 0)
    model = models.build(config.model, whole.shape, whole.classes, derive(0, "init"))
    training = Training(config, model, whole)
    next(training.run(training.steps_per_epoch))
    if shifts == "reset":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.bias)
    rows = torch.arange(64)
    batch = whole.inputs(whole.train.images[rows]), whole.train.labels[rows]
    for iterations in (20, 60):
        masks = pruners.prune("force", model, [batch], sparsity=0.98, iterations=iterations)
        assert bool(pruners.collapsed_layers(masks)) == (shifts == "trained")


@pytest.mark.parametrize(("prune_epoch", "collapsed"), [(0, 2), (0.5, 1), (2, 0)])
def test_magnitude_empties_layers_at_initialization_and_none_after_two_epochs(prune_epoch, collapsed):
    trials = load("studies/prune-epoch.yaml").trials()
    asked = {"criterion": "magnitude", "sparsity": 0.95, "prune_epoch": prune_epoch, "seed": 0}
    [trial] = [t for t in trials if all(getattr(t.config, name) == value for name, value in asked.items())]
    row = run(trial).trial
    assert row["collapsed_layers"] == collapsed
    assert (row["test_accuracy"] > 0.9) == (collapsed == 0)
