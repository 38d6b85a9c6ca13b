"""A trial with `shrink` trains the network that its masks leave, really smaller, as the masked one is trained."""

import json
import re
from pathlib import Path

import onnxruntime
import pytest
import torch

import pruners
from pruners import interop
from sweep import parts
from sweep.errors import BadInput
from sweep.store import kept
from sweep.trial import files, run
from sweep.trial.__main__ import main
from sweep.trial.prefixes import Shared
from sweep.trial.run import prepared
from sweep.trial.starts import Starts
from tests import commands
from tests.sweep.trial.earlier import record
from tests.sweep.trial.test_run import numbers, trial

CPU = torch.device("cpu")


def shrunk(**fields):
    return trial(**{"structure": "channel", "sparsity": 0.5, "scope": "uniform", "shrink": True} | fields)


def stages_of(asked):
    """The stages of a trial that has ended."""
    stages = prepared(asked.config, "data", CPU, Shared())
    stages.run()
    return stages


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"prune_epoch": 1},
        {"prune_epoch": 1, "optimizer": "adam", "lr": 0.01, "label_smoothing": 0.1},
        {"prune_epoch": 1.4, "rewind_epoch": 0.5, "criterion": "magnitude"},
        {"prune_epoch": 1, "retrain_epochs": 1, "retrain": "bn+bias"},
        {"ablation": "reinit", "lr": 0.02},
        {"model": "resnet-20", "lr": 0.003, "epochs": 1},
        {"model": "lstm-s", "lr": 0.5},
        {"model": "resnet-20", "structure": "block", "scope": "global", "lr": 0.05, "prune_epoch": 1},
    ],
    ids=lambda fields: " ".join(map(str, fields.values())),
)
def test_the_smaller_network_is_trained_as_the_masked_one_is_but_for_rounding(fields):
    """The same images in the same order, with its part of the momentum: no step tells the two apart."""
    small, masked = run(shrunk(**fields), masks=True), run(shrunk(**fields, shrink=False), masks=True)
    assert small.masks == [row | {"trial_id": small.trial["trial_id"]} for row in masked.masks]
    assert len(small.curves) == len(masked.curves)
    for one, other in zip(small.curves, masked.curves, strict=True):
        for column in ("train_loss", "val_loss", "test_loss"):
            assert one[column] == pytest.approx(other[column], rel=1e-3), column
        assert [one[name] for name in ("phase", "kept", "lr")] == [
            other[name] for name in ("phase", "kept", "lr")
        ]
    same = (
        "params",
        "kept",
        "density",
        "effective_density",
        "macs_dense",
        "macs_masked",
        "mean_active_params",
    )
    assert [small.trial[name] for name in same] == [masked.trial[name] for name in same]
    assert small.trial["flops"] == 2 * masked.trial["macs_masked"]
    assert masked.trial["flops"] == 2 * masked.trial["macs_dense"]


@pytest.mark.slow
def test_flops_are_those_of_the_smaller_network_and_only_it_is_timed():
    """By hand: of conv-5 on 8×8 images, whose layers have 16, 32, 64, 64 and 64 channels, a half is left."""
    found, dense = run(shrunk(epochs=1)).trial, run(trial(sparsity=0, epochs=1)).trial
    inputs, outputs, pixels = (1, 8, 16, 32, 32), (8, 16, 32, 32, 32), (64, 16, 16, 4, 4)
    convolutions = sum(9 * i * o * p for i, o, p in zip(inputs, outputs, pixels, strict=True))
    assert found["flops"] == 2 * (convolutions + 32 * 10)
    assert found["latency_ms"] > 0 and found["speedup"] > 0
    assert dense["flops"] == 2 * dense["macs_dense"]
    assert (dense["latency_ms"], dense["speedup"]) == (None, None)


@pytest.mark.slow
def test_a_trial_that_shrinks_gives_the_same_numbers_bit_by_bit_and_shrink_changes_no_other_id():
    asked = shrunk(prune_epoch=1)
    assert numbers(run(asked)) == numbers(run(asked))
    plain = shrunk(prune_epoch=1, shrink=False)
    assert "shrink" not in json.loads(plain.canonical) and plain.id != asked.id
    assert shrunk(sparsity=0) == trial(sparsity=0), "a dense network stays as it is"


@pytest.fixture(scope="module", params=["channel", "block"])
def ended(request, tmp_path_factory):
    """The folder of a study with kept weights, of one trial of each structure; its trial and row."""
    more = {"model": "resnet-20", "lr": 0.05, "epochs": 1, "structure": request.param, "scope": "global"}
    asked, root = shrunk(**more), tmp_path_factory.mktemp("study")
    result = run(asked, keeps=root / "small")
    record(root, "small", [result])
    return root, asked, result.trial


@pytest.mark.slow
def test_kept_weights_are_of_the_smaller_network_and_give_the_row(ended, tmp_path):
    root, asked, row = ended
    words, out = (asked.id, "--results", root), tmp_path / "net.safetensors"
    done = commands.run(main, *words, "--kept", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"test accuracy {row['test_accuracy']:.4f}, as in the row\n")
    given, written = interop.load(kept.file(root / "small", asked.id)), interop.load(out)
    assert written.keys() == given.keys()
    assert all(torch.equal(written[name], given[name]) for name in given)
    stages = stages_of(asked)
    state = stages.model.state_dict()
    assert all(torch.equal(given[name], state[name]) for name in state)
    masks = {name: mask for name, mask in stages.masks.items() if mask.dim() > 1}
    assert sum(int(given[f"{name}_mask"].count_nonzero()) for name in masks) == row["kept"]
    weights = sum(given[name].numel() for name in masks if name in given)
    assert weights == row["kept"] < row["params"], "no weight of a removed unit is in the file"


