"""Questions as people ask them: a process of its own, real training, real Ray, real Parquet."""

import json
import signal

import pytest
from safetensors.torch import save_file

import analysis
import sweep
from analysis.__main__ import main as ask
from sweep import models
from sweep.study import load
from tests import commands
from tests.integration.launching import end, here, launch, running, wait_for

pytestmark = pytest.mark.slow
# A few steps of a small network: its accuracies differ by seed, and the answer does not matter here.
STUDY = """\
name: ask
dataset: digits
model: lenet-300-100
steps: 4
seed: 5
question:
  crossover: {first: snip, second: random:erk, within: 0.1, between: [0.5, 0.95], seeds: 8}
  trials: 14
"""
NUMBERS = "trial_id, status, val_accuracy, test_accuracy"


def trials(folder):
    return sorted(analysis.open(folder).execute(f"SELECT {NUMBERS} FROM trials").fetchall())


@pytest.mark.usefixtures("on_cluster")
def test_a_killed_question_goes_on_with_the_same_trials_with_ray_and_without(study_file, tmp_path):
    path, folder = study_file(STUDY, "ask.yaml"), tmp_path / "results" / "ask"
    words = (path, "--results", tmp_path / "results", "--workers", 1)
    with running(*words) as process:
        wait_for(folder, 4, process)
        process.send_signal(signal.SIGKILL)
    kept = trials(folder)
    code, out, err = end(launch(*words, "--format", "json"))
    facts = json.loads(out)
    assert (code, facts["trials"], facts["ran"], facts["failed"]) == (0, 14, 14, 0), err
    assert f"{len(kept)} trials with a result; 14 to run at most" in err
    assert facts["question"]["status"] in ("spent", "answered", "none") and facts["question"]["answer"] in err
    assert set(kept) <= set(trials(folder)) and "by test data of the same trials" in err
    parts = f"SELECT count(*) FROM read_parquet('{folder}/trials/part-*.parquet')"
    assert analysis.open(folder).execute(parts).fetchone() == (14,), "no trial ran twice"

    sweep.run(path, ray=False, results=tmp_path / "alone", quiet=True)
    assert trials(tmp_path / "alone" / "ask") == trials(folder)

    again = json.loads(commands.run(ask, "asked", "--results", folder, "--format", "json").stdout)
    assert [row["data"] for row in again] == ["validation", "test"]
    assert again[0]["answer"] == facts["question"]["answer"] and again[0]["trials"] == 14
    answered = commands.run(ask, "accuracy", "--results", folder)
    assert "ask chose its trials by their results" in answered.stderr
    assert commands.run(ask, "report", "--results", tmp_path / "results").returncode == 0
    assert "What did a study&#x27;s question find?" in (tmp_path / "results" / "report.html").read_text()


def test_a_question_takes_over_what_a_grid_has_measured_and_says_what_it_expects(study_file, tmp_path):
    results, library, path = tmp_path / "results", tmp_path / "library", study_file(STUDY, "ask.yaml")
    head = STUDY.partition("question:")[0].replace("name: ask", "name: grid").replace("seed: 5", "seed: 5..8")
    grid = head + "sparsity: [0.5, 0.95]\nblocks:\n  - criterion: snip\n  - {criterion: random, scope: erk}\n"
    sweep.run(load(study_file(grid, "grid.yaml")), ray=False, results=library, quiet=True)
    code, out, _ = here(path, "--dry-run", "--results", results, "--known", library, "--workers", 2)
    assert code == 0 and f"16 taken over from {library / 'grid'}" in out
    assert "more trials" in out and "with 2 workers" in out and not (results / "ask").exists()

    sweep.run(path, ray=False, results=results, known=str(library), max_trials=2, quiet=True)
    assert len(trials(results / "ask")) == 18
    sources = (
        analysis.open(results / "ask").execute("SELECT count(*), source FROM trials GROUP BY 2").fetchall()
    )
    assert sorted(sources, key=str) == [(16, str(library / "grid")), (2, None)]


def test_a_bad_question_is_one_line_and_leaves_nothing(study_file, tmp_path):
    path = study_file(STUDY.replace("random:erk", "randm"), "ask.yaml")
    code, out, err = here(path, "--results", tmp_path / "r")
    assert (code, out) == (2, "") and err.startswith(f"{path}:7: criterion randm: ") and err.count("\n") == 1
    assert not (tmp_path / "r").exists()


OWN = """\
def {name}(probe):
    return {{name: weight.abs() for name, weight in probe.weights.items()}}
"""
DIFFERENCE = """\
name: own
dataset: digits
model: lenet-300-100
steps: 4
weights: net.safetensors
question:
  difference: {first: mine.py:mine, second: random:erk, at: 0.9}
  trials: 8
"""


@pytest.fixture
def own(study_file, tmp_path):
    """A question whose first arm is a criterion of one's own, over networks that start from a file."""
    (tmp_path / "mine.py").write_text(OWN.format(name="mine"))
    net = models.build("lenet-300-100", (1, 8, 8), 10, 3)
    save_file(
        {name: each.contiguous() for name, each in net.state_dict().items()}, tmp_path / "net.safetensors"
    )
    return study_file(DIFFERENCE, "own.yaml")


def arms(folder):
    """How many trials an arm has, by its criterion, and whether they all start from the file."""
    shown = "split_part(criterion, '@', 1), count(*), bool_and(config->>'weights' LIKE 'net.safetensors@%')"
    return sorted(analysis.open(folder).execute(f"SELECT {shown} FROM trials GROUP BY 1").fetchall())


def test_arms_are_parts_of_ones_own_and_start_from_trained_weights(own, tmp_path):
    sweep.run(own, ray=False, results=tmp_path / "r", quiet=True)
    assert arms(tmp_path / "r" / "own") == [("mine.py:mine", 4, True), ("random", 4, True)]
    [of_validation, _] = json.loads(
        commands.run(ask, "asked", "--results", tmp_path / "r" / "own", "--format", "json").stdout
    )
    assert of_validation["trials"] == 8 and "mine.py:mine" in of_validation["answer"]
    # Another version of the part is another arm: its trials run, and those of the other arm are there.
    (tmp_path / "mine.py").write_text(OWN.format(name="mine").replace("weight.abs()", "weight.square()"))
    sweep.run(own, ray=False, results=tmp_path / "r", quiet=True, max_trials=1)
    assert len(trials(tmp_path / "r" / "own")) == 9


def test_trials_run_again_where_they_are_asked_to(study_file, tmp_path):
    path, folder = study_file(STUDY, "ask.yaml"), tmp_path / "r" / "ask"
    sweep.run(path, ray=False, results=tmp_path / "r", quiet=True, max_trials=3)
    before = trials(folder)
    sweep.run(path, ray=False, results=tmp_path / "r", quiet=True, max_trials=2, rerun="criterion = 'snip'")
    ran = analysis.open(folder).execute("SELECT criterion, count(*) FROM all_trials GROUP BY 1").fetchall()
    assert trials(folder) == before and dict(ran) == {"snip": 4, "random": 1}


def test_a_question_is_not_divided_into_parts(study_file, tmp_path):
    code, _, err = here(study_file(STUDY, "ask.yaml"), "--results", tmp_path / "r", "--part", "1/2")
    assert code == 2 and err.count("\n") == 1 and "launch without --part" in err
    assert not (tmp_path / "r").exists()
