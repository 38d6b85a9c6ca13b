import pytest
import torch

from sweep import schedule
from sweep.config import Config, Trial
from sweep.prefixes import Shared


@pytest.mark.parametrize(
    ("nodes", "gpus", "expected"),
    [
        ([{"CPU": 2.0}], 0, (2, 1)),
        ([{"CPU": 0.0}, {"CPU": 4.0}, {"GPU": 1.0}], 0, (4, 1)),
        ([{"CPU": 16.0, "GPU": 1.0}], 0.25, (4, 4)),
        ([{"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}], 1, (2, 8)),
        ([{"CPU": 64.0}, {"CPU": 16.0, "GPU": 1.0}], 0.5, (2, 8)),
        ([{"CPU": 8.0, "GPU": 2.0}], 0.6, (2, 4)),
        ([{"CPU": 32.0, "GPU": 4.0}], 2, (2, 16)),
        ([{"CPU": 2.0, "GPU": 1.0}], 0.1, (2, 1)),
        ([{"CPU": 8.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 4.0}], 1, (5, 1)),
        ([{"CPU": 8.0}], 1, (0, 1)),
        ([], 0, (0, 1)),
    ],
)
def test_workers_get_what_a_single_node_has(nodes, gpus, expected):
    """A GPU's share is of one GPU, and cores are those of the node that the GPU is in."""
    assert schedule.slots(nodes, gpus) == expected


def test_too_little_memory_on_a_gpu_is_tried_once_more_with_it_cleared(monkeypatch, tmp_path):
    where = schedule.Where("data", str(tmp_path))
    trial = Trial.of(Config(dataset="digits", model="conv-5", criterion="snip", sparsity=0.9, epochs=2))
    attempts = []

    def greedy(trial, data_root, device, shared, after_epoch):
        attempts.append(len(shared.scores))
        if len(attempts) == 1:
            raise torch.OutOfMemoryError("too little")
        return "result"

    monkeypatch.setattr(schedule, "run", greedy)
    shared = Shared(scores={"one": ({}, 1)})
    assert schedule.run_trial(trial, where, shared) == "result"
    assert attempts == [1, 0]
    attempts.clear()
    monkeypatch.setattr(schedule, "run", lambda *rest: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(torch.OutOfMemoryError):
        schedule.run_trial(trial, where, shared)
