"""A twin is a second retraining in another order of the data; it changes nothing of the trial's own."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sweep import plan, rules
from sweep.config import Config
from sweep.data.splits import Data, Split
from sweep.plan.jobs import own_steps, training_steps
from sweep.store.states import Store
from sweep.study.consistency import Inconsistent
from sweep.study.identity import Trial
from sweep.trial import run, twins
from sweep.trial.prefixes import Shared
from sweep.trial.recorder import Recorder
from sweep.trial.run import prepared
from sweep.trial.training import Training
from tests.sweep.trial import test_prefixes
from tests.sweep.trial.test_prefixes import together, trial
from tests.sweep.trial.test_run import numbers

root = test_prefixes.root  # the fixture

COMPARED = ("lmc_barrier", "cka", "weight_distance")
KINDS = {
    "pruned once": {"prune_epoch": 1},
    "rewound": {"prune_epoch": 1.5, "rewind_epoch": 0.5, "optimizer": "adam", "lr": 0.01},
    "trained in part": {"prune_epoch": 1, "retrain": "bn+bias", "retrain_epochs": 1.3},
    "new weights": {"prune_epoch": 1, "ablation": "reinit"},
    "filters": {"structure": "filter", "sparsity": 0.5, "augment": "flip"},
    "oracle": {"criterion": "oracle", "structure": "filter", "sparsity": 0.5, "prune_epoch": 1.2},
    "levels": {"criterion": "imp", "sparsity": 0.36, "iterations": 2, "rewind_epoch": 0.5, "epochs": 1},
    "dense": {"sparsity": 0, "prune_epoch": 1.3},
    "dense, from the rewind": {"sparsity": 0, "prune_epoch": 2, "rewind_epoch": 0.5},
    "dense, from the start": {"sparsity": 0},
    "BatchNorm": {"model": "resnet-20", "epochs": 1, "prune_epoch": 0.5},
}


def own(result):
    """The numbers of a trial but for its identity, its twin and its cost."""
    fields = {"trial_id", "config", "arm", "trained_steps", "prune_epoch", "rewind_epoch", *COMPARED}
    return [{name: value for name, value in row.items() if name not in fields} for row in numbers(result)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_changes_no_number_of_the_trial_and_is_the_trial_itself_in_the_same_order(kind, root):
    fields = KINDS[kind]
    plain = run(trial(**fields), root, masks=True)
    other, same = (run(trial(**fields, twin_seed=seed), root, masks=True) for seed in (7, 0))
    assert repr(own(plain)) == repr(own(other)) == repr(own(same))
    assert [plain.trial.get(name) for name in COMPARED] == [None] * 3
    assert [same.trial[name] for name in COMPARED] == [0.0, 1.0, 0.0]
    assert 0 < other.trial["cka"] < 1 and -1 <= other.trial["lmc_barrier"] <= 1
    if fields.get("retrain"):
        assert other.trial["weight_distance"] == 0, "no kept weight was trained"
    else:
        assert 0 < other.trial["weight_distance"] < 2
    extra = other.trial["trained_steps"] - plain.trial["trained_steps"]
    config = trial(**fields, twin_seed=7).config
    assert extra == rules.find(config.criterion).repeated(config, 10) > 0


def test_a_twin_is_part_of_the_trial_and_of_the_arm():
    plain, twin = trial(), trial(twin_seed=7)
    assert len({plain.id, twin.id, trial(twin_seed=8).id}) == 3 and plain.arm != twin.arm
    assert plain.config.trunk == twin.config.trunk, "what is trained before the prune is shared"
    assert (
        trial(sparsity=0) != trial(sparsity=0, twin_seed=7) != trial(sparsity=0, twin_seed=7, prune_epoch=1)
    )
    assert trial(sparsity=0, prune_epoch=1, rewind_epoch=0, twin_seed=7) == trial(sparsity=0, twin_seed=7)
    assert trial(sparsity=0, prune_epoch=1) == trial(sparsity=0)


@pytest.mark.parametrize("criterion", ["gmp", "set", "rigl", "granet"])
def test_a_rule_without_a_last_training_to_repeat_is_refused_in_one_line(criterion):
    with pytest.raises(Inconsistent, match=r"twin_seed: .* take a criterion that prunes once, or one of imp"):
        trial(criterion=criterion, twin_seed=7, update_every=4)


@pytest.mark.slow
def test_twins_go_on_from_states_that_other_trials_save(root, tmp_path):
    trials = [
        trial(sparsity=0),
        trial(sparsity=0, twin_seed=7, prune_epoch=1),
        *(trial(prune_epoch=1.5, rewind_epoch=0.5, twin_seed=seed) for seed in (None, 7)),
        trial(sparsity=0, twin_seed=7, prune_epoch=1.5, rewind_epoch=0.5),
        *(
            trial(criterion="imp", sparsity=s, iterations=n, twin_seed=seed)
            for s, n, seed in ((0.2, 1, 7), (0.36, 2, None), (0.488, 3, 7))
        ),
    ]
    alone = [run(each, root) for each in trials]
    found, steps = together(trials, Store(tmp_path), root)
    test_prefixes.same(found, alone)
    planned = sum(own_steps(job, 10) for pack in plan.packs(trials, 1) for job in pack.jobs)
    assert steps == planned < sum(each.trial["trained_steps"] for each in alone)
    assert [each.trial["trained_steps"] for each in alone] == [
        training_steps(each.config, 10) for each in trials
    ]


@pytest.mark.slow
def test_a_twin_that_diverges_leaves_its_columns_empty_and_the_trial_as_it_is(root, monkeypatch):
    monkeypatch.setattr(Recorder, "is_bounded", lambda self, loss: self.curves[-1]["phase"] != "retrain")
    monkeypatch.setattr(Recorder, "record_epoch", _recorded_alone(Recorder.record_epoch))
    found = run(trial(prune_epoch=1, twin_seed=7), root)
    assert found.trial["status"] == "ok" and [found.trial.get(name) for name in COMPARED] == [None] * 3
    plain = run(trial(prune_epoch=1), root)
    assert own(found) == own(plain)


def _recorded_alone(record):
    """Records an epoch and calls it sound, whatever `is_bounded` says: that of the twin is asked alone."""

    def recorded(self, phase, loss):
        record(self, phase, loss)
        return True

    return recorded


@pytest.mark.slow
def test_a_trial_that_is_stopped_trains_no_twin(root):
    found = run(trial(twin_seed=7), root, after_epoch=lambda epoch, accuracy, last: True)
    assert found.trial["status"] == "stopped" and found.trial["trained_steps"] == 10


# The measures


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_barrier_is_where_the_error_differs_most_from_the_mean_of_the_ends(errors):
    found, ends = twins.barrier(errors), (errors[0] + errors[-1]) / 2
    assert abs(found) == pytest.approx(max(abs(ends - error) for error in errors), abs=1e-11)
    assert any(found == ends - error for error in errors)


def test_a_hill_between_two_networks_is_negative_and_a_valley_positive():
    assert twins.barrier([0.1, 0.5, 0.9, 0.3]) == pytest.approx(0.2 - 0.9)
    assert twins.barrier([0.4, 0.1, 0.4]) == pytest.approx(0.3)
    for worse in (0.3, 0.1 + 0.2, 0.7, 0.9):
        assert twins.barrier([0.1, 0.15, worse]) == pytest.approx((worse - 0.1) / 2), "a slope: its first end"
        assert twins.barrier([worse, 0.15, 0.1]) == pytest.approx((0.1 - worse) / 2)


def linear(seed):
    """A linear network, its data, and the sum of squares of the targets about their mean."""
    draws = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(40, 5, generator=draws), torch.randn(40, 1, generator=draws)
    targets = x @ torch.randn(5, 1, generator=draws) + 0.3 * noise
    split = Split(x, targets)
    model = nn.Sequential(nn.Linear(5, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    return model, Data(split, split, split, split, 1, None, None, "regression"), draws


@pytest.mark.parametrize("seed", range(3))
def test_the_barrier_of_a_quadratic_loss_is_that_of_its_closed_form(seed):
    """The error 1 − R² of a linear network is quadratic in its weights: between a and b it sags by
    t (1 − t) |X (a − b)|² / SST below the straight line between its values at a and b."""
    model, data, draws = linear(seed)
    config = Config(dataset="digits", model="conv-5", criterion="snip", sparsity=0.5, epochs=1, twin_seed=7)
    training = Training(config, model, data)
    twin = twins.Twin(config, training, Recorder(config, training), [], None)
    one = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    other = {name: t + 0.5 * torch.randn(t.shape, generator=draws) for name, t in one.items()}
    found = twin._compared(one, other)

    x = np.c_[data.train.pixels.numpy(), np.ones(40)].astype(float)
    a, b = (np.append(w["0.weight"].double().numpy(), float(w["0.bias"])) for w in (one, other))
    y = data.train.labels.numpy()[:, 0].astype(float)
    sst = ((y - y.mean()) ** 2).sum()
    ends = [((y - x @ w) ** 2).sum() / sst for w in (a, b)]
    sag = ((x @ (a - b)) ** 2).sum() / sst
    differences = [
        (ends[0] + ends[1]) / 2 - ((1 - t) * ends[0] + t * ends[1] - t * (1 - t) * sag)
        for t in np.linspace(0, 1, 11)
    ]
    assert found["lmc_barrier"] == pytest.approx(
        max(differences, key=lambda difference: round(abs(difference), 9)), rel=1e-4
    )
    assert found["cka"] == pytest.approx(np.corrcoef(x @ a, x @ b)[0, 1] ** 2, rel=1e-4)
    difference = np.linalg.norm((a - b)[:-1])
    norms = (np.linalg.norm(a[:-1]) + np.linalg.norm(b[:-1])) / 2
    assert found["weight_distance"] == pytest.approx(difference / norms, rel=1e-5)


def slow_cka(x, y):
    """Hilbert–Schmidt independence of centred Gram matrices: the other way to write linear CKA."""
    n = len(x)
    centre = np.eye(n) - 1 / n
    k, m = (centre @ (z @ z.T) @ centre for z in (x, y))
    return np.trace(k @ m) / math.sqrt(np.trace(k @ k) * np.trace(m @ m))


@settings(deadline=None)
@given(st.integers(2, 12), st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
def test_cka_is_that_of_gram_matrices_whichever_are_smaller(n, p, q, seed):
    draws = np.random.default_rng(seed)
    x, y = draws.normal(size=(n, p)), draws.normal(size=(n, q))
    found = twins.cka(torch.tensor(x), torch.tensor(y))
    assert found == pytest.approx(slow_cka(x, y), abs=1e-9) and 0 <= found <= 1


@settings(deadline=None)
@given(st.integers(3, 12), st.integers(1, 5), st.integers(0, 10**6), st.floats(0.1, 10))
def test_cka_sees_no_rotation_scale_or_shift_of_outputs(n, p, seed, scale):
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(n, p))
    rotation, _ = np.linalg.qr(draws.normal(size=(p, p)))
    moved = torch.tensor(scale * x @ rotation + draws.normal(size=p))
    assert twins.cka(torch.tensor(x), moved) == pytest.approx(1)


def test_what_has_no_spread_has_no_alignment():
    assert math.isnan(twins.cka(torch.ones(4, 2), torch.randn(4, 2)))


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_the_distance_of_weights_is_symmetric_without_scale_and_at_most_2(seed, scale):
    draws = torch.Generator().manual_seed(seed)
    a, b = ([torch.randn(shape, generator=draws) for shape in ((2, 3), (4,))] for _ in range(2))
    found = twins.distance(a, b)
    assert 0 < found <= 2 and found == pytest.approx(twins.distance(b, a))
    assert twins.distance([scale * w for w in a], [scale * w for w in b]) == pytest.approx(found, rel=1e-5)
    assert twins.distance(a, a) == 0 and twins.distance(a, [-w for w in a]) == pytest.approx(2)
    assert twins.distance([torch.zeros(3)], [torch.zeros(3)]) == 0


def test_between_two_networks_the_ends_are_themselves_and_counts_those_of_the_first():
    one = {"w": torch.tensor([0.1, 0.7]), "n": torch.tensor(3)}
    other = {"w": torch.tensor([0.3, -0.9]), "n": torch.tensor(5)}
    for place, end in ((0.0, one), (1.0, other)):
        assert twins.between(one, other, place)["w"].equal(end["w"])
    assert twins.between(one, other, 1.0)["n"] == 3
    assert twins.between(one, one, 0.3)["w"].equal(one["w"])


def test_an_own_network_with_many_outputs_is_compared_on_fewer_images(root, monkeypatch):
    monkeypatch.setattr(twins, "_NUMBERS", 50)
    stages = prepared(trial(twin_seed=7).config, root, torch.device("cpu"), Shared())
    weights = stages.training.snapshot()
    assert [len(outputs) for outputs in stages.twin._outputs(weights, weights)] == [5, 5]


def test_an_arm_with_a_twin_is_trained_as_one_without_on_every_seed():
    for seed in (0, 3):
        config = replace(trial(twin_seed=7).config, seed=seed)
        assert config.roots == replace(config, twin_seed=None).roots
    assert Trial.parse(trial(twin_seed=7).canonical) == trial(twin_seed=7)
