"""The launch as people run it: a process of its own, real Ray, real Parquet."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime

import pytest
import torch
from PIL import Image

import analysis
from analysis import marking
from analysis.warehouse import unfinished
from sweep.store.results import finished
from tests.conftest import STUDY
from tests.integration.launching import (
    LONGER,
    end,
    here,
    launch,
    launch_anew,
    processes,
    rows,
    running,
    undisturbed,
    wait_for,
)

pytestmark = pytest.mark.slow


def test_a_study_runs_to_the_end_and_then_has_nothing_left_to_do(study_file, tmp_path):
    path, results = study_file(), tmp_path / "results"
    code, out, err = end(launch(path, "--results", results))
    assert (code, err) == (0, "")
    assert "20 trials, 0 with a result, 20 to run" in out and "small: 20 of 20 trials" in out
    assert rows(results) == undisturbed(path)
    connection = analysis.open(results)
    assert connection.execute("SELECT count(*), sum(epoch) FROM curves").fetchone() == (40, 60)
    assert connection.execute("SELECT count(*) FROM layers").fetchone() == (120,)
    noted = json.loads((results / "small" / "study.json").read_text())
    assert noted["spec"] == path.read_text() and noted["launches"][0]["versions"]["ray"]

    code, out, err = here(path, "--results", results)
    assert (code, err) == (0, "") and "20 with a result, 0 to run" in out


def test_an_address_without_a_cluster_is_one_line(study_file, tmp_path):
    code, _, err = end(launch(study_file(), "--results", tmp_path, "--address", "127.0.0.1:1"), timeout=30)
    assert code == 2 and err.count("\n") == 1
    assert "--address 127.0.0.1:1: no Ray cluster there" in err and "--address local runs here" in err


def test_a_profile_that_names_a_cluster_which_is_gone_is_one_line(study_file, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, _, err = end(launch(study_file(), "--results", tmp_path), timeout=60)
    assert code == 2 and err.count("\n") == 1
    assert "RAY_ADDRESS 127.0.0.1:1: no Ray cluster there" in err and "--address local runs here" in err


def test_a_folder_too_long_for_the_sockets_of_ray_is_one_line(study_file, tmp_path, monkeypatch):
    long = tmp_path / ("t" * 90)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    code, _, err = end(launch(study_file(), "--results", tmp_path / "results"), timeout=60)
    assert code == 2 and err.count("\n") == 1
    assert f"{long} is too long for the names of sockets: set RAY_TMPDIR to a folder of yours" in err


CANNOT = """
from functools import partial
from sweep import launch
from sweep.engine import session

class Elsewhere:
    \"\"\"What the launch has and no worker can load.\"\"\"

    def __call__(self, *_):
        raise AssertionError("no worker comes here")

    def __reduce__(self):
        return eval, ("__import__('ctypes').CDLL('libfoo.so')",)

