"""`check_model` describes a network, and tells where it is random, unused, or mixes the samples of a batch."""

import math

import pytest
import torch
from torch import nn

import pruners
from sweep.check.model import check_model, model_digest
from sweep.errors import BadInput


def mixer(shape, classes, *, width: int = 16):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), width), nn.ReLU(), nn.Linear(width, classes)
    )


def told(report):
    return {finding.name: finding for finding in report.findings}


def failed(report):
    return {finding.name: finding.text for finding in report.failed}


def linear(change):
    """A builder of a linear network, changed after it is built."""

    def build(shape, classes):
        model = mixer(shape, classes)
        change(model)
        return model

    return build


class Wrapped(nn.Module):
    """A linear network whose outputs are changed."""

    def __init__(self, shape, classes, change):
        super().__init__()
        self.inner, self.change = mixer(shape, classes), change

    def forward(self, inputs):
        return self.change(self.inner(inputs))


def test_a_sound_network_is_described_for_usual_shapes():
    report = check_model(mixer, parameters={"width": 8})
    assert report.holds and not report.grids
    assert told(report)["inputs of 3×32×32"].text == (
        "24,674 parameters, 24,656 prunable weights, output 10, 24,656 multiply-adds"
    )
    assert told(report)["structures"].text == (
        "weight, filter, channel, width, neuron, head+neuron; not head: Sequential has no heads of attention; "
        "not block: Sequential has no residual blocks with an identity shortcut; not depth: Sequential has no "
        "residual blocks that add to their own inputs"
    )
    assert told(report)["effective masks"].text == "yes"
    every = len(pruners.names())
    assert told(report)["criteria that score it"].text.startswith(f"{every} of {every}")


def test_one_shape_and_number_of_classes_can_be_given():
    report = check_model(mixer, shape=(7,), classes=3)
    assert [name for name in told(report) if name.startswith("inputs")] == ["inputs of 7"]
    assert "output 3," in told(report)["inputs of 7"].text and report.holds


def test_a_shape_that_does_not_fit_is_a_fact_among_usual_ones_and_an_error_if_it_was_given():
    def grey(shape, classes):
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))

    report = check_model(grey)
    assert report.holds and told(report)["inputs of 3×32×32"].holds is None
    assert "RuntimeError" in failed(check_model(grey, shape=(3, 32, 32)))["inputs of 3×32×32"]
    never = check_model(lambda shape, classes: 1 / 0)
    assert "--shape 3,32,32" in failed(never)["takes one of these inputs"]
    assert "test_model.py:" in never.findings[0].text and "ZeroDivisionError" in never.findings[0].text


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda shape, classes: None, "gives NoneType, expected a torch.nn.Module"),
        (
            lambda shape, classes: mixer(shape, 7),
            r"has shape (2, 7), expected (2, 3): one row for each input",
        ),
        (lambda s, c: Wrapped(s, c, lambda out: {"logits": out}), "its output is dict, expected one tensor"),
        (lambda s, c: Wrapped(s, c, lambda out: out / 0), "NaN or infinite, expected finite numbers"),
        (
            lambda shape, classes: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)),
            "1.weight has no shape before",
        ),
        (lambda shape, classes: nn.RNN(3, 3), ""),
    ],
)
def test_a_broken_network_is_one_line(build, message):
    text = failed(check_model(build, shape=(5,), classes=3))["inputs of 5"]
    assert message in text and "test_model.py:" in text and "\n" not in text


def test_a_network_with_random_numbers_of_its_own_is_found_out():
    import numpy as np

    def free(model):
        model[1].weight.data.mul_(float(np.random.rand()))

    assert "equal weights for equal seeds" in failed(check_model(linear(free), shape=(5,)))


def test_unused_and_dead_weights_are_named():
    def unused(model):
        model.spare = nn.Parameter(torch.ones(2))
        model.forward = lambda inputs: model[3](model[2](model[1](model[0](inputs))))

    def dead(model):
        nn.init.zeros_(model[3].weight)

    assert (
        "not used: spare"
        in failed(check_model(linear(unused), shape=(5,)))["a gradient reaches every weight"]
    )
    report = check_model(linear(dead), shape=(5,))
    assert report.holds
    assert told(report)["weights whose gradient is 0"].text == "dead at the start: 1.weight, 1.bias"


def test_a_network_that_mixes_the_samples_of_a_batch_is_found_out():
    report = check_model(lambda s, c: Wrapped(s, c, lambda out: out - out.mean(0)), shape=(5,))
    assert "differ by up to" in failed(report)["samples do not depend on their batch in eval mode"]


def test_criteria_structures_and_masks_that_do_not_work_are_said_with_the_reason():
    class Reader(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.cell, self.head = nn.GRU(4, 6, batch_first=True), nn.Linear(6, classes)

        def forward(self, inputs):
            return torch.erfinv(torch.tanh(self.head(self.cell(inputs)[0][:, -1])) * 0.9)

    report = check_model(lambda shape, classes: Reader(classes), shape=(5, 4), classes=3)
    assert report.holds
    assert told(report)["structures"].text.startswith("weight; not filter: cell.weight_ih_l0 of GRU")
    assert "erfinv" in told(report)["effective masks"].text


def test_a_wrong_parameter_is_bad_input():
    with pytest.raises(BadInput, match=r"no parameter widht; did you mean width\?"):
        check_model(mixer, parameters={"widht": 3})


def test_the_digest_is_of_the_weights():
    assert model_digest(mixer, seed=1) == model_digest(mixer, seed=1) != model_digest(mixer, seed=2)
    assert model_digest(lambda shape, classes: 1 / 0) == ""