@pytest.mark.slow
@pytest.mark.parametrize("export", files.Export)
def test_the_exported_program_is_the_smaller_network(ended, export, tmp_path):
    root, asked, row = ended
    out = tmp_path / "net.safetensors"
    done = commands.run(main, asked.id, "--results", root, "--kept", "--out", out, "--export", export)
    assert done.returncode == 0, done.stderr
    stages = stages_of(asked)
    test = stages.data.test
    path = out.with_suffix(export.suffix)
    if export is files.Export.ONNX:
        session = onnxruntime.InferenceSession(path)
        outputs = torch.from_numpy(session.run(None, {"inputs": test.images.float().numpy()})[0])
    else:
        program = torch.export.load(path)
        outputs = program.module()(test.images.float())
        weights = sum(weight.numel() for weight in program.state_dict.values() if weight.dim() > 1)
        assert weights <= row["kept"] + 2 * stages.data.shape[0]
    torch.testing.assert_close(outputs, stages.training.outputs(test), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_later_trial_starts_from_the_weights_in_the_shapes_of_the_whole_network(ended, tmp_path):
    """Its own network is whole: it computes what the smaller one does."""
    root, asked, row = ended
    starts = Starts(root / ".weights", earlier={asked.id: asked.canonical})
    later = trial(model="resnet-20", weights=f"run:{asked.id}", sparsity=0.9, epochs=1)
    stages = prepared(later.config, "data", CPU, Shared(weights=starts))
    loss, accuracy = stages.training.evaluate(stages.data.test)
    assert loss == pytest.approx(row["test_loss"], rel=1e-4) and accuracy == row["test_accuracy"]


@pytest.mark.slow
def test_a_file_of_smaller_weights_is_no_start_and_one_line_says_so(tmp_path):
    asked = shrunk(epochs=1)
    result = run(asked, keeps=tmp_path)
    assert result.trial["status"] == "ok"
    state = interop.load(kept.file(tmp_path, asked.id))
    later = trial(weights="net.safetensors@0123456789abcdef")
    with pytest.raises(BadInput, match=r"net\.safetensors: they are of a shrunk network: name its trial"):
        prepared(later.config, "data", CPU, Shared(weights=lambda name: state))


def test_what_has_no_smaller_network_is_one_line():
    for fields, said in (
        (
            {"structure": "weight"},
            "structure weight leaves no smaller network: take structure channel, width, head, neuron, "
            "head\\+neuron, block or depth",
        ),
        ({"structure": "filter"}, "structure filter leaves no smaller network"),
        ({"criterion": "imp", "scope": "global"}, "imp does not prune once"),
        ({"criterion": "gmp", "structure": "weight"}, "gmp does not prune once"),
    ):
        with pytest.raises(BadInput, match=said):
            shrunk(**fields)


OWN = """\
import torch

class Rows(torch.optim.SGD):
    '''Keeps a number for each row, which has not the shape of a weight.'''
    def __init__(self, parameters, settings):
        super().__init__(parameters, lr=0.1)
    @torch.no_grad()
    def step(self):
        super().step()
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight]["rows"] = torch.zeros(len(weight) + 1)
"""


@pytest.mark.slow
def test_an_optimizer_that_keeps_no_number_for_each_weight_is_one_line_or_begins_afresh(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    rows = parts.declare("optimizer", "own.py:Rows", tmp_path).name
    with pytest.raises(BadInput, match=r"shrink: own\.py:Rows keeps rows of 0\.weight"):
        run(shrunk(optimizer=rows, prune_epoch=1))
    assert run(shrunk(optimizer=rows, prune_epoch=1, rewind_epoch=0)).trial["status"] == "ok"


@pytest.mark.slow
def test_masks_that_remove_nothing_leave_the_network_as_it_is():
    stages = stages_of(shrunk(sparsity=0.001, epochs=1))
    dense = pruners.prunable(stages.smaller.whole)
    assert {name: weight.shape for name, weight in pruners.prunable(stages.model).items()} == {
        name: weight.shape for name, weight in dense.items()
    }


@pytest.mark.slow
def test_the_page_says_how_a_file_of_smaller_weights_is_read(ended, tmp_path):
    root, asked, row = ended
    codes = re.findall(r"```python\n(.*?)```", Path("docs/networks.md").read_text(), re.S)
    [plain] = [code for code in codes if "weights_of" in code]
    [smaller] = [code for code in codes if "find_units" in code]
    file = kept.file(root / "small", asked.id)
    head = plain[: plain.index("network = ")]  # the imports, and the header
    found = {}
    exec((head + smaller).replace('"net.safetensors"', repr(str(file))), found)
    stages = stages_of(asked)
    test = stages.data.test
    with torch.inference_mode():
        outputs = found["network"](stages.data.inputs(test.images))
    assert float((outputs.argmax(1) == test.labels).double().mean()) == pytest.approx(row["test_accuracy"])