session.Session = partial(session.Session, run=Elsewhere())
launch.main()
"""


@pytest.mark.usefixtures("on_cluster")
def test_workers_that_cannot_begin_end_a_launch_in_one_line(study_file, tmp_path):
    words = [sys.executable, "-c", CANNOT, study_file(), "--results", tmp_path / "results", "--workers", 1]
    found = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120)
    assert found.returncode == 2 and found.stderr.count("\n") == 1, found.stderr
    assert "no worker can begin a trial: OSError: libfoo.so" in found.stderr
    rows = analysis.open(tmp_path / "results").execute("SELECT status, error FROM trials").fetchall()
    assert len(rows) == 3 and all(status == "failed" and "libfoo.so" in error for status, error in rows)


@pytest.mark.long
@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_process_of_ray_that_dies_ends_a_launch_in_one_line(name, study_file, tmp_path):
    path, results = study_file(LONGER, "longer.yaml"), tmp_path / "results"
    with running(path, "--results", results, "--workers", 1) as process:
        wait_for(results / "longer", 2, process)
        [pid] = [pid for pid, called in processes({process.pid}).items() if called == name]
        os.kill(pid, signal.SIGKILL)
        code, _, err = end(process, timeout=30)
    # Ray may have said something of its own before.
    assert code == 2 and "Traceback" not in err
    assert err.splitlines()[-1] == f"Ray's {name} died: what is finished is kept, launch again to go on"
    assert len(finished(results / "longer")) >= 2


@pytest.fixture
def pets(tmp_path):
    """Two image folders; in the second, an image of the test set is none."""
    for name in ("pets", "broken"):
        for part, label in itertools.product(("train", "test"), ("a", "b")):
            folder = tmp_path / "data" / name / part / label
            folder.mkdir(parents=True)
            for i in range(8):
                Image.new("L", (8, 8), i * 20).save(folder / f"{i}.png")
    (tmp_path / "data" / "broken" / "test" / "b" / "7.png").write_text("not an image")
    return tmp_path / "data"


PETS = """\
dataset: [image-folder:pets, image-folder:broken]
model: conv-5
epochs: 1
batch_size: 4
criterion: magnitude
sparsity: 0.5
"""


@pytest.mark.usefixtures("on_cluster")
def test_a_trial_that_fails_is_a_row_with_its_traceback_and_is_tried_again_when_asked(
    study_file, pets, tmp_path
):
    words = (study_file(PETS, "pets.yaml"), "--results", tmp_path / "r", "--data-root", pets, "--workers", 1)
    code, out, _ = end(launch(*words))
    assert code == 1 and "1 trial failed" in out and "--retry-failed" in out
    found = (
        analysis.open(tmp_path / "r")
        .execute("SELECT status, error FROM trials ORDER BY dataset DESC")
        .fetchall()
    )
    assert found[0] == ("ok", None)
    assert found[1][0] == "failed" and "Traceback" in found[1][1]
    assert "7.png: cannot be read as an image" in found[1][1]
    code, out, _ = here(*words)
    assert code == 1 and "2 with a result, 0 to run" in out
    (pets / "broken" / "test" / "b" / "7.png").unlink()
    code, out, _ = end(launch(*words, "--retry-failed"))
    assert code == 0 and "1 with a result, 1 to run" in out


def test_images_too_small_for_a_model_are_refused_before_anything_starts(study_file, pets, tmp_path):
    path = study_file(PETS.replace("conv-5", "lenet-5-caffe"), "pets.yaml")
    code, out, err = here(path, "--results", tmp_path / "r", "--data-root", pets)
    assert code == 2 and out == "" and "lenet-5-caffe needs images of at least 16×16 pixels" in err
    assert not (tmp_path / "r").exists()


def test_a_dry_run_says_what_and_how_long_without_ray_and_writes_nothing(study_file, tmp_path):
    path = study_file()
    code = f"""
import sys
sys.argv = ["launch", {str(path)!r}, "--dry-run", "--results", {str(tmp_path / "results")!r}]
from sweep.launch import main
try:
    main()
finally:
    assert "ray" not in sys.modules
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "20 trials, 0 with a result, 20 to run" in answer.stdout
    assert re.search(r"about \d+ s with \d+ workers", answer.stdout)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("broken.yaml",), "broken.yaml:1: unknown key 'datase' in a study; did you mean dataset?"),
        (("nowhere.yaml",), "nowhere.yaml: No such file or directory"),
        (("mnist.yaml",), "mnist: it is not under"),
        (("--workers", "0"), "Invalid value for '--workers'"),
        (("--wrong",), "No such option"),
        (("--workers", "1", "--workers", "2"), "--workers: given more than once: give it once"),
        (("--gpus-per-trial", "99"), "--gpus-per-trial 99: this machine has"),
        pytest.param(
            ("--gpus-per-trial", "auto"),
            "--gpus-per-trial auto: this machine has 0 GPUs",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
        ),
        (("--gpus-per-trial", "half"), "'half' is no share of a GPU: a number such as 0.25, or auto"),
        (("--results", "ftp://bucket"), "lie in a folder, or at s3"),
        (("late.yaml", "--data-root", "data"), "epoch 4 is beyond the 15 steps of training, 10 an epoch"),
        (("few.yaml", "--data-root", "data"), "gmp has only 30 of 40 steps for updates; take fewer"),
        (("thin.yaml", "--data-root", "data"), "weights are fewer than its first and last layer keep"),
        (
            ("--log", "tensorboard", "--results", "s3://b/r"),
            "tensorboard: its files go to a folder, not to s3://b/r",
        ),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(words, message, study_file, tmp_path):
    study_file("datase: digits\n", "broken.yaml")
    study_file("dataset: mnist\nmodel: conv-5\nepochs: 1\nsparsity: 0\n", "mnist.yaml")
    late = "dataset: digits\nmodel: conv-5\nsteps: 15\ncriterion: snip\nsparsity: 0.5\nprune_epoch: 4\n"
    study_file(late, "late.yaml")
    few = "dataset: digits\nmodel: conv-5\nepochs: 4\ncriterion: gmp\nsparsity: 0.5\n"
    study_file(few, "few.yaml")
    thin = (
        "dataset: digits\nmodel: conv-5\nepochs: 4\ncriterion: random\nscope: uniform-plus\nsparsity: 0.998\n"
    )
    study_file(thin, "thin.yaml")
    words = [tmp_path / word if word.endswith("yaml") else word for word in words]
    for option, folder in (("--results", "r"), ("--data-root", "no-data")):
        words += [] if option in words else [option, tmp_path / folder]
    if words[0] == tmp_path / "broken.yaml":
        code, out, err = end(launch_anew(*words))
    else:  # in this process, which is faster
        code, out, err = here(*words)
    assert code == 2 and message in err and err.count("\n") == 1 and out == ""
    assert not (tmp_path / "r").exists()


