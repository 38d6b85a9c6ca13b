"""`check_criterion` tells a sound criterion from one that draws freely, changes settings, ties or breaks."""

import random

import numpy as np
import pytest
import torch

import pruners
from sweep.check.criterion import check_criterion, criterion_digest
from sweep.errors import BadInput


def half_gradient(probe, *, power: float = 0.5):
    gradient = probe.gradient()
    return {name: weight.abs() * gradient[name].abs() ** power for name, weight in probe.weights.items()}


def plain_size(model):
    return {name: weight.detach().abs() for name, weight in pruners.prunable(model).items()}


def failed(report):
    return {finding.name.partition(": ")[2]: finding.text for finding in report.failed}


def column(report, number=1):
    [grid] = report.grids
    return {row[0]: float(row[number]) for row in grid.rows}


@pytest.fixture
def few(monkeypatch):
    """Correlations with few built-in criteria, for what has nothing to do with the others."""
    monkeypatch.setattr(pruners, "names", lambda: ["magnitude", "snip"])


@pytest.fixture(scope="module")
def sound():
    return check_criterion(half_gradient, parameters={"power": 1.0})


@pytest.mark.slow
def test_all_holds_for_a_sound_criterion(sound):
    assert sound.holds and not sound.failed
    assert "test_criterion.py:14 half_gradient" in sound.title
    told = [finding.name for finding in sound.findings]
    for network in ("conv-5", "lenet-300-100"):
        assert [name for name in told if name.startswith(network)] == [
            f"{network}: {what}"
            for what in (
                "runs",
                "equal scores for equal seeds",
                "leaves all as it was",
                "exact counts under each scope",
                "prunes in 3 iterations",
                "equal scores",
                "time",
            )
        ]


@pytest.mark.slow
def test_the_most_similar_criterion_comes_first_with_every_built_in_one_below(sound):
    names = list(column(sound))
    assert set(names) == set(pruners.names())
    assert set(names[:3]) == {"snip", "iter-snip", "force"}
    assert all(column(sound, number)["snip"] == 1 for number in (1, 2))
    assert abs(column(sound)["random"]) < 0.05


@pytest.mark.slow
def test_the_plain_form_is_checked_too(few):
    report = check_criterion(plain_size)
    assert report.holds
    assert column(report)["magnitude"] == 1


@pytest.mark.slow
def test_scores_from_numpys_and_pythons_random_numbers_are_found_out(few):
    def drawn(probe):
        return {
            name: weight.abs() * float(np.random.rand()) * random.random()
            for name, weight in probe.weights.items()
        }

    report = check_criterion(drawn)
    assert "expected equal bits" in failed(report)["equal scores for equal seeds"]
    assert failed(report)["leaves all as it was"] == ("changed: NumPy's random state, Python's random state")


@pytest.mark.slow
def test_a_changed_setting_of_torch_is_found_out(few):
    def careless(probe):
        torch.set_num_threads(torch.get_num_threads() % 2 + 1)
        return {name: weight.abs() for name, weight in probe.weights.items()}

    before = torch.get_num_threads()
    assert failed(check_criterion(careless))["leaves all as it was"] == "changed: torch's settings"
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_scores_that_are_all_equal_are_found_out_and_have_no_correlation(few):
    report = check_criterion(lambda probe: {name: torch.ones_like(w) for name, w in probe.weights.items()})
    assert "the order of the weights alone decides" in failed(report)["equal scores"]
    assert np.isnan(column(report)["snip"])


def test_an_error_in_the_part_is_one_line_with_its_file_and_line():
    def broken(probe):
        return {name: weight.no_such_method() for name, weight in probe.weights.items()}

    text = failed(check_criterion(broken))["runs"]
    assert "test_criterion.py:" in text and ": AttributeError: " in text and "\n" not in text


def test_wrong_scores_are_one_line_that_says_what_is_expected():
    report = check_criterion(lambda probe: {name: w[:1] for name, w in probe.weights.items()})
    assert failed(report)["runs"].endswith(
        "<lambda>: scores of 1.weight have shape (1, 64), expected (300, 64)"
    )
    assert not report.grids


def test_what_fails_only_at_masks_is_told_apart():
    def dense_only(probe):
        if probe.weights is not probe.dense:
            raise ValueError("no masks")
        return {name: weight.abs() for name, weight in probe.weights.items()}

    assert set(failed(check_criterion(dense_only))) == {"runs again, and at masks"}


@pytest.mark.parametrize(
    ("function", "parameters", "message"),
    [
        (half_gradient, {"powr": 1}, "no parameter powr; did you mean power"),
        (lambda probe, *, power: {}, {}, "parameter power has no default: give --set power=VALUE"),
        (lambda a, b: {}, {}, r"takes \(a, b\), expected"),
    ],
)
def test_a_wrong_form_or_parameter_is_bad_input(function, parameters, message):
    with pytest.raises(BadInput, match=message):
        check_criterion(function, parameters=parameters)


def test_the_digest_depends_on_the_scores_alone():
    one = criterion_digest(half_gradient, parameters={"power": 1.0})
    torch.rand(3)
    assert one == criterion_digest(lambda probe: half_gradient(probe, power=1.0))
    assert one != criterion_digest(half_gradient)
