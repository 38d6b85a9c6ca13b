"""A trial in small tells what is wrong with the parts that it names."""

import pytest

from sweep.study import load
from sweep.trial.rehearsal import rehearse

PARTS = """\
import random


def right(probe):
    return {name: weight.abs() for name, weight in probe.weights.items()}


def fails(probe):
    return 1 / len(())


def draws(probe):
    return {name: weight.abs() * random.random() + weight for name, weight in probe.weights.items()}


def short(probe):
    return {name: weight[:1] for name, weight in probe.weights.items()}


def count(outputs, targets):
    raise KeyError("no such class")
"""


def said(folder, lines, dataset="digits"):
    (folder / "scores.py").write_text(PARTS)
    (folder / "study.yaml").write_text(
        f"dataset: {dataset}\nmodel: conv-5\nepochs: 1\nsparsity: 0.9\n{lines}"
    )
    study = load(folder / "study.yaml")
    return rehearse(study.trials()[0], [*study.parts.values()], str(folder), study.metrics)


@pytest.mark.parametrize(
    ("lines", "place", "why"),
    [
        ("criterion: scores.py:fails\n", "scores.py:9: fails", "ZeroDivisionError"),
        ("criterion: scores.py:draws\n", "scores.py:12: draws", "two runs with one seed differ"),
        ("criterion: scores.py:short\n", "scores.py:16: short", "expected (16, 1, 3, 3)"),
        ("criterion: snip\nmetrics: [scores.py:count]\n", "scores.py:20: count", "KeyError: 'no such class'"),
    ],
)
def test_what_fails_is_one_line(tmp_path, lines, place, why):
    line = said(tmp_path, lines)
    assert place in line and why in line and "\n" not in line


def test_what_works_says_nothing(tmp_path):
    assert said(tmp_path, "criterion: scores.py:right\nprune_epoch: 0.5\n") == ""


RULE = """\
@rule()
def mine(run):
    for epoch in (1, 2, 3):
        run.dense(run.steps_of(epoch))
    run.prune(next(pruners.trajectory("magnitude", run.model, sparsity=run.config.sparsity)))
    run.train("retrain", run.end)
"""


@pytest.mark.parametrize(
    ("length", "fits"),
    [("epochs: 3", True), ("epochs: 90", True), ("epochs: 2", False), ("steps: 500", True)],
)
def test_a_rule_may_count_in_epochs_of_its_trial(tmp_path, length, fits):
    (tmp_path / "rules.py").write_text(f"import pruners\nfrom sweep.parts import rule\n\n\n{RULE}")
    (tmp_path / "study.yaml").write_text(
        f"dataset: digits\nmodel: conv-5\n{length}\nsparsity: 0.9\ncriterion: rules.py:mine\n"
    )
    study = load(tmp_path / "study.yaml")
    fault = rehearse(study.trials()[0], [*study.parts.values()], "data")
    assert fault == "" if fits else "mine: trains to step 6" in fault


@pytest.mark.slow
def test_a_data_set_that_is_not_here_is_stood_in_for_by_random_images(tmp_path):
    """On the head of a cluster, whose nodes have it."""
    assert said(tmp_path, "criterion: scores.py:right\n", "cifar10") == ""
