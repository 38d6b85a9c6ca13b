"""A trial that starts from trained weights: of a file, or of an earlier trial."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import pruners
from sweep import data
from sweep.config import Config
from sweep.errors import BadInput
from sweep.store import weights as sent
from sweep.store.places import place
from sweep.study.identity import Trial
from sweep.trial import run, starts
from sweep.trial.prefixes import Shared, dense_point
from sweep.trial.run import one_thread, prepared
from sweep.trial.starts import Starts
from sweep.trial.training import Training
from tests.sweep.trial.test_run import numbers

CPU = torch.device("cpu")


def trial(**fields):
    base = {
        "dataset": "digits",
        "model": "lenet-300-100",
        "criterion": "magnitude",
        "sparsity": 0.5,
        "epochs": 2,
    }
    return Trial.of(Config(**(base | fields)))


@pytest.fixture(scope="module")
def earlier():
    """A trial, and its final network."""
    asked = trial(criterion="snip", sparsity=0.6, lr=0.2, seed=5)
    with one_thread(CPU):
        stages = prepared(asked.config, "data", CPU, Shared())
        stages.run()
    return asked, stages.model


@pytest.fixture
def given(earlier, tmp_path):
    """The name of a file with this network, and what gives it."""
    path = tmp_path / "net.safetensors"
    save_file({name: each.contiguous() for name, each in earlier[1].state_dict().items()}, path)
    name = sent.name(path)
    sent.send(name, path, tmp_path / ".weights")
    return name, Starts(tmp_path / ".weights")


def test_a_trial_from_a_file_is_training_on_by_hand(earlier, given):
    name, starting = given
    asked = trial(weights=name, epochs=1)
    result = run(asked, shared=Shared(weights=starting))
    config, loaded = asked.config, data.load("digits", "data", 0.1, 0)
    with one_thread(CPU):
        stages = prepared(replace(config, weights=None), "data", CPU, Shared())
        stages.model.load_state_dict(earlier[1].state_dict())
        training = Training(config, stages.model, loaded)
        training.mask(pruners.prune("magnitude", stages.model, sparsity=0.5))
        before = result.trial["pre_test_loss"], result.trial["pre_test_accuracy"]
        assert before == training.evaluate(loaded.test)
        list(training.run(training.end))
        assert result.trial["test_loss"] == training.evaluate(loaded.test)[0]


def test_seeds_of_a_trial_from_a_file_draw_no_weights(given):
    name, starting = given
    one, other = (
        run(trial(weights=name, init_seed=seed, epochs=1), shared=Shared(weights=starting)).trial["test_loss"]
        for seed in (1, 2)
    )
    assert one == other


def test_fresh_weights_that_are_scored_are_drawn_all_the_same(given):
    name, starting = given
    losses = {
        run(trial(weights=name, epochs=1, **fields), shared=Shared(weights=starting)).trial["pre_test_loss"]
        for fields in ({}, {"score_init": "fresh"}, {"score_init": "fresh", "mask_seed": 7})
    }
    assert len(losses) == 3


@pytest.mark.slow
def test_an_earlier_trial_is_run_again_and_its_network_goes_on(earlier, tmp_path, monkeypatch):
    asked, _ = earlier
    result = run(asked)
    runs = []
    again = starts.prepared
    monkeypatch.setattr(starts, "prepared", lambda *words: runs.append(words) or again(*words))
    starting = Starts(tmp_path / ".weights", earlier={asked.id: asked.canonical})
    # So few weights that none is removed.
    later = trial(weights=f"run:{asked.id}", sparsity=1e-9, epochs=1)
    found = run(later, shared=Shared(weights=starting))
    for column in ("test_loss", "test_accuracy"):
        assert found.trial[f"pre_{column}"] == result.trial[column]
    # Another worker reads what the first one has saved.
    other = run(later, shared=Shared(weights=Starts(tmp_path / ".weights")))
    assert numbers(other) == numbers(found)
    assert len(runs) == 1
    for saved in (tmp_path / ".weights").iterdir():
        saved.write_bytes(b"damaged")
    assert numbers(run(later, shared=Shared(weights=replace(starting)))) == numbers(found)
    assert len(runs) == 2


def test_an_earlier_trial_that_started_from_an_earlier_one(earlier, tmp_path):
    asked, _ = earlier
    middle = trial(weights=f"run:{asked.id}", epochs=1)
    last = trial(weights=f"run:{middle.id}", sparsity=1e-9, epochs=1)
    known = {each.id: each.canonical for each in (asked, middle)}
    starting = Starts(tmp_path / ".weights", earlier=known)
    expected = run(middle, shared=Shared(weights=starting)).trial["test_loss"]
    assert run(last, shared=Shared(weights=starting)).trial["pre_test_loss"] == expected


@pytest.mark.parametrize("shared", [None, "empty"])
def test_weights_that_are_not_here_are_one_line(shared, tmp_path):
    given = Shared(weights=Starts(tmp_path)) if shared else Shared()
    for name in ("run:0123456789abcdef", "net.pt@0123456789abcdef"):
        with pytest.raises(BadInput) as error:
            run(trial(weights=name), shared=given)
        assert "\n" not in str(error.value)


def test_an_earlier_trial_that_diverged_has_no_network(tmp_path):
    wild = trial(lr=1e6)
    starting = Starts(tmp_path, earlier={wild.id: wild.canonical})
    with pytest.raises(BadInput, match="diverged"):
        run(trial(weights=f"run:{wild.id}"), shared=Shared(weights=starting))


def test_trials_share_dense_training_only_from_the_same_weights():
    names = (None, "a.pt@0123456789abcdef", "a.pt@0123456789abcdee", "run:0123456789abcdef")
    assert len({dense_point(trial(weights=name).config, 1).key for name in names}) == 4
    assert len({trial(weights=name).id for name in names}) == 4
    assert len({trial(weights=name).arm for name in names}) == 4


@pytest.mark.parametrize("criterion", ["magnitude", "snip", "random", "grasp", "force", "synflow"])
def test_a_sparse_start_keeps_its_mask_from_dense_training_to_the_end(earlier, given, criterion):
    name, starting = given
    zero = {each: weight == 0 for each, weight in pruners.prunable(earlier[1]).items()}
    removed = sum(int(each.count_nonzero()) for each in zero.values())
    iterations = {"force": 3, "synflow": 3}.get(criterion, 1)
    fields = {"criterion": criterion, "iterations": iterations, "sparsity": 0.8, "prune_epoch": 1}
    config = trial(weights=name, keep_mask=True, **fields).config
    with one_thread(CPU):
        stages = prepared(config, "data", CPU, Shared(weights=starting))
        recorder = stages.run()
    kept = pruners.kept_count(stages.total, 0.8)
    assert [row["kept"] for row in recorder.curves] == [stages.total - removed, kept]
    row = recorder.outcome()
    assert (row["kept"], row["density"]) == (kept, kept / stages.total)
    assert sum(layer["kept"] for layer in recorder.layers) == kept
    for each, weight in pruners.prunable(stages.model).items():
        assert not weight[zero[each]].any(), "no removed weight came back"
    assert sum(int(weight.count_nonzero()) for weight in pruners.prunable(stages.model).values()) == kept


def test_without_keep_mask_removed_weights_are_trained_again(earlier, given):
    name, starting = given
    with one_thread(CPU):
        asked = trial(weights=name, sparsity=0, epochs=1).config
        stages = prepared(asked, "data", CPU, Shared(weights=starting))
        stages.run()
    before, after = (
        sum(int(weight.count_nonzero()) for weight in pruners.prunable(model).values())
        for model in (earlier[1], stages.model)
    )
    assert after > 1.5 * before


def test_a_start_that_is_sparser_than_asked_is_refused(given):
    name, starting = given
    for sparsity in (0, 0.5):
        with pytest.raises(BadInput, match=r"keep_mask: weights net\.safetensors keep .* a higher sparsity"):
            run(trial(weights=name, keep_mask=True, sparsity=sparsity), shared=Shared(weights=starting))


def test_a_scope_that_asks_a_layer_for_removed_weights_is_refused(given):
    name, starting = given
    with pytest.raises(BadInput, match="keep_mask: scope erk"):
        run(trial(weights=name, keep_mask=True, sparsity=0.61, scope="erk"), shared=Shared(weights=starting))


def test_files_and_earlier_trials_lie_in_an_object_store_too(earlier, given, bucket, tmp_path):
    folder, name = place(f"{bucket}/results/.weights"), given[0]
    sent.send(name, tmp_path / "net.safetensors", folder)
    known = {earlier[0].id: earlier[0].canonical}
    asked = (trial(weights=each, epochs=1) for each in (name, f"run:{earlier[0].id}"))
    one, other = (run(each, shared=Shared(weights=Starts(folder, earlier=known))) for each in asked)
    assert one.trial["test_loss"] == other.trial["test_loss"], "the file holds this trial's network"
    assert {each.name for each in folder.iterdir()} >= {f"run-{earlier[0].id}-cpu.pt"}
