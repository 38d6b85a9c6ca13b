"""Launches as jobs of a real SLURM of two nodes on this machine."""

import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

import analysis
from sweep.errors import BadInput
from sweep.launch import main
from sweep.reporter import Reporter
from sweep.slurm import queue, script
from sweep.slurm.__main__ import Inside
from sweep.slurm.allocation import PORTS, Allocation
from sweep.slurm.follow import follow
from sweep.store.results import finished
from tests import commands
from tests.integration.launching import rows, undisturbed, wait_for

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

# Trials wait as long as a file is there: so a test catches a launch in the middle, however fast the machine is.
GATED = """\
import time
from pathlib import Path


def gated(probe):
    while Path({closed!r}).exists():
        time.sleep(0.05)
    return {{name: weight.abs() for name, weight in probe.weights.items()}}
"""
STUDY = """\
name: gated
dataset: digits
model: conv-5
epochs: 1
lr: 0.2
criterion: gated.py:gated
sparsity: [0.9, 0.99]
seed: 0..4
"""
TRIALS = 10
# Ray sees sooner that a node is dead.
SOON = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "5"}


class Gate:
    """A study whose trials wait while its gate is closed."""

    def __init__(self, folder):
        self.closed, self.study, self.results = folder / "closed", folder / "gated.yaml", folder / "results"
        (folder / "gated.py").write_text(GATED.format(closed=str(self.closed)))
        self.study.write_text(STUDY)
        self.folder = self.results / "gated"

    def close(self):
        self.closed.touch()

    def open(self):
        self.closed.unlink()

    def check(self):
        """Every trial has one result, which is that of a trial run by itself."""
        assert rows(self.folder) == undisturbed(self.study)
        whole = analysis.open(self.folder).execute("SELECT count(*) FROM all_trials").fetchone()
        assert whole == (TRIALS,), "no trial ran twice"


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


@pytest.fixture
def here(slurm, monkeypatch, tmp_path):
    """SLURM's commands in this process find the servers, and jobs begin in the test's folder."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])
    monkeypatch.chdir(tmp_path)
    return slurm


def launched(slurm, gate, options, *words):
    """A launch as people run it, which submits itself and follows its job."""
    command = [sys.executable, "-m", "sweep.launch", str(gate.study), "--results", str(gate.results), *words]
    return subprocess.Popen(
        [*command, "--slurm", f"--output={gate.results.parent}/%j.log {options}"],
        env=slurm.environment | SOON,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def job_of(slurm):
    """The number of the one job that there is."""
    return slurm.wait(lambda: slurm.say("squeue", "--noheader", "--format=%A"), "a job")


@pytest.mark.long
def test_a_launch_submits_itself_ends_with_its_time_and_goes_on_until_the_study_is_done(slurm, gate):
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import sweep.launch, ray"], check=True)
    minutes = math.ceil((8 * (time.monotonic() - began) + 20) / 60)
    with launched(slurm, gate, f"--time={minutes}") as first:
        job = job_of(slurm)
        wait_for(gate.folder, 2, first, 300)
        gate.close()
        with launched(slurm, gate, "--time=9") as second:
            second.stdout.readline()
            assert slurm.say("squeue", "--noheader", "--format=%A") == job, "it follows the job that is there"
            second.send_signal(signal.SIGINT)
            said, _ = second.communicate(timeout=60)
            assert second.returncode == 130
            assert f"job {job} goes on: the same command follows it, scancel {job} cancels it" in said
        slurm.restart(job)  # once its time is over and it is in the queue again
        done = len(finished(gate.folder))
        assert 2 <= done < TRIALS
        gate.open()
        said, _ = first.communicate(timeout=300)
    assert first.returncode == 0, said + slurm.logs()
    assert f"submitted as job {job}" in said and f"job {job}, run 1: 1 nodes, 1 CPUs" in said
    assert f"{TRIALS - done} trials have no result yet: job {job} goes into the queue again" in said
    assert f"job {job}, run 2" in said and f"gated: {TRIALS} trials, {done} with a result" in said
    assert said.count("gated: 10 trials, 0 with a result, 10 to run") == 1
    gate.check()


@pytest.mark.long
def test_a_node_that_is_drained_and_dies_in_the_middle_is_a_lost_node(slurm, gate):
    with launched(slurm, gate, "--nodes=2 --time=30") as launch:
        job = job_of(slurm)
        wait_for(gate.folder, 2, launch, 400)
        gate.close()
        slurm.say("scontrol", "update", "nodename=n2", "state=drain", "reason=test")
        for process in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                words = process.read_bytes().split(b"\0")
                of_ray = b"sweep.slurm.node" not in (process.parent / "cmdline").read_bytes().split(b"\0")
                ours = {b"SLURMD_NODENAME=n2", f"SLURM_JOB_ID={job}".encode()} <= {*words}
                if ours and of_ray:  # the program around Ray cleans up
                    os.kill(int(process.parent.name), signal.SIGKILL)
        gate.open()
        said, _ = launch.communicate(timeout=400)
    assert launch.returncode == 0, said + slurm.logs()
    assert f"job {job}, run 1: 2 nodes, 2 CPUs" in said and "a Ray cluster of 2 nodes at 127.0.0.2:" in said
    assert "node n2 is lost: its trials begin again elsewhere" in said
    gate.check()


QUESTION = """\
name: gated
dataset: digits
model: lenet-300-100
steps: 4
question:
  difference: {first: gated.py:gated, second: random:erk, at: 0.9}
  trials: 10
