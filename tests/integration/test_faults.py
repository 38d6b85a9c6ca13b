"""Whatever is killed or interrupted, what was finished is kept, and the next launch does the rest."""

import json
import signal
import subprocess
import sys
import time
from datetime import datetime

import pytest

import analysis
from analysis.warehouse import unfinished
from sweep.store.results import finished
from tests.integration import long
from tests.integration.faults import ordeal
from tests.integration.launching import (
    LONG,
    LONGER,
    end,
    launch,
    launch_anew,
    rows,
    running,
    undisturbed,
    wait_for,
)

pytestmark = pytest.mark.slow


@pytest.mark.long
@pytest.mark.usefixtures("on_cluster")
def test_killed_in_the_middle_and_launched_again_every_trial_is_there_once_and_equal(study_file, tmp_path):
    # The first launch is stopped meanwhile, so that shorter trials do as well.
    shorter = LONGER.replace("epochs: 4", "epochs: 2")
    path, results = study_file(shorter, "longer.yaml"), tmp_path / "results"
    folder = results / "longer"
    words = (path, "--results", results, "--workers", 1)
    with running(*words) as first:
        wait_for(folder, 2, first)
        first.send_signal(signal.SIGSTOP)  # or it may be done before another launch has begun
        code, out, err = end(launch(*words))
        assert code == 2 and err.count("\n") == 1
        assert f"{folder} is being written by process {first.pid}" in err
        assert first.poll() is None, "the first launch goes on"
        first.send_signal(signal.SIGKILL)
    kept = set(finished(folder))
    assert unfinished(analysis.open(results)) == {"longer": (len(kept), LONG)}
    code, out, err = end(launch(*words))
    assert (code, err) == (0, "")
    assert f"{LONG} trials, {len(kept)} with a result, {LONG - len(kept)} to run" in out
    assert "on the Ray cluster at" in out and "as RAY_ADDRESS says; --address local runs here" in out
    parts = analysis.open(results).execute(
        f"SELECT trial_id FROM read_parquet('{folder}/trials/part-*.parquet')"
    )
    assert len(parts.fetchall()) == LONG, "no trial ran twice"
    assert rows(results) == undisturbed(path)
    assert unfinished(analysis.open(results)) == {}
    launches = json.loads((folder / "study.json").read_text())["launches"]
    began = [datetime.fromisoformat(launch["started_at"]) for launch in launches]
    found = analysis.open(results).execute("SELECT launched_at, count(*) FROM trials GROUP BY 1 ORDER BY 1")
    assert found.fetchall() == list(zip(began, (len(kept), LONG - len(kept)), strict=True))


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_within_seconds_and_keeps_what_is_done(number, request, study_file, tmp_path):
    if number == signal.SIGTERM:  # what ends jobs on clusters
        request.getfixturevalue("on_cluster")
    # So many that the interrupt comes in the middle on a busy machine too.
    many, trials = LONGER.replace("seed: [0, 1]", "seed: 0..7"), 4 * LONG
    path, results = study_file(many, "longer.yaml"), tmp_path / "results"
    with running(path, "--results", results, "--workers", 1, start=launch_anew) as process:
        wait_for(results / "longer", 2, process)
        started = time.monotonic()
        process.send_signal(number)
        code, out, err = end(process, timeout=30)
    assert time.monotonic() - started < 10
    assert (code, err) == (130, "")
    done = len(finished(results / "longer"))
    assert 2 <= done < trials
    assert f"interrupted with {done} of {trials} trials done; the same command goes on" in out


@pytest.mark.long
def test_kills_of_driver_workers_and_nodes_cost_nothing_but_time(tmp_path):
    """`python -m tests.integration.faults --kills 100` is the longer version."""
    killed = ordeal(tmp_path, 5, seed=1, last=0)
    assert killed.total() == 5 and set(killed) == {"driver", "worker", "node"}


@pytest.mark.long
@pytest.mark.usefixtures("on_cluster")
def test_a_long_trial_goes_on_from_its_checkpoint_when_its_worker_or_its_launch_is_killed(tmp_path):
    """`python -m tests.integration.long --kills 10` is the longer version, which measures what is lost."""
    assert long.ordeal(tmp_path, ["worker", "driver"], minutes=0.003, epochs=30)


GREEDY = """
import os, sys, time
memory = {line.split(":")[0]: int(line.split()[1]) for line in open("/proc/meminfo")}
used = 1 - memory["MemAvailable"] / memory["MemTotal"]
os.environ["RAY_memory_usage_threshold"] = f"{min(0.95, used + 0.15):.3f}"
os.environ["RAY_memory_monitor_refresh_ms"] = "100"
from datetime import UTC, datetime
from sweep import plan
from sweep.engine import cluster, runner, tune
from sweep.study import load
from sweep.trial import Result

def run(trial, where, shared):
    if trial.config.seed == 1:
        taken = [b"1" * 2**28 for _ in range(60)]  # 15 GiB, if it gets so far
    now = datetime.now(UTC)
    return Result(trial.columns() | {"status": "ok", "started_at": now, "finished_at": now})

found = []
packs = plan.packs(load(sys.argv[1]).trials(), 1)
cluster.connect(None, 1, gpu=False)
where = runner.Where("data", sys.argv[2])
tune.execute(packs, where, workers=1, tell=found.append, retries=1, run=run)
cluster.stop()
for result in found:
    print(result.trial["seed"], result.trial["status"], result.trial.get("error"))
"""


@pytest.mark.long
def test_a_trial_that_takes_all_memory_of_its_node_fails_alone(study_file, tmp_path):
    """Ray kills its worker, in another way than a process dies, which would have ended the launch."""
    text = "dataset: digits\nmodel: conv-5\nepochs: 1\ncriterion: snip\nsparsity: 0.9\nseed: [0, 1, 2]\n"
    words = [sys.executable, "-c", GREEDY, str(study_file(text)), str(tmp_path / "prefixes")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    lines = sorted(line for line in done.stdout.splitlines() if line[:1].isdigit())
    assert lines == ["0 ok None", "1 failed its worker died 2 times while it ran", "2 ok None"], done.stderr
