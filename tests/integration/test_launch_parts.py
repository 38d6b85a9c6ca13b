"""Parts of a launch in one folder: each trial once, whatever dies, and what is left is that of a plain launch."""

import json
import re
import signal
from contextlib import ExitStack

import pytest

import analysis
import sweep
from analysis.warehouse import unfinished
from sweep.launch import main
from sweep.plan.division import divide
from sweep.store import results as stored
from sweep.store.results import finished
from sweep.study import load
from tests import commands
from tests.integration.forked import Forked
from tests.integration.launching import DATA, end, rows, running, undisturbed

pytestmark = pytest.mark.slow

# Trials that share training, in two groups for four parts.
STUDY = """\
name: shared
dataset: digits
model: lenet-300-100
epochs: 1
prune_epoch: 0.5
criterion: [random, magnitude]
sparsity: [0.5, 0.9, 0.99]
seed: [0, 1]
"""
TRIALS = 12


def part(*words):
    """A part in a process of its own, without Ray (`tests.integration.part`)."""
    return running(*words, start=lambda *words: Forked("tests.integration.part", *words))


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
        parts = [
            started.enter_context(part(path, results, f"{number}/4", *([2] if number == 2 else [])))
            for number in range(1, 5)
        ]
        assert [end(each)[0] for each in parts] == [0, -signal.SIGKILL, 0, 0]
    left = second - {*finished(folder)}
    assert len(left) == len(second) - 2 > 0
    assert unfinished(analysis.open(results)) == {"shared": (TRIALS - len(left), TRIALS)}
    with part(path, results, "2/4") as again:
        code, out, _ = end(again)
    assert code == 0 and f"part 2/4: {len(second)} of the {TRIALS} trials of shared" in out
    assert f"{len(second)} trials, 2 with a result, {len(left)} to run" in out
    is_as_after_a_plain_launch(path, results)
    entries = json.loads((folder / "study.json").read_text())["launches"]
    assert sorted(entry["part"] for entry in entries) == ["1/4", "2/4", "2/4", "3/4", "4/4"]
    ended = commands.run(main, path, "--results", results)
    assert (ended.returncode, f"{TRIALS} with a result, 0 to run" in ended.stdout) == (0, True)


def test_parts_of_a_changed_study_and_of_another_number_do_only_what_has_no_result(study_file, tmp_path):
    path, results = study_file(STUDY, "shared.yaml"), tmp_path / "results"
    folder = results / "shared"

    def run(which):
        sweep.run(path, ray=False, results=results, data_root=DATA, part=which, quiet=True)

    run((1, 2))
    path.write_text(STUDY.replace("seed: [0, 1]", "seed: [0, 1, 2]"))
    for number in (1, 2, 3):
        run((number, 3))
    assert len(written(folder)) == len({*written(folder)}) == 18
    is_as_after_a_plain_launch(path, results)


def test_what_each_part_would_do_is_said_and_nothing_is_written(study_file, tmp_path):
    path = study_file(STUDY, "shared.yaml")
    words = ("--dry-run", "--results", tmp_path / "r", "--data-root", DATA)
    ended = commands.run(main, path, *words, "--part", "2/4")
    first, second, *_ = ended.stdout.splitlines()
    assert re.fullmatch(
        r"part 2/4: 3 of the 12 trials of shared, 2\d% of the work \(each part has .*\)", first
    )
    assert second == "shared: 3 trials, 0 with a result, 3 to run" and not (tmp_path / "r").exists()
    for wrong in ("0/4", "5/4", "/4", "4", "1/0", "9" * 5000 + "/1"):
        ended = commands.run(main, path, *words, f"--part={wrong}")
        assert (ended.returncode, ended.stderr.count("\n")) == (
            2,
            1,
        ) and "is no part: the first is" in ended.stderr