"""


@pytest.mark.long
def test_a_question_is_answered_by_the_nodes_of_a_job(slurm, gate):
    gate.study.write_text(QUESTION)
    with launched(slurm, gate, "--nodes=2 --time=30") as launch:
        said, _ = launch.communicate(timeout=400)
    assert launch.returncode == 0, said + slurm.logs()
    assert "a Ray cluster of 2 nodes at 127.0.0.2:" in said and "10 to run at most" in said
    assert "gated.py:gated" in said and "by test data of the same trials" in said
    counted = "SELECT count(*), count(DISTINCT seed), bool_and(status = 'ok') FROM all_trials"
    count, seeds, fine = analysis.open(gate.folder).execute(counted).fetchone()
    assert 8 <= count == 2 * seeds <= 10 and fine, "both arms have the same seeds, each trial ran once"


def sleeper(options=(), words=("x.yaml",), job="sleeper"):
    """The number of a running job that has the batch script of a study, and sleeps."""
    text = script.batch_script(job, ["--output=%j.log", *options], words)
    *lines, _ = text.splitlines()
    number = queue.submit("\n".join([*lines, "exec sleep 300", ""]))
    while queue.show(number).state != "RUNNING":
        time.sleep(0.1)
    return number


FACTS = {"ending": "time", "without_result": 3, "with_result": 4, "ok": 5, "failed": 0, "taken_over": {}}


def test_a_job_goes_into_the_queue_again_if_it_finished_trials(here, tmp_path, capsys):
    number = sleeper()
    run = Inside(["x.yaml"], Allocation(number, 0, math.inf))
    none = FACTS | {"ok": 4, "results": str(tmp_path)}
    assert run._go_on(none) == 1 and queue.show(number).restarts == 0
    assert "3 trials have no result, and no trial got a result in this allocation" in capsys.readouterr().err
    assert run._go_on(FACTS | {"results": str(tmp_path)}) == 0
    here.wait(lambda: here.state(number) == "PENDING", "the job in the queue")
    again = queue.show(number)
    assert again.restarts == 1 and again.begins > time.time()
    assert run._go_on(FACTS | {"results": str(tmp_path)}) == 130, "it is in the queue again: once is enough"


def test_a_checkpoint_is_as_good_as_a_result(here, tmp_path):
    number = sleeper()
    run = Inside(["x.yaml"], Allocation(number, 0, math.inf))
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / f"{'0' * 16}-key-cpu.pt").touch()
    assert run._go_on(FACTS | {"ok": 4, "results": str(tmp_path)}) == 0
    assert queue.show(number).restarts == 1


def test_where_a_job_may_not_run_again_its_script_is_submitted_anew(here, tmp_path):
    number = sleeper(["--no-requeue"])
    new = queue.requeue(number)
    assert new != number and queue.show(new).state in ("PENDING", "RUNNING")
    assert queue.find("sleeper") in (new, number)
    by_hand = queue.submit("#!/bin/bash\n#SBATCH --no-requeue --output=%j.log\nsleep 300\n")
    here.wait(lambda: here.state(by_hand) == "RUNNING", "the job")
    with pytest.raises(BadInput, match=f"^job {by_hand}: scontrol: .*: submit it again to go on$"):
        queue.requeue(by_hand)


@pytest.fixture
def two_looks(monkeypatch):
    """Nothing requeues the jobs of a test: two looks after the end of one say so as eight do."""
    monkeypatch.setattr("sweep.slurm.follow._LOOKS", 2)


@pytest.mark.usefixtures("two_looks")
def test_a_cancelled_job_is_over(here, tmp_path):
    number = sleeper()
    here.say("scancel", number)
    run = Inside(["x.yaml"], Allocation(number, 0, math.inf))
    assert run._go_on(FACTS | {"results": str(tmp_path)}) == 130
    assert follow(number, "sleeper", Reporter(quiet=True), tail=False) == 130


def test_what_slurm_refuses_is_one_line(here):
    with pytest.raises(BadInput, match=r"^sbatch: error: .*invalid partition") as error:
        queue.submit(script.batch_script("x", ["--partition=none"], ["x.yaml"]))
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("two_looks")
@pytest.mark.parametrize(("end", "code"), [("exit 3", 3), ("true", 0)])
def test_following_shows_the_log_and_gives_the_exit_code(end, code, here, tmp_path, capsys):
    number = queue.submit(f"#!/bin/bash\n#SBATCH --output='a b %j.log'\nprintf 'one\\n\\e[2Jtwo\\n'; {end}\n")
    assert follow(number, "nothing", Console(soft_wrap=True), tail=False) == code
    said = capsys.readouterr().out
    assert "\none\n\\x1b[2Jtwo\n" in said and f"a b {number}.log" in said


def test_a_job_sees_its_nodes_their_cpus_and_its_end(here, tmp_path):
    see = (
        "import dataclasses, json, os; from sweep.slurm import allocation; "
        "print(json.dumps([dataclasses.astuple(node) for node in allocation.nodes(os.environ)] + "
        "[dataclasses.astuple(allocation.Allocation.here())]))"
    )
    number = queue.submit(
        f"#!/bin/bash\n#SBATCH --nodes=2 --ntasks-per-node=2 --time=3 --output=seen\n"
        f"cd {Path.cwd()}; exec {sys.executable} -c '{see}'\n"
    )
    here.wait(lambda: here.state(number) == "COMPLETED", "the job")
    first, second, run = json.loads(Path("seen").read_text())
    assert first[:3] == ["n1", "127.0.0.2", 2] and second[:3] == ["n2", "127.0.0.3", 2]
    assert second[3] - first[3] == PORTS
    assert run[:2] == [number, 0] and abs(run[2] - time.time() - 180) < 60


def commands_of_the_page():
    blocks = re.findall(
        r"^```\n(.*?)^```$", (ROOT / "docs" / "slurm.md").read_text(), re.DOTALL | re.MULTILINE
    )
    lines = [line.partition("   ")[0] for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("python -m sweep.launch", "sbatch"))]


@pytest.mark.parametrize("line", commands_of_the_page())
def test_slurm_takes_the_commands_of_the_page(line, slurm, tmp_path):
    words = shlex.split(line)
    if words[0] == "sbatch":
        answer = slurm.ask("sbatch", "--test-only", *words[1:])
        script_file = words[[Path(word).suffix for word in words].index(".sbatch")]
        assert (ROOT / script_file).is_file()
    else:
        dry = commands.run(main, *words[3:], "--results", tmp_path, "--data-root", ROOT / "data", "--dry-run")
        assert dry.returncode == 0, dry.stderr
        (tmp_path / "job.sh").write_text(dry.stdout)
        answer = slurm.ask("sbatch", "--test-only", tmp_path / "job.sh")
    assert answer.returncode == 0 and "to start at" in answer.stderr, answer.stderr