TINY = """\
name: tiny
dataset: digits
model: conv-5
epochs: 4
lr: 0.2
criterion: [magnitude, force]
sparsity: [0, 0.9, 0.99]
iterations: [1, 10]
prune_epoch: [0, 1, 2, 3]
seed: 0
"""


@pytest.mark.long
@pytest.mark.usefixtures("on_cluster")
def test_what_the_plan_says_is_shared_is_trained_once(study_file, tmp_path):
    """A tiny grid: 48 trials are asked for, 192 epochs; 25 are distinct, and 64 epochs are trained."""
    path, results = study_file(TINY, "tiny.yaml"), tmp_path / "results"
    _, said, _ = here(path, "--results", results, "--dry-run")
    assert "25 trials (48 combinations, equal ones once), 0 with a result" in said
    assert (
        "640 of 1,000 steps of training are to run; the other 36% is shared between trials (3 saved states)"
        in said
    )
    code, out, err = end(launch(path, "--results", results, "--workers", 1))
    assert (code, err) == (0, "") and "workers busy " in out
    trained = analysis.open(results).execute("SELECT count(*), sum(trained_steps) FROM trials").fetchone()
    assert trained == (25, 64 * 10)
    assert not (results / ".prefixes").exists(), "nobody needs a state any more"
    assert rows(results) == undisturbed(path)


@pytest.mark.usefixtures("on_cluster")
def test_finished_trials_are_on_disk_at_once_though_their_pack_goes_on(study_file, tmp_path):
    path, results = study_file(LONGER, "longer.yaml"), tmp_path / "results"
    seen = {}
    with running(path, "--results", results, "--workers", 1):
        deadline = time.monotonic() + 180
        while len(seen) < 6 and time.monotonic() < deadline:
            for name, row in finished(results / "longer").items():
                seen.setdefault(name, time.time() - row["finished_at"].timestamp())
            time.sleep(0.1)
    assert len(seen) >= 6 and max(seen.values()) < 2, "seconds from its end to the disk"


@pytest.mark.long
@pytest.mark.usefixtures("on_cluster")
def test_a_launch_can_be_limited_and_the_next_goes_on(study_file, tmp_path):
    path, results = study_file(), tmp_path / "results"
    code, out, _ = end(launch(path, "--results", results, "--max-trials", 4, "--workers", 1))
    assert code == 0 and "20 trials, 0 with a result, 4 to run now" in out
    assert "small: 4 of 4 trials" in out and "16 trials have no result" in out
    found = analysis.open(results).execute("SELECT DISTINCT seed FROM trials").fetchall()
    assert found == [(0,)], "those that come first in the plan"
    assert unfinished(analysis.open(results)) == {"small": (4, 20)}
    # A study that asks for less than before is finished once it has that.
    config = json.loads(analysis.open(results).execute("SELECT config FROM trials").fetchone()[0])
    names = ("dataset", "model", "epochs", "lr", "sparsity", "prune_epoch", "seed", "criterion", "scope")
    less = study_file("name: small\n" + "".join(f"{name}: {config[name]}\n" for name in names), "less.yaml")
    code, out, _ = here(less, "--results", results)
    assert code == 0 and "1 with a result, 0 to run" in out
    assert unfinished(analysis.open(results)) == {}
    started = time.monotonic()
    code, out, _ = end(launch(path, "--results", results, "--max-hours", 1e-9, "--workers", 1))
    assert code == 0 and "--max-hours is over with 4 of 20 trials done; the same command goes on" in out
    assert time.monotonic() - started < 40
    code, out, _ = end(launch(path, "--results", results, "--workers", 1))
    assert code == 0 and "4 with a result, 16 to run" in out
    assert rows(results) == undisturbed(path)
    assert unfinished(analysis.open(results)) == {}


