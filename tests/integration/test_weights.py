"""Studies whose trials start from trained weights, as people run them."""

import pytest
from safetensors.torch import save_file

import analysis
from sweep import models
from sweep.launch import main
from sweep.study import load
from sweep.trial import run
from sweep.trial.prefixes import Shared
from sweep.trial.starts import Starts
from tests import commands

pytestmark = pytest.mark.slow
FIRST = "name: first\ndataset: digits\nmodel: lenet-300-100\nepochs: 1\nsparsity: 0.5\ncriterion: snip\n"
SECOND = """\
name: second
dataset: digits
model: lenet-300-100
epochs: 2
prune_epoch: 1
sparsity: 0.9
criterion: [snip, magnitude]
seed: [0, 1]
weights: [nets/net.safetensors, {earlier}]
"""
SEEN = "trial_id, test_accuracy, pre_test_loss"


def rows(results, study):
    return sorted(analysis.open(results, study=study).execute(f"SELECT {SEEN} FROM trials").fetchall())


def test_two_workers_start_from_a_file_and_from_an_earlier_trial(tmp_path, on_cluster):
    results = tmp_path / "results"
    (tmp_path / "nets").mkdir()
    net = models.build("lenet-300-100", (1, 8, 8), 10, 3)
    save_file(
        {name: each.contiguous() for name, each in net.state_dict().items()},
        tmp_path / "nets" / "net.safetensors",
    )
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(FIRST)
    [earlier] = load(first).trials()
    second.write_text(SECOND.format(earlier=f"run:{earlier.id}"))
    missing = commands.run(main, second, "--results", results, "--dry-run")
    assert missing.returncode == 2 and f"run:{earlier.id}: no trial of this id" in missing.stderr
    assert missing.stderr.count("\n") == 1
    for study in (first, second):
        answer = commands.run(main, study, "--results", results, "--workers", 2)
        assert answer.returncode == 0, answer.stderr
    study = load(second)
    [name] = study.weights
    starting = Starts(results / ".weights", earlier={earlier.id: earlier.canonical})
    alone = [run(trial, shared=Shared(weights=starting)).trial for trial in study.trials()]
    assert rows(results, "second") == sorted(
        tuple(row[column] for column in SEEN.split(", ")) for row in alone
    )
    sent = sorted(each.name for each in (results / ".weights").iterdir())
    assert sent == sorted([f"{name.rpartition('@')[2]}.safetensors", f"run-{earlier.id}-cpu.pt"])
    # Results outlast the file: analyses need none of it, and a launch says what is missing.
    (tmp_path / "nets" / "net.safetensors").unlink()
    assert len(rows(results, "second")) == 8
    answer = commands.run(main, second, "--results", results, "--dry-run")
    assert (
        answer.returncode == 2
        and "second.yaml:9: weights nets/net.safetensors: there is no file" in answer.stderr
    )
