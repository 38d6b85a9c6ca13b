"""Whatever is killed or interrupted, what was finished is kept, and the next launch does the rest."""

import signal
import time

import pytest

import analysis
from sweep.results import finished
from tests.integration.faults import ordeal
from tests.integration.launching import LONGER, end, launch, rows, running, undisturbed, wait_for

pytestmark = pytest.mark.slow


def test_killed_in_the_middle_and_launched_again_every_trial_is_there_once_and_equal(study_file, tmp_path):
    path, results = study_file(LONGER, "longer.yaml"), tmp_path / "results"
    folder = results / "longer"
    with running(path, "--results", results) as first:
        wait_for(folder, 4, first)
        code, out, err = end(launch(path, "--results", results))
        assert code == 2 and err.count("\n") == 1
        assert f"{folder} is being written by process {first.pid}" in err
        assert first.poll() is None, "the first launch goes on"
        first.send_signal(signal.SIGKILL)
    kept = set(finished(folder))
    code, out, err = end(launch(path, "--results", results))
    assert (code, err) == (0, "")
    assert f"32 trials, {len(kept)} with a result, {32 - len(kept)} to run" in out
    parts = analysis.open(results).execute(
        f"SELECT trial_id FROM read_parquet('{folder}/trials/part-*.parquet')"
    )
    assert len(parts.fetchall()) == 32, "no trial ran twice"
    assert rows(results) == undisturbed(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_within_seconds_and_keeps_what_is_done(number, study_file, tmp_path):
    path, results = study_file(LONGER, "longer.yaml"), tmp_path / "results"
    with running(path, "--results", results) as process:
        wait_for(results / "longer", 2, process)
        started = time.monotonic()
        process.send_signal(number)
        code, out, err = end(process, timeout=30)
    assert time.monotonic() - started < 10
    assert (code, err) == (130, "")
    done = len(finished(results / "longer"))
    assert 2 <= done < 32
    assert f"interrupted with {done} of 32 trials done; the same command goes on" in out


def test_twenty_kills_of_driver_workers_and_nodes_cost_nothing_but_time(tmp_path):
    """`python -m tests.integration.faults --kills 100` is the longer version."""
    killed = ordeal(tmp_path, 20, seed=1, last=3)
    assert killed.total() == 20 and set(killed) == {"driver", "worker", "node"}
