import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import special, stats
from sklearn import metrics as known

from sweep.data import TASKS
from sweep.errors import BadInput
from sweep.models import metrics
from sweep.models.metrics import METRICS, Metric


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LABELS = torch.arange(210) % 7
# Better than a guess, for some classes more than for others.
SCORES = draws(210, 7) + torch.nn.functional.one_hot(LABELS, 7) * (LABELS.unsqueeze(1) % 3)
NUMBERS = draws(90, 2, seed=1)
FITTED = NUMBERS * 0.7 + draws(90, 2, seed=2) + 0.1
SWITCHES = (draws(80, 4, seed=3) > 0.3).float()
# Rounded, so that many samples have the same score.
LIKELY = ((SWITCHES * 2 - 1) + draws(80, 4, seed=4) * 2).mul(2).round() / 2
MAPS = torch.randint(0, 3, (6, 5, 4), generator=torch.Generator().manual_seed(5))
MAP_SCORES = draws(6, 4, 5, 4, seed=6) + torch.nn.functional.one_hot(MAPS, 4).movedim(-1, 1)
TOKENS = torch.randint(0, 5, (8, 6), generator=torch.Generator().manual_seed(7))
TOKEN_SCORES = draws(8, 5, 6, seed=8) + torch.nn.functional.one_hot(TOKENS, 5).movedim(-1, 1)
DATA = {
    "classification": (SCORES, LABELS),
    "regression": (FITTED, NUMBERS),
    "multi-label": (LIKELY, SWITCHES),
    "segmentation": (MAP_SCORES, MAPS),
    "language": (TOKEN_SCORES, TOKENS),
}


def ece(probabilities, labels):
    """The gap between confidence and accuracy in 15 bins of one width, by their share of samples."""
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.ceil(sure * 15)
    return sum(
        abs(right[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)
    )


def expected(task):
    """Every metric of a task by scikit-learn, SciPy or its formula."""
    outputs, targets = (each.double().numpy() for each in DATA[task])
    if task == "regression":
        pairs = list(zip(outputs.T, targets.T, strict=True))
        return {
            "r2": known.r2_score(targets, outputs),
            "rmse": known.root_mean_squared_error(targets, outputs),
            "mae": known.mean_absolute_error(targets, outputs),
            "pearson": np.mean([stats.pearsonr(*pair).statistic for pair in pairs]),
            "spearman": np.mean([stats.spearmanr(*pair).statistic for pair in pairs]),
        }
    if task == "multi-label":
        guessed, likely = outputs > 0, special.expit(outputs)
        return {
            "map": known.average_precision_score(targets, outputs, average="macro"),
            "f1": known.f1_score(targets, guessed, average="macro"),
            "precision": known.precision_score(targets, guessed, average="macro"),
            "recall": known.recall_score(targets, guessed, average="macro"),
            "auroc": known.roc_auc_score(targets, likely, average="macro"),
            "exact-match": known.accuracy_score(targets, guessed),
        }
    targets, guessed = targets.astype(int).ravel(), outputs.argmax(1).ravel()
    if task == "segmentation":
        return {
            "miou": known.jaccard_score(targets, guessed, average="macro"),
            "mean-dice": known.f1_score(targets, guessed, average="macro"),
            "pixel-accuracy": known.accuracy_score(targets, guessed),
        }
    if task == "language":
        likely = special.softmax(outputs, 1)
        true = np.take_along_axis(likely, targets.reshape(len(outputs), 1, -1), 1)
        return {
            "token-accuracy": known.accuracy_score(targets, guessed),
            "bits_per_byte": -np.log2(true).mean(),
        }
    likely = special.softmax(outputs, 1)
    return {
        "accuracy": known.accuracy_score(targets, guessed),
        "top5": known.top_k_accuracy_score(targets, outputs, k=5),
        "balanced-accuracy": known.balanced_accuracy_score(targets, guessed),
        "worst-class-accuracy": known.recall_score(targets, guessed, average=None).min(),
        "ece": ece(likely, targets),
        "nll": known.log_loss(targets, likely),
        "brier": np.square(likely - np.eye(7)[targets]).sum(1).mean(),
        "kappa": known.cohen_kappa_score(targets, guessed),
        "mcc": known.matthews_corrcoef(targets, guessed),
        "precision": known.precision_score(targets, guessed, average="macro"),
        "recall": known.recall_score(targets, guessed, average="macro"),
        "f1": known.f1_score(targets, guessed, average="macro"),
        "auroc": known.roc_auc_score(targets, likely, multi_class="ovr", average="macro"),
    }


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_is_that_of_another_library_or_of_its_formula(task):
    truth = expected(task)
    assert truth.keys() == {name for name, metric in METRICS.items() if metric.fits(task)}
    found = {name: METRICS[name].value(*DATA[task]) for name in truth}
    assert found == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_the_headline_is_a_metric_of_its_task_of_which_higher_is_better(task):
    headline = METRICS[TASKS[task].headline]
    assert headline.fits(task) and headline.higher_is_better


def test_a_headline_is_finite_where_its_formula_divides_by_nothing():
    """Or a trial with constant targets, or without a positive label, would count as diverged."""
    constant = torch.ones(5, 1)
    assert METRICS["r2"].value(constant, constant) == 1
    assert METRICS["r2"].value(constant * 2, constant) == 0
    assert METRICS["map"].value(draws(5, 2), torch.zeros(5, 2)) == 0
    one_label = torch.tensor([[1.0, 0], [0, 0]])
    assert METRICS["map"].value(torch.tensor([[1.0, 2], [0, 1]]), one_label) == 1
    nowhere = torch.zeros(2, 3, 4, 4)
    assert METRICS["miou"].value(nowhere, torch.zeros(2, 4, 4, dtype=torch.long)) == 1


def test_a_metric_that_a_split_cannot_have_is_not_a_number():
    assert np.isnan(METRICS["top5"].value(SCORES[:, :4], LABELS % 4))
    assert np.isnan(METRICS["pearson"].value(torch.ones(5, 1), draws(5, 1)))


def test_scores_that_all_lie_between_0_and_1_are_not_taken_for_probabilities():
    small = SCORES.sigmoid()
    likely = special.softmax(small.double().numpy(), 1)
    assert METRICS["ece"].value(small, LABELS) == pytest.approx(ece(likely, LABELS.numpy()))


def test_an_own_metric_is_a_function_of_outputs_and_targets():
    assert (
        Metric(lambda outputs, targets: (outputs - targets).abs().max()).value(
            torch.tensor([1.0, 5]), torch.tensor([1.0, 2])
        )
        == 3
    )


def test_a_metric_of_another_task_is_one_line():
    metrics.check(["f1", "auroc"], "multi-label")
    with pytest.raises(BadInput, match=r"^metrics ece: it is not for regression: take some of r2, rmse"):
        metrics.check(["r2", "ece"], "regression")
    with pytest.raises(BadInput, match=r"^no such metric: ecce; known: accuracy"):
        metrics.check(["ecce"], "classification")


@pytest.mark.slow
def test_torchmetrics_is_imported_by_the_first_metric_that_needs_it():
    code = """
import sys
from sweep.config import Config
from sweep.study.identity import Trial
from sweep.trial import run
trial = Trial.of(Config(dataset="digits", model="lenet-300-100", criterion="snip", sparsity=0.9, epochs=1))
run(trial, metrics=["top5", "brier"])
assert "torchmetrics" not in sys.modules
run(trial, metrics=["ece"])
assert "torchmetrics" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
