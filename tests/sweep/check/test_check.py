"""The command: its exit codes, its options, and the comparison with another process."""

import json

import pytest

from sweep.check.__main__ import main
from tests import commands

PARTS = """
import numpy as np
from torch import nn

def sound(probe, *, power: float = 1.0):
    return {name: weight.abs() ** power for name, weight in probe.weights.items()}

def by_hash(probe):
    factor = 1 + abs(hash("a word")) % 1000
    return {name: weight.abs() * factor for name, weight in probe.weights.items()}

def wrong(probe):
    return {name: weight[:1] for name, weight in probe.weights.items()}

def mixer(shape, classes, *, bias: bool = True):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], classes, bias=bias))

def tables(*, rows: int = 20):
    inputs = np.random.default_rng(0).normal(size=(rows, 3))
    return (inputs[5:], inputs[5:, 0]), (inputs[:5], inputs[:5, 0])
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    (tmp_path / "parts_to_check.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return "parts_to_check.py"


@pytest.mark.slow
def test_a_sound_criterion_is_code_0_in_another_process_too(parts):
    done = commands.run(main, f"{parts}:sound", "--set", "power=2", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert "parts_to_check.py:5 sound" in done.stderr
    assert "the same in another process" in done.stderr and "NO" not in done.stderr
    told = json.loads(done.stdout)
    assert told["holds"] and told["findings"][-1]["name"] == "the same in another process"


@pytest.mark.slow
def test_scores_that_depend_on_the_process_are_found_out(parts):
    done = commands.run(main, f"{parts}:by_hash")
    assert done.returncode == 1
    assert "expected equal bits" in done.stdout


def test_a_check_that_fails_is_code_1_and_no_traceback(parts):
    done = commands.run(main, f"{parts}:wrong")
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    assert (
        "parts_to_check.py:12 wrong: scores of 1.weight have shape (1, 64), expected (300, 64)" in done.stdout
    )


@pytest.mark.slow
def test_a_model_takes_a_shape_and_classes(parts):
    done = commands.run(main, f"{parts}:mixer", "--shape", "7", "--classes", "4", "--set", "bias=false")
    assert done.returncode == 0, done.stdout
    assert "28 parameters, 28 prunable weights, output 4" in done.stdout


@pytest.mark.slow
def test_a_data_set_takes_parameters_and_a_task(parts):
    done = commands.run(main, f"{parts}:tables", "--set", "rows=30", "--task", "regression")
    assert done.returncode == 0, done.stdout
    assert "25 inputs" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.py:sound"], "none.py: there is no such file"),
        (["{parts}:sound", "--set", "powr=2"], "no parameter powr; did you mean power?"),
        (["{parts}:sound", "--set", "power"], "--set power: write NAME=VALUE"),
        (["{parts}:sound", "--kind", "rule"], "--kind rule: criterion, model, dataset"),
        (["{parts}:mixer", "--shape", "3,x"], "--shape 3,x: whole numbers from 1"),
        (["{parts}:mixer", "--shape", "0"], "--shape 0: whole numbers from 1"),
        (["{parts}:sound", "--no-such"], "No such option: --no-such"),
    ],
)
def test_bad_input_is_code_2_and_one_line(words, message, parts):
    done = commands.run(main, *(word.format(parts=parts) for word in words))
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1 and not done.stdout