@pytest.mark.usefixtures("on_cluster")
def test_too_many_failures_end_a_launch(study_file, pets, tmp_path):
    seeds = study_file(PETS + "seed: 0..30\n", "pets.yaml")
    words = (seeds, "--results", tmp_path / "r", "--data-root", pets, "--workers", 1)
    code, out, _ = end(launch(*words, "--max-failures", 2))
    assert code == 1 and "--max-failures is reached with" in out
    assert (
        2
        <= len([row for row in finished(tmp_path / "r" / "pets").values() if row["status"] == "failed"])
        < 31
    )


def test_two_studies_share_a_cluster_and_every_trial_goes_to_a_log(ray_head, study_file, tmp_path):
    few = (study.replace("seed: [0, 1]", "seed: 0") for study in (STUDY, LONGER))
    paths = [study_file(study, name) for study, name in zip(few, ("small.yaml", "longer.yaml"), strict=True)]
    words = ("--results", tmp_path / "results", "--address", ray_head, "--workers", 1)
    # Two forks of one process draw the same ids for Ray's objects, and of two that put one id at once Ray ends one.
    both = [launch_anew(path, *words, "--log", "tensorboard") for path in paths]
    said = {}
    for process, name in zip(both, ("small", "longer"), strict=True):
        code, said[name], err = end(process)
        assert code == 0, (said, err)
    spans = "SELECT min(started_at), max(finished_at) FROM trials WHERE study = ?"
    everything = analysis.open(tmp_path / "results")
    (begun, _), (_, done) = (everything.execute(spans, [name]).fetchone() for name in ("longer", "small"))
    assert begun < done, "at the same time"
    for path, name in zip(paths, ("small", "longer"), strict=True):
        assert rows(tmp_path / "results" / name) == undisturbed(path)
        trials = len(rows(tmp_path / "results" / name))
        events = list((tmp_path / "results" / name / "log").glob("*/*/events.out.tfevents.*"))
        assert len(events) == trials and all(b"curve/val_accuracy" in event.read_bytes() for event in events)
        assert f"{name}: logged {trials} trials to tensorboard, " in said[name]


@pytest.mark.long
@pytest.mark.usefixtures("on_cluster")
def test_invalid_trials_and_those_of_a_condition_run_again(study_file, tmp_path):
    path, results = study_file(), tmp_path / "results"
    assert end(launch(path, "--results", results))[::2] == (0, "")
    before = rows(results)
    marking.put(str(results), "invalid", "criterion = 'snip' AND seed = 0", note="a bad node")
    invalid = len(before) - len(rows(results))
    assert 0 < invalid < 20
    code, out, err = end(launch(path, "--results", results))
    assert (code, err) == (0, "") and f"{20 - invalid} with a result, {invalid} to run" in out
    assert f"{invalid} results are marked as invalid and run again" in out and rows(results) == before
    assert "0 to run" in here(path, "--results", results, "--dry-run")[1], (
        "the mark is of the earlier results"
    )

    words = (path, "--results", results, "--rerun", "criterion = 'snip' AND seed = 0")
    assert f"{20 - invalid} with a result, {invalid} to run" in here(*words, "--dry-run")[1]
    assert end(launch(*words))[::2] == (0, "") and rows(results) == before
    launched = "SELECT DISTINCT launched_at FROM trials WHERE criterion = 'snip' AND seed = 0"
    last = json.loads((results / "small" / "study.json").read_text())["launches"][-1]["started_at"]
    [(when,)] = analysis.open(results).execute(launched).fetchall()
    assert when.timestamp() == datetime.fromisoformat(last).timestamp()
    assert unfinished(analysis.open(results)) == {}
