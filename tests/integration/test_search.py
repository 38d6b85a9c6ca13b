"""The search as people run it: a process of its own, real Ray, real Optuna, real Parquet."""

import json
import os
import signal
import time

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import analysis
from analysis.__main__ import main as ask
from sweep.arms import listed
from sweep.store.results import finished, stopped
from tests import commands
from tests.integration.forked import Forked
from tests.integration.launching import end, here, launch, processes

pytestmark = pytest.mark.slow
STUDY = """\
name: look
dataset: digits
model: conv-5
epochs: 2
batch_size: 64
sparsity: 0.98
search:
  trials: 16
  seeds: 2
  space:
    criterion: [random, magnitude, snip, force]
    iterations: {low: 1, high: 20, log: true, when: {criterion: force}}
    scope: [global, erk]
    prune_epoch: {low: 0, high: 1.5, step: 0.5}
    lr: {low: 0.02, high: 0.4, log: true}
"""


def search(*words):
    return Forked("sweep.search.__main__", *words, strict=True)


def history(folder):
    return optuna.load_study(
        study_name="look", storage=JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    )


@pytest.mark.usefixtures("on_cluster")
def test_a_killed_search_goes_on_and_optuna_and_parquet_agree(study_file, tmp_path):
    path, results = study_file(STUDY, "look.yaml"), tmp_path / "results"
    folder = results / "look"
    process = search(path, "--results", results)
    deadline = time.monotonic() + 120
    while len(finished(folder)) < 3:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = set(finished(folder))
    code, out, err = end(search(path, "--results", results))
    assert (code, err) == (0, ""), out
    assert (
        f"{len(kept)} of 16 trials run" in out
        and "best by validation accuracy" in out
        and "what mattered" in out
    )

    rows = analysis.open(folder).execute("SELECT trial_id, val_accuracy FROM trials").fetchall()
    parts = f"SELECT count(*) FROM read_parquet('{folder}/trials/part-*.parquet')"
    assert analysis.open(folder).execute(parts).fetchone() == (len(rows),), "no trial ran twice"
    assert 13 < len(rows) <= 16
    accuracy, told = dict(rows), []
    for trial in history(folder).get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        names = trial.user_attrs["trial_ids"]
        told += names
        assert trial.value == pytest.approx(sum(accuracy[name] for name in names) / len(names))
    assert sorted(set(told)) == sorted(accuracy)
    assert not (results / ".prefixes").exists()

    answer = json.loads((folder / "search.json").read_text())
    [schedule] = answer["best"]
    assert answer["trials"] == len(rows) and sum(answer["importances"]["accuracy"].values()) == pytest.approx(
        1
    )
    assert commands.run(ask, "report", "--results", results).returncode == 0
    page = (results / "report.html").read_text()
    assert "What did the search find?" in page and listed(schedule["schedule"]) in page

    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["name"] == "look-best" and best["blocks"][0]["seed"] == [0, 1]
    assert "2 trials" in here(folder / "best.yaml", "--dry-run")[1]
    code, out, _ = end(search(path, "--results", results))
    assert code == 0 and "trials run" in out and len(finished(folder)) == len(rows), "nothing is left to do"


def test_a_study_with_and_one_without_a_search_go_to_their_own_command(study_file, tmp_path):
    path = study_file(STUDY, "look.yaml")
    code, _, err = here(path, "--results", tmp_path / "r")
    assert code == 2 and err == f"{path}: this study searches: python -m sweep.search {path}\n"
    code, out, err = end(search(study_file(), "--results", tmp_path / "r"))
    assert code == 2 and "it has no search: block" in err and not out and not (tmp_path / "r").exists()


@pytest.mark.long
@pytest.mark.usefixtures("on_cluster")
def test_a_search_begins_with_what_a_sweep_has_found(study_file, tmp_path):
    results = tmp_path / "results"
    sweep = STUDY.partition("search:")[0].replace("look", "sweep")
    sweep += "criterion: [snip, magnitude]\nprune_epoch: [0, 0.5, 2]\nlr: [0.1, 0.9]\n"
    assert end(launch(study_file(sweep, "sweep.yaml"), "--results", results, "--workers", 1))[0] == 0
    path = study_file(STUDY.replace("trials: 16", "trials: 6"), "look.yaml")
    code, out, err = end(search(path, "--results", results, "--workers", 1))
    # Two criteria, two of the three prune epochs and one of the two learning rates are its own.
    assert (code, err) == (0, "") and "4 schedules known from earlier results, 0 of 6 trials run" in out
    theirs, ours = (set(finished(results / name)) for name in ("sweep", "look"))
    assert not theirs & ours and len(ours) >= 5
    assert len(json.loads((results / "look" / "study.json").read_text())["launches"]) == 1


