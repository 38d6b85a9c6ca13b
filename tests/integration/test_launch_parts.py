"""Parts of a launch in one folder: each trial once, whatever dies, and what is left is that of a plain launch."""

import json
import re
import time
from contextlib import ExitStack

import pytest

import analysis
from analysis.warehouse import unfinished
from sweep.launch import main
from sweep.plan.division import divide
from sweep.store import results as stored
from sweep.store.results import finished
from sweep.study import load
from tests import commands
from tests.integration.forked import Forked
from tests.integration.launching import DATA, end, launch, rows, running, undisturbed

pytestmark = pytest.mark.slow

# Trials that share training, in two groups for four parts.
STUDY = """\
name: shared
dataset: digits
model: conv-5
epochs: 1
prune_epoch: 0.5
criterion: [random, magnitude]
sparsity: [0.5, 0.8, 0.9, 0.99]
seed: [0, 1]
"""
TRIALS = 16


def part(path, results, which):
    """A part in a process of its own, without Ray."""
    return running(path, results, which, start=lambda *words: Forked("tests.integration.part", *words))


def written(folder):
    """The ids in all rows of trials."""
    return stored.read_table(folder, "trials", ["trial_id"])["trial_id"].to_pylist()


def is_as_after_a_plain_launch(path, results):
    """Each trial ran once and is as on its own, and nothing is left but results."""
    folder = results / load(path).name
    assert len(written(folder)) == len(load(path)) and rows(results) == undisturbed(path)
    names = {each.relative_to(results).as_posix() for each in results.rglob("*")}
    files = {name for name in names if not re.search(r"/part-[^/]*\.parquet$", name)}
    own = f"{folder.name}/"
    assert files == {
        folder.name,
        *(own + name for name in (".lock", "study.json", "trials", "curves", "layers")),
    }
    assert unfinished(analysis.open(results)) == {}


def test_parts_at_once_of_which_one_is_killed_and_run_again_do_each_trial_once(study_file, tmp_path):
    path, results = study_file(STUDY, "shared.yaml"), tmp_path / "results"
    folder = results / "shared"
    second = {trial.id for trial in divide(load(path).trials(), 4, DATA).trials[1]}
    with ExitStack() as started:
        parts = [started.enter_context(part(path, results, f"{number}/4")) for number in range(1, 5)]
        deadline = time.monotonic() + 300
        while not second & {*finished(folder)}:
            assert parts[1].poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        parts[1].kill()
        code, _, said = end(launch(path, "--results", results))
        assert code == 2 or all(each.poll() is not None for each in parts)
        assert code == 0 or re.search(r"is being written by part [134]/4 of a launch, process \d+ on", said)
        assert [end(each)[0] for each in (parts[0], *parts[2:])] == [0, 0, 0]
    left = second - {*finished(folder)}
    assert left, "it was killed in the middle"
    assert unfinished(analysis.open(results)) == {"shared": (TRIALS - len(left), TRIALS)}
    with part(path, results, "2/4") as again:
        code, out, _ = end(again)
    assert code == 0 and f"part 2/4: {len(second)} of the {TRIALS} trials of shared" in out
    assert f"{len(second)} trials, {len(second) - len(left)} with a result, {len(left)} to run" in out
    is_as_after_a_plain_launch(path, results)
    entries = json.loads((folder / "study.json").read_text())["launches"]
    assert sorted(entry["part"] for entry in entries) == ["1/4", "2/4", "2/4", "3/4", "4/4"]
    ended = commands.run(main, path, "--results", results)
    assert (ended.returncode, f"{TRIALS} with a result, 0 to run" in ended.stdout) == (0, True)
