from pathlib import Path

import pytest
import torch

from sweep import data
from sweep.config import Config
from sweep.errors import BadInput
from sweep.plan import Job, share
from sweep.plan.cost import Costs
from sweep.study.identity import Trial
from sweep.trial import run


def config(**fields):
    return Config(
        **({"dataset": "digits", "model": "conv-5", "criterion": "random", "sparsity": 0.9} | fields)
    )


@pytest.fixture
def costs():
    """Costs with given speeds, so that nothing is timed."""
    return Costs(Path("data"), torch.device("cpu"), {"conv-5": 1e-9, "lenet-300-100": 1e-9})


def test_missing_data_are_looked_up_once(monkeypatch):
    """A look at an object store that does not answer takes half a minute, and studies have many trials."""
    asked = []

    def sizes(*words):
        asked.append(words)
        raise BadInput("away")

    monkeypatch.setattr(data, "sizes", sizes)
    costs = Costs("s3://away/data", torch.device("cpu"))
    assert [costs.roughly(Job(Trial.of(config(epochs=2, seed=seed)))) for seed in range(5)] == [1.0] * 5
    assert len(asked) == 1


def test_costs_grow_with_epochs_scoring_and_the_network(costs):
    once = costs.alone(config(epochs=5))
    assert 0 < once < costs.alone(config(epochs=10)) < 2 * once
    one, many = (
        costs.alone(config(epochs=5, criterion=c, iterations=n)) for c, n in (("snip", 1), ("force", 20))
    )
    assert many > one > once
    assert costs.alone(config(epochs=5, model="lenet-300-100")) < once, "fewer multiply-adds"


def test_shared_training_costs_a_job_nothing(costs):
    trials = [Trial.of(config(epochs=10, prune_epoch=8, criterion=c)) for c in ("random", "magnitude")]
    maker, other = (job for chain in share(trials) for job in chain)
    assert costs.job(maker) == costs.alone(maker.trial.config) > 3 * costs.job(other)


def test_a_teacher_costs_its_training_once_and_a_pass_in_each_step(costs):
    trials = [
        Trial.of(config(epochs=10, prune_epoch=t, criterion="magnitude", retrain_loss="distill"))
        for t in (10, 8, 8.5)
    ]
    maker, *others = sorted(
        (job for chain in share(trials) for job in chain), key=lambda job: job.teacher is not None
    )
    plain = costs.alone(config(epochs=10, prune_epoch=8, criterion="magnitude"))
    assert 0.9 * plain < costs.job(maker) < 1.5 * plain and all(job.teacher for job in others)
    for job in others:
        retrained = Trial.of(
            config(epochs=10, prune_epoch=job.trial.config.prune_epoch, criterion="magnitude")
        )
        without = costs.job(Job(retrained, job.start))
        assert without < costs.job(job) < 1.4 * without


@pytest.mark.slow
def test_the_speed_is_learnt_from_earlier_results():
    asked = Trial.of(config(epochs=2))
    row = run(asked).trial
    costs = Costs(Path("data"), torch.device("cpu"))
    costs.learn([row, row | {"train_seconds": 1e9, "device": "NVIDIA H200"}, row | {"trained_steps": None}])
    steps = costs.epoch(asked.config) * 2
    evaluation = costs.alone(asked.config) / row["train_seconds"]
    assert steps == row["trained_steps"] and 1 < evaluation < 3


@pytest.mark.slow
def test_a_large_network_is_timed_on_few_images():
    costs = Costs(Path("data"), torch.device("cpu"))
    seconds = costs.job(Job(Trial.of(config(epochs=1, model="resnet-18", batch_size=512))))
    assert 0.1 < seconds < 1000


def test_without_the_data_every_trial_costs_the_same():
    costs = Costs(Path("nowhere"), torch.device("cpu"))
    jobs = [Job(Trial.of(config(epochs=n, dataset="mnist"))) for n in (1, 9)]
    assert [costs.roughly(job) for job in jobs] == [1.0, 1.0]
