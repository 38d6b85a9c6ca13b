"""Distillation: the loss, the dense run that teaches, and what refuses it."""

import pytest
import torch
from torch.nn import functional as F

from sweep import plan
from sweep.config import Config
from sweep.data import CLASSIFICATION
from sweep.errors import BadInput
from sweep.plan.jobs import own_steps, training_steps
from sweep.study import consistency
from sweep.study.identity import Trial
from sweep.trial import run
from sweep.trial.prefixes import Shared, dense_point, teacher_point
from sweep.trial.run import prepared
from sweep.trial.teacher import dense_config, divergence


def config(**fields):
    base = {
        "dataset": "digits",
        "model": "lenet-300-100",
        "criterion": "magnitude",
        "sparsity": 0.9,
        "epochs": 2,
        "batch_size": 256,
        "prune_epoch": 1,
        "retrain_loss": "distill",
    }
    return Config(**(base | fields))


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_the_loss_is_the_divergence_of_softened_shares_times_the_squared_temperature(shape):
    outputs, aims = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    p, q = (aims / 3).softmax(1), (outputs / 3).softmax(1)
    places = p.numel() / p.shape[1]
    expected = 9 * float((p * (p / q).log()).sum()) / places
    assert float(divergence(outputs, aims, 3)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(5, 10), (5, 10, 3)])
def test_a_network_that_is_its_own_teacher_has_no_gradient(shape):
    outputs = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = divergence(outputs, outputs.detach(), 4)
    loss.backward()
    assert abs(float(loss.detach())) < 1e-6 and float(outputs.grad.abs().max()) < 1e-7


def taught(**fields):
    """The stages of a trial, in the middle of its retraining."""
    stages = prepared(config(**fields), "data", torch.device("cpu"), Shared())
    stages.training.teacher = stages.teacher
    return stages


def test_with_the_teacher_itself_as_the_network_nothing_moves():
    stages = taught(distill_weight=1.0, weight_decay=0, momentum=0)
    stages.teacher.weights = before = stages.training.snapshot()
    list(stages.training.run(4))
    after = stages.model.state_dict()
    assert all(torch.allclose(before[name], after[name], rtol=0, atol=1e-6) for name in before)
    plain = prepared(config(weight_decay=0, momentum=0), "data", torch.device("cpu"), Shared())
    list(plain.training.run(4))
    assert (plain.training.snapshot()["1.weight"] - before["1.weight"]).abs().max() > 1e-3


def test_the_loss_is_a_mean_of_both_by_the_weight():
    stages = taught(distill_weight=0.25, distill_temperature=2)
    stages.teacher.weights = {name: -each for name, each in stages.training.snapshot().items()}
    batch = stages.data.train.take(torch.arange(8))
    inputs = stages.data.inputs(batch.images)
    outputs = stages.model(inputs)
    plain = F.cross_entropy(outputs, batch.labels)
    kl = divergence(outputs, stages.teacher.network()(inputs), 2)
    mixed = stages.teacher.loss(plain, outputs, inputs)
    assert float(mixed) == pytest.approx(0.75 * float(plain) + 0.25 * float(kl), rel=1e-6)


@pytest.mark.slow
def test_the_dense_run_of_the_same_config_teaches():
    """A trial that finds no dense run makes it; the loss of the curves stays that of the task."""
    dense = run(Trial(dense_config(config())), "data")
    stages = prepared(config(), "data", torch.device("cpu"), Shared())
    stages.run()
    network = stages.teacher.network()
    loss, accuracy = stages.training.evaluate(stages.data.test)
    stages.training._take(network)
    assert stages.training.evaluate(stages.data.test)[1] == dense.trial["test_accuracy"] != accuracy
    assert stages.training.trained == training_steps(config(), 5) + 5, "its first epoch too, without a store"
    assert abs(stages.recorder.curves[-1]["train_loss"] - loss) < 1


def test_one_trial_trains_the_teacher_and_the_others_wait_for_it():
    trials = [Trial.of(config(prune_epoch=t, epochs=10)) for t in (0, 2, 4)]
    jobs = {job.trial: job for chain in plan.share(trials) for job in chain}
    end = teacher_point(trials[0].config)
    assert end == dense_point(trials[0].config, None)
    [saver] = [job for job in jobs.values() if end in job.saves]
    waiting = [job for job in jobs.values() if job is not saver]
    assert saver.teacher is None and all(job.teacher == end and end.key in job.needs for job in waiting)
    own = sum(own_steps(job, 100) for job in jobs.values())
    # One dense run, and what each trains after its prune.
    assert own == 1000 + (1000 + 800 + 600)
    with_dense = [*trials, Trial.of(config(sparsity=0, epochs=10))]
    jobs = {job.trial: job for chain in plan.share(with_dense) for job in chain}
    assert end in jobs[with_dense[-1]].saves and all(jobs[each].teacher == end for each in trials)
    assert sum(own_steps(job, 100) for job in jobs.values()) == own


def test_a_trial_that_a_search_proposes_finds_the_teacher_of_an_earlier_one():
    jobs = plan.OneByOne()
    first, second = (jobs.job(Trial.of(config(prune_epoch=t))) for t in (0, 1))
    end = teacher_point(config())
    assert end in first.saves and end.key in second.loads and not plan.trains_alone(first.trial)
    assert all(point != end for point in second.path), "its dense training ends at its prune"


def test_options_of_distillation_matter_to_it_alone():
    plain = Trial.of(config(retrain_loss="plain"))
    assert plain == Trial.of(config(retrain_loss="plain", distill_weight=0.2, distill_temperature=1))
    assert (
        Trial.of(config()) != Trial.of(config(distill_weight=0.2)) != Trial.of(config(distill_temperature=1))
    )
    assert Trial.of(config(sparsity=0)) == Trial.of(config(sparsity=0, retrain_loss="plain"))
    assert plain.config.trunk == config().trunk, "dense training is shared"


@pytest.mark.parametrize("criterion", ["imp", "gmp", "edge-popup"])
def test_a_rule_without_a_training_after_its_last_prune_refuses(criterion):
    with pytest.raises(BadInput, match=r"leave out .*retrain_loss") as caught:
        consistency.check(config(criterion=criterion, prune_epoch=0))
    assert "\n" not in str(caught.value)


def test_a_task_without_classes_refuses():
    assert not list(consistency._of_task(config(), CLASSIFICATION))
    [(field, message)] = list(consistency._of_task(config(), "regression"))
    assert field == "retrain_loss" and message.endswith("is regression: leave it out")
