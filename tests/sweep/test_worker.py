import pytest
import torch

from sweep import worker
from sweep.config import Config, Trial
from sweep.prefixes import Shared


def test_too_little_memory_on_a_gpu_is_tried_once_more_with_it_cleared(monkeypatch, tmp_path):
    where = worker.Where("data", str(tmp_path))
    trial = Trial.of(Config(dataset="digits", model="conv-5", criterion="snip", sparsity=0.9, epochs=2))
    attempts = []

    def greedy(trial, data_root, device, shared, after_epoch):
        attempts.append(len(shared.scores))
        if len(attempts) == 1:
            raise torch.OutOfMemoryError("too little")
        return "result"

    monkeypatch.setattr(worker, "run", greedy)
    shared = Shared(scores={"one": ({}, 1)})
    assert worker.run_trial(trial, where, shared) == "result"
    assert attempts == [1, 0]
    attempts.clear()
    monkeypatch.setattr(worker, "run", lambda *rest: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(torch.OutOfMemoryError):
        worker.run_trial(trial, where, shared)
