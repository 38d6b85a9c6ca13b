"""A sweep whose results lie in an S3 server on the loopback address, with faults on the way."""

import signal
import time

import pytest
from optuna.trial import TrialState

import analysis
from analysis.__main__ import main as ask
from sweep.store.places import place
from sweep.store.results import finished
from tests import commands, stores
from tests.integration import warm
from tests.integration.launching import LONG, LONGER, end, launch, rows, running, undisturbed, wait_for
from tests.integration.test_search import STUDY as SPACE
from tests.integration.test_search import history, search

pytestmark = pytest.mark.slow
SEARCH = SPACE.replace("trials: 16", "trials: 6").replace("seeds: 2", "seeds: 1")


@pytest.fixture(scope="module")
def way(s3_port):
    return stores.Way(s3_port)


@pytest.fixture(scope="module")
def head_with_a_store(way, tmp_path_factory):
    """The address of a cluster whose workers know the store."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for name, value in stores.environment(way.own).items():
            environment.setenv(name, value)
        with warm.cluster(2) as cluster:
            yield cluster.address


@pytest.fixture(autouse=True)
def on_a_cluster_with_a_store(head_with_a_store, bucket, way, monkeypatch):
    """Launches of the test run on that cluster, and go to the store by the way."""
    monkeypatch.setenv("RAY_ADDRESS", head_with_a_store)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.own}")


@pytest.mark.long
def test_a_sweep_outlasts_short_faults_kill_and_a_long_fault_and_nothing_is_lost(bucket, study_file, way):
    path = study_file(LONGER, "longer.yaml")
    results = f"{bucket}/results"
    words, folder = (path, "--results", results, "--workers", 1), place(results) / "longer"
    with running(*words) as first:
        wait_for(folder, 1, first)
        for fault in stores.FAULTS:
            way.breaks(fault)
            time.sleep(1)
            way.breaks(None)
        wait_for(folder, 2, first)
        first.send_signal(signal.SIGSTOP)  # or it may be done before another launch has begun
        code, _, err = end(launch(*words))
        assert code == 2 and f"{folder} is being written by process {first.pid}" in err
        first.send_signal(signal.SIGKILL)
    kept = len(finished(folder))
    with running(*words) as second:
        wait_for(folder, kept + 2, second)
        way.breaks("error")
        began = time.monotonic()
        code, out, err = end(second)
        assert f"{LONG} trials, {kept} with a result" in out
        assert code == 2 and 25 < time.monotonic() - began < 60
        assert (
            err.count("\n") == 1
            and "results can no longer be written; check the store's address and your rights there and launch again"
            in err
        )
        unsent = int(err.partition("more trials on this machine")[0].split()[-1])
    way.breaks(None)
    before = len(finished(folder)) + unsent
    code, out, err = end(launch(*words))
    assert (code, err) == (0, "")
    assert f"{LONG} trials, {before} with a result" in out and unsent > 0
    everything = analysis.open(results)
    assert everything.execute("SELECT count(*) FROM trials").fetchone() == (LONG,)
    assert rows(results) == undisturbed(path)
    assert not (place(results) / ".prefixes").exists() and not folder.glob(".lock-*")
    assert "snip" in commands.run(ask, "crossover", "--results", results).stdout


@pytest.mark.long
def test_a_killed_search_goes_on_from_a_store_also_on_another_machine(
    bucket, study_file, tmp_path, monkeypatch
):
    path, results = study_file(SEARCH, "look.yaml"), f"{bucket}/results"
    folder = place(results) / "look"
    with search(path, "--results", results, "--workers", 1) as first:
        wait_for(folder, 2, first)
        first.send_signal(signal.SIGKILL)
    kept = len(finished(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    monkeypatch.delenv("RAY_ADDRESS")  # its workers have nothing at hand that those before have fetched
    code, out, err = end(search(path, "--results", results, "--workers", 1))
    assert (code, err) == (0, "") and f"{kept} of 6 trials run" in out
    assert f"the best as a study: {folder}/best.yaml" in out and (folder / "search.json").exists()
    (tmp_path / "optuna.journal").write_bytes((folder / "optuna.journal").read_bytes())
    told = [each for each in history(tmp_path).get_trials() if each.state is TrialState.COMPLETE]
    names = [name for each in told for name in each.user_attrs["trial_ids"]]
    # A sampler may choose a schedule again whose result is known, and is told it again.
    assert len(finished(folder)) == 6 and set(names) == set(finished(folder))