STOPS = """\
name: look
dataset: digits
model: conv-5
epochs: 4
batch_size: 64
sparsity: 0.98
search:
  trials: 16
  seeds: 2
  stop: asha
  space:
    criterion: [random, magnitude, snip]
    scope: [global, erk]
    prune_epoch: [0, 0.5]
    lr: {low: 0.0001, high: 0.4, log: true}
"""


@pytest.mark.long
@pytest.mark.usefixtures("on_cluster")
def test_poor_trials_are_stopped_and_run_in_full_by_whoever_asks_for_them(study_file, tmp_path):
    path, results = study_file(STOPS, "look.yaml"), tmp_path / "results"
    folder = results / "look"
    process = search(path, "--results", results)
    deadline = time.monotonic() + 120
    while not stopped(folder):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code, out, err = end(search(path, "--results", results))
    assert (code, err) == (0, "") and "stopped early" in out
    connection = analysis.open(folder)
    poor = dict(connection.execute("SELECT trial_id, config FROM trials WHERE status = 'stopped'").fetchall())
    assert poor.keys() == stopped(folder).keys()
    parts = f"SELECT count(*), count(DISTINCT trial_id) FROM read_parquet('{folder}/trials/part-*.parquet')"
    assert len(set(analysis.open(folder).execute(parts).fetchone())) == 1, "no trial ran twice"
    lengths = f"SELECT trial_id, count(*) FROM curves WHERE trial_id IN {(*poor, '')} GROUP BY 1"
    assert all(epochs < 4 for _, epochs in connection.execute(lengths).fetchall())
    pruned = [t for t in history(folder).trials if t.state is optuna.trial.TrialState.PRUNED]
    assert sorted(name for t in pruned for name in t.user_attrs["trial_ids"]) == sorted(poor)
    assert all(t.intermediate_values for t in pruned)

    asked = json.loads(next(iter(poor.values())))
    fields = (
        "dataset",
        "model",
        "criterion",
        "scope",
        "sparsity",
        "prune_epoch",
        "epochs",
        "batch_size",
        "lr",
    )
    sweep = yaml.safe_dump({"name": "look", **{name: asked[name] for name in fields}})
    command = ["--results", str(results), "--workers", "1"]
    code, out, err = end(launch(study_file(sweep, "again.yaml"), *command))
    assert (code, err) == (0, "") and "1 trials, 0 with a result, 1 to run" in out
    name = next(iter(poor))
    found = f"SELECT status, val_accuracy IS NOT NULL FROM trials WHERE trial_id = '{name}'"
    assert analysis.open(folder).execute(found).fetchone() == ("ok", True)
    code, out, err = here(study_file(sweep, "again.yaml"), *command)
    assert (code, err) == (0, "") and "1 with a result, 0 to run" in out
    assert name not in stopped(folder)


@pytest.mark.long
@pytest.mark.usefixtures("on_cluster")
def test_without_its_judge_a_search_stops_nothing_more_and_goes_on(study_file, tmp_path):
    folder = tmp_path / "results" / "look"
    process = search(study_file(STOPS, "look.yaml"), "--results", tmp_path / "results", "--workers", 1)
    judge, deadline = None, time.monotonic() + 120
    while judge is None:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        names = processes({os.getpid()})  # the cluster is of this process
        judge = next((pid for pid, name in names.items() if name.startswith("ray::Judge")), None)
        time.sleep(0.05)
    os.kill(judge, signal.SIGKILL)
    code, out, err = end(process)
    assert (code, err) == (0, "") and "best by validation accuracy" in out
    assert len(finished(folder)) > 8 and not any(
        row["status"] == "failed" for row in finished(folder).values()
    )
    assert len(stopped(folder)) <= 4, "those that were stopped before"
