import gc
import subprocess
import sys

import pytest
import torch

from sweep.config import Config
from sweep.engine import USUAL, malloc, runner, worker
from sweep.study.identity import Trial
from sweep.trial import Result
from sweep.trial.prefixes import Shared


def test_too_little_memory_on_a_gpu_is_tried_once_more_with_it_cleared(monkeypatch, tmp_path):
    where = runner.Where("data", str(tmp_path))
    trial = Trial.of(Config(dataset="digits", model="conv-5", criterion="snip", sparsity=0.9, epochs=2))
    attempts = []

    def greedy(trial, data_root, device, shared, after_epoch, **asked):
        attempts.append(len(shared.scores))
        if len(attempts) == 1:
            raise torch.OutOfMemoryError("too little")
        return "result"

    monkeypatch.setattr(runner, "run", greedy)
    shared = Shared(scores={"one": ({}, 1)})
    assert runner.run_trial(trial, where, shared) == "result"
    assert attempts == [1, 0]
    attempts.clear()
    monkeypatch.setattr(
        runner, "run", lambda *rest, **asked: (_ for _ in ()).throw(torch.OutOfMemoryError("no"))
    )
    with pytest.raises(torch.OutOfMemoryError):
        runner.run_trial(trial, where, shared)


def work(brief, monkeypatch, tmp_path):
    """A worker that has three trials to do, which only take down when they were begun."""
    begun = []

    def run(trial, where, shared):
        begun.append(trial.config.seed)
        return Result({"trial_id": trial.id, "status": "ok"})

    monkeypatch.setattr(malloc, "keep", lambda: None)  # of this process
    config = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 2}
    trials = [Trial.of(Config(**config, seed=seed)) for seed in range(3)]
    jobs = [(trial.canonical, (), (), False) for trial in trials]
    at_work = worker.Worker.__new__(worker.Worker)
    at_work.setup({"pack": 7, "jobs": jobs, "brief": brief}, run, runner.Where("data", str(tmp_path)))
    return at_work, begun


def test_garbage_is_collected_seldom_during_imports_and_as_usual_during_trials(monkeypatch, tmp_path):
    during_imports = (
        "import gc; usual = gc.get_threshold(); import sweep.engine; print(gc.get_threshold() > usual)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", during_imports], capture_output=True, text=True, check=True
    )
    before = gc.get_threshold()
    try:
        work(False, monkeypatch, tmp_path)
        assert answer.stdout == "True\n" and gc.get_threshold() == USUAL and gc.isenabled()
    finally:
        gc.set_threshold(*before)


def test_a_trial_is_reported_before_the_next_begins(monkeypatch, tmp_path):
    """Or it would be on disk only when the next is over, and be lost, and blamed, if that kills the worker."""
    at_work, begun = work(False, monkeypatch, tmp_path)
    for count in (1, 2, 3):
        answer = at_work.step()
        assert len(answer["results"]) == 1 and begun == list(range(count))
        assert answer["done"] == (count == 3)
    assert answer["results"][0].trial["pack"] == 7


def test_trials_that_are_over_in_no_time_are_reported_together(monkeypatch, tmp_path):
    at_work, begun = work(True, monkeypatch, tmp_path)
    answer = at_work.step()
    assert len(answer["results"]) == 3 and answer["done"] and begun == [0, 1, 2]
