"""What a launch says about trained weights before any trial runs."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch
from safetensors.torch import save_file

from sweep import models
from sweep.config import Config
from sweep.engine import starts
from sweep.errors import BadInput
from sweep.models import weights
from sweep.store.states import Store
from sweep.store.writer import Writer
from sweep.study import load
from sweep.study.identity import Trial

STUDY = "dataset: digits\nmodel: {model}\nepochs: 2\nsparsity: 0.9\ncriterion: snip\nweights: {weights}\n"
EARLIER = Trial.of(Config(dataset="digits", model="lenet-300-100", criterion="snip", sparsity=0.5, epochs=1))


def save(path, model="lenet-300-100", shape=(1, 8, 8), classes=10):
    net = models.build(model, shape, classes, 3)
    save_file({name: each.contiguous() for name, each in net.state_dict().items()}, path)


@pytest.fixture
def check(tmp_path):
    def check(weights, model="lenet-300-100", more=""):
        (tmp_path / "study.yaml").write_text(STUDY.format(weights=weights, model=model) + more)
        study = load(tmp_path / "study.yaml")
        return starts.check(study, study.trials(), tmp_path / "results", "data")

    return check


def record(folder, *trials, status="ok"):
    now = datetime.now(UTC)
    writer = Writer(folder, "one")
    for each in trials:
        row = each.columns() | {"status": status, "code": "x", "started_at": now, "finished_at": now}
        writer.add(row, [], [])
    writer.close()


def test_weights_that_fit_are_sent(check, tmp_path):
    save(tmp_path / "net.safetensors")
    assert check("net.safetensors") == []
    study = load(tmp_path / "study.yaml")
    starts.send(study, study.trials(), tmp_path / "results")
    [name] = study.weights
    sent = tmp_path / "results" / ".weights" / f"{name.rpartition('@')[2]}.safetensors"
    assert sent.read_bytes() == (tmp_path / "net.safetensors").read_bytes()


def test_a_study_may_name_weights_that_an_earlier_launch_has_sent(check, tmp_path):
    """As the study of a search's best schedule does."""
    save(tmp_path / "net.safetensors")
    check("net.safetensors")
    study = load(tmp_path / "study.yaml")
    [name] = study.weights
    with pytest.raises(BadInput, match=r"weights net\.safetensors: their file is not here"):
        check(name)
    starts.send(study, study.trials(), tmp_path / "results")
    assert check(name) == []
    named = load(tmp_path / "study.yaml")
    starts.send(named, named.trials(), tmp_path / "results")
    assert [trial.id for trial in named.trials()] == [trial.id for trial in study.trials()]
    for file in (tmp_path / "results" / ".weights").iterdir():
        file.write_bytes(b"evil")
    with pytest.raises(BadInput, match="not the file that the study names"):
        check(name)


def test_weights_of_another_network_are_one_line_that_names_the_file(check, tmp_path):
    save(tmp_path / "net.safetensors", classes=12)
    with pytest.raises(
        BadInput, match=r"weights net\.safetensors: other shapes: .*12×100, in the network 10×100"
    ):
        check("net.safetensors")
    (tmp_path / "net.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"weights net\.safetensors: no weights can be read from it"):
        check("net.safetensors")


def test_a_sparse_start_is_checked_at_the_lowest_sparsity(check, tmp_path):
    net = models.build("lenet-300-100", (1, 8, 8), 10, 3)
    with torch.no_grad():
        net.state_dict()["1.weight"].zero_()
    save_file(
        {name: each.contiguous() for name, each in net.state_dict().items()}, tmp_path / "net.safetensors"
    )
    assert check("net.safetensors", more="keep_mask: true\n") == []
    with pytest.raises(BadInput, match="ask for a higher sparsity"):
        check("net.safetensors", more="keep_mask: true\nblocks: [{sparsity: [0.9, 0.1]}, {sparsity: 0.95}]\n")


def test_an_earlier_trial_is_found_among_the_results_of_all_studies(check, tmp_path):
    with pytest.raises(BadInput, match=f"weights run:{EARLIER.id}: no trial of this id has a result under"):
        check(f"run:{EARLIER.id}")
    second = Trial.of(replace(EARLIER.config, weights=f"run:{EARLIER.id}"))
    record(tmp_path / "results" / "one", EARLIER, second)
    assert check(f"run:{second.id}") == []
    study = load(tmp_path / "study.yaml")
    found = starts.earlier(study, study.trials(), tmp_path / "results")
    assert found == {each.id: each.canonical for each in (EARLIER, second)}
    with pytest.raises(BadInput, match="they lack"):
        check(f"run:{second.id}", model="conv-5")


@pytest.mark.parametrize("model", ["lenet-300-100", "resnet-20"])
def test_a_trial_whose_compensation_added_biases_is_no_start_and_said_so_before_it_runs_again(
    model, check, tmp_path
):
    biased = Trial.of(replace(EARLIER.config, model=model, compensate="bias"))
    record(tmp_path / "results" / "first", biased)
    if model == "lenet-300-100":  # its layers have biases already
        assert check(f"run:{biased.id}", model=model) == []
        return
    with pytest.raises(BadInput, match=r"its compensate: bias gave layers biases that resnet-20") as caught:
        check(f"run:{biased.id}", model=model)
    assert "\n" not in str(caught.value) and ".bias: take a trial without it" in str(caught.value)


def test_a_failed_trial_has_no_weights(check, tmp_path):
    record(tmp_path / "results" / "one", EARLIER, status="failed")
    with pytest.raises(BadInput, match="this trial failed: it has no final weights"):
        check(f"run:{EARLIER.id}")


def test_an_earlier_trial_of_code_that_is_not_here_needs_its_saved_weights(check, tmp_path):
    own = Trial(replace(EARLIER.config, model="nets.py:mine@0123456789ab"))
    record(tmp_path / "results" / "one", own)
    (tmp_path / "study.yaml").write_text(STUDY.format(weights=f"run:{own.id}", model="lenet-300-100"))
    study = load(tmp_path / "study.yaml")
    with pytest.raises(BadInput, match=r"takes nets\.py:mine@0123456789ab: .* does not name this code"):
        starts.earlier(study, study.trials(), tmp_path / "results")
    Store(tmp_path / "results" / ".weights").save(f"run-{own.id}", {"model": {}})
    assert starts.earlier(study, study.trials(), tmp_path / "results") == {own.id: own.canonical}


@pytest.mark.slow
def test_what_torchvisions_weights_leave_to_draw_is_said(tmp_path, monkeypatch):
    """With a file that stands for the real one, which a test does not download."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    name = weights.of_torchvision("torchvision:resnet18")
    (tmp_path / "checkpoints").mkdir()
    net = models.build("torchvision:resnet18", (3, 32, 32), 1000, 3)
    torch.save(net.state_dict(), tmp_path / "checkpoints" / name.partition("@")[0])
    monkeypatch.setattr(
        starts, "_network", lambda *words: models.build("torchvision:resnet18", (3, 32, 32), 10, 0)
    )
    (tmp_path / "study.yaml").write_text(
        STUDY.format(weights="torchvision", model="torchvision:resnet18").replace("digits", "cifar10")
    )
    study = load(tmp_path / "study.yaml")
    assert starts.check(study, study.trials(), tmp_path, "data") == [
        "weights resnet18-f37072fd.pth: fc.weight and fc.bias drawn anew, for cifar10"
    ]
