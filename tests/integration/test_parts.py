"""Studies of one's own parts as people run them: which code ran, and what is said when a part changes."""

import time
from contextlib import ExitStack

import pytest

import analysis
from analysis.__main__ import main as ask
from sweep.launch import main
from sweep.study import load
from sweep.trial import run
from tests import commands
from tests.integration import warm
from tests.integration.launching import launch

SCORES = """\
import helpers


def mine(probe, *, power: float = 1.0):
    return {name: helpers.size(weight, power) for name, weight in probe.weights.items()}
"""
LARGEST = "def size(weight, power):\n    return weight.abs() ** power\n"
SMALLEST = "def size(weight, power):\n    return -(weight.abs() ** power)\n"
STUDY = """\
name: {name}
dataset: digits
model: conv-5
epochs: 1
sparsity: [0.8, 0.9]
criterion: [scores.py:mine]
seed: [0, 1, 2]
"""
SEEN = "trial_id, test_accuracy, pre_test_loss"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scores.py").write_text(SCORES)
    (tmp_path / "helpers.py").write_text(LARGEST)
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(STUDY.format(name=name))
    return tmp_path


def expected(study):
    return sorted(
        tuple(row[column] for column in SEEN.split(", "))
        for row in (run(trial).trial for trial in load(study).trials())
    )


def rows(results, study):
    return sorted(analysis.open(results, study=study).execute(f"SELECT {SEEN} FROM trials").fetchall())


@pytest.mark.long
@pytest.mark.slow
def test_two_launches_with_two_versions_of_a_file_do_not_mix_on_a_cluster(folder):
    """Each of two nodes has one core, so that each launch has a worker on either or both."""
    results = folder / "results"
    one = expected(folder / "one.yaml")
    launches = []
    with ExitStack() as stack:
        cluster = stack.enter_context(warm.cluster(1))
        with warm.starting():
            cluster.add_node(num_cpus=1)
        for name in ("one", "two"):
            words = ("--results", results, "--address", cluster.address, "--workers", 1)
            launches.append(launch(folder / f"{name}.yaml", *words))
            stack.callback(launches[-1].kill)
            while not (results / name / "study.json").exists():  # from then on it has read its parts
                assert launches[-1].poll() is None, launches[-1].communicate()
                time.sleep(0.05)
            (folder / "helpers.py").write_text(SMALLEST)
        said = [each.communicate(timeout=300) for each in launches]
        assert [each.returncode for each in launches] == [0, 0], said
    two = expected(folder / "two.yaml")
    assert {row[0] for row in one}.isdisjoint({row[0] for row in two})
    assert (rows(results, "one"), rows(results, "two")) == (one, two)
    # Two versions are never averaged: each is an arm of its own, and says its code.
    connection = analysis.open(results)
    [(arms, codes)] = connection.execute(
        "SELECT count(DISTINCT arm), count(DISTINCT split_part(code, ' ', 2)) FROM trials"
    ).fetchall()
    assert (arms, codes) == (2, 2)
    answer = commands.run(ask, "accuracy", "--results", results)
    assert answer.stdout.count("scores.py:mine@") == 4  # two sparsities of each


@pytest.mark.long
@pytest.mark.slow
def test_a_changed_part_makes_new_trials_and_a_lost_one_loses_no_answer(folder, on_cluster):
    words = (folder / "one.yaml", "--results", folder / "results", "--workers", 1)
    assert commands.run(main, *words).returncode == 0
    (folder / "helpers.py").write_text("# a comment\n" + LARGEST)
    assert "6 with a result, 0 to run" in commands.run(main, *words, "--dry-run").stdout
    (folder / "helpers.py").write_text(SMALLEST)
    said = commands.run(main, *words, "--dry-run").stdout
    assert "0 with a result, 6 to run" in said
    assert "scores.py:mine has changed: 6 results are of other code" in said
    (folder / "scores.py").unlink()
    assert "6 with a result, 0 to run" in commands.run(main, *words, "--dry-run").stdout
    assert commands.run(main, *words).stderr.count("there is no file") == 1
    for question in ("accuracy", "report"):
        assert commands.run(ask, question, "--results", folder / "results").returncode == 0
