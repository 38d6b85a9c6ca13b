"""A launch as people run it, and what it must give: for all tests that start some."""

import re
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

import analysis
from sweep.launch import main
from sweep.store.results import finished
from sweep.study import load
from sweep.trial import run
from tests import commands
from tests.integration import warm
from tests.integration.forked import Forked

# Long enough for a launch to be caught in the middle.
LONGER = """\
name: longer
dataset: digits
model: conv-5
epochs: 4
lr: 0.2
criterion: [random, snip]
scope: [global, erk]
sparsity: [0.9, 0.99]
seed: [0, 1]
"""
LONG = 16  # its trials
DATA = Path(__file__).parents[2] / "data"
NUMBERS = (
    "trial_id, status, kept, effective_density, pre_train_loss, pre_test_loss, train_loss, val_loss, test_loss, "
    "test_accuracy, best_val_accuracy, mean_active_params"
)


def rows(folder):
    return sorted(analysis.open(folder).execute(f"SELECT {NUMBERS} FROM trials").fetchall())


def undisturbed(path):
    """What the trials of a study give in this process, without Ray and each on its own."""
    return sorted(map(_alone, load(path).trials()))


@cache
def _alone(trial):
    row = run(trial).trial
    return tuple(row[column] for column in NUMBERS.split(", "))


def launch(*words):
    """A launch that begins with its imports done."""
    return Forked("sweep.launch", *words)


def launch_anew(*words):
    """A launch as people run it, from its first import on."""
    command = [sys.executable, "-m", "sweep.launch", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def processes(ancestors):
    """Pid → name of every process that descends from one of these."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, name, _, parent = re.match(r"(\d+) \((.*)\) (\S) (\d+)", status.read_text()).groups()
            parents[int(pid)] = (warm.parent(int(pid), int(parent)), name)
        except OSError:
            continue

    def ours(pid):
        while pid in parents and pid not in ancestors:
            pid = parents[pid][0]
        return pid in ancestors

    return {pid: name for pid, (_, name) in parents.items() if ours(pid)}


def workers(ancestors):
    """Processes that run trials, by the name that Ray gives them."""
    # Linux keeps the first 15 letters of a name.
    return [
        pid for pid, name in processes(ancestors).items() if name.startswith(("ray::Resource", "ray::_Inner"))
    ]


def here(*words):
    """A launch in this process, which is faster: for those that do not come to start a trial."""
    with mock.patch("sweep.engine.session.Session", side_effect=AssertionError("it would start trials")):
        answer = commands.run(main, *words)
    return answer.returncode, answer.stdout, answer.stderr


def end(process, timeout=300):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


@contextmanager
def running(*words, start=launch):
    process = start(*words)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(folder, count, process, seconds=90):
    deadline = time.monotonic() + seconds
    while len(finished(folder)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {count} trials within {seconds} s"
        time.sleep(0.05)
