"""The files of a trial's network are read elsewhere, as docs/networks.md says, and give the table's accuracy."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open

from sweep import data
from sweep.errors import BadInput
from sweep.trial import files, run
from sweep.trial.__main__ import main
from sweep.trial.prefixes import Shared
from sweep.trial.run import prepared
from tests import commands
from tests.sweep.trial.earlier import record
from tests.sweep.trial.test_run import trial

PAGE = Path("docs/networks.md").read_text()
ASKED = trial(epochs=1)


@pytest.fixture(scope="module")
def row(tmp_path_factory):
    """A folder with all files of a trial's network, with test images and labels; the row of the trial."""
    folder = tmp_path_factory.mktemp("net")
    result = run(ASKED)
    record(folder / "results", "one", [result])
    words = ASKED.id, "--results", folder / "results", "--out", folder / "net.safetensors"
    for export in files.Export:
        done = commands.run(main, *words, "--export", export)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"net{export.suffix}: takes inputs (batch, 1, 8, 8) in float32, from 0 to 255" in done.stdout
    test = data.load("digits", "data", 0.1, 0).test
    np.save(folder / "images.npy", test.images.numpy())
    np.save(folder / "labels.npy", test.labels.numpy())
    return folder, result.trial


def snippet(word):
    """The code of the page that has a word."""
    [code] = [each for each in re.findall(r"```python\n(.*?)```", PAGE, re.S) if word in each]
    return code


def elsewhere(folder, code):
    """The accuracy that code gives in a process of its own: it is to leave `outputs` behind."""
    before = "import sys\nimport numpy as np\nimport torch\nimages = np.load('images.npy')\n"
    after = (
        "outputs = outputs.detach().numpy() if hasattr(outputs, 'detach') else outputs\n"
        "print('sweep' in sys.modules, (outputs.argmax(1) == np.load('labels.npy')).mean())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", before + code + after], cwd=folder, capture_output=True, text=True, check=True
    )
    known, accuracy = done.stdout.split()
    return known == "True", float(accuracy)


@pytest.mark.slow
def test_the_weights_of_a_file_give_the_accuracy_of_the_row(row):
    folder, found = row
    code = snippet("weights_of") + (
        "mean, deviation = (\n"
        "    torch.tensor(json.loads(safe_open('net.safetensors', 'pt').metadata()[name])).view(1, -1, 1, 1)\n"
        "    for name in ('mean', 'deviation')\n"
        ")\n"
        "outputs = network((torch.from_numpy(images).float() - mean) / deviation)\n"
    )
    assert elsewhere(folder, code)[1] == pytest.approx(found["test_accuracy"], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("word", ["torch.export", "onnxruntime"])
def test_an_exported_program_gives_the_accuracy_of_the_row_without_this_project(row, word):
    folder, found = row
    of_sweep, accuracy = elsewhere(folder, snippet(word))
    assert not of_sweep and accuracy == pytest.approx(found["test_accuracy"], abs=1e-6)


@pytest.mark.slow
def test_every_file_says_which_trial_it_is_of(row):
    folder, found = row
    with safe_open(folder / "net.safetensors", "pt") as file:
        said = file.metadata()
    assert said["trial_id"] == ASKED.id and said["config"] == ASKED.canonical
    numbers = {name: found[name] for name in ("kept", "params", "density", "test_loss", "test_accuracy")}
    assert {name: json.loads(said[name]) for name in numbers} == numbers
    session = onnxruntime.InferenceSession(folder / "net.onnx")
    assert session.get_modelmeta().custom_metadata_map == said
    extra = dict.fromkeys(said, "")
    torch.export.load(folder / "net.pt2", extra_files=extra)
    assert extra == said
    assert sorted(each.name for each in folder.glob("net*")) == ["net.onnx", "net.pt2", "net.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet-20", "lstm-s", "lenet-300-100"])
@pytest.mark.parametrize("export", files.Export)
def test_programs_of_other_networks_give_the_same_predictions_in_batches_of_any_size(model, export, tmp_path):
    stages = prepared(trial(model=model).config, "data", torch.device("cpu"), Shared())
    test = stages.data.test
    expected = stages.training.outputs(test)
    path = tmp_path / f"net{export.suffix}"
    files.write_export(path, export, stages, {})
    for images, outputs in ((test.images, expected), (test.images[:1], expected[:1])):
        if export is files.Export.ONNX:
            session = onnxruntime.InferenceSession(path)
            given = torch.from_numpy(session.run(None, {"inputs": images.float().numpy()})[0])
        else:
            given = torch.export.load(path).module()(images.float())
        torch.testing.assert_close(given, outputs, rtol=1e-4, atol=1e-4)
        assert torch.equal(given.argmax(1), outputs.argmax(1))


def test_a_network_that_cannot_be_exported_is_one_line(tmp_path, monkeypatch):
    stages = prepared(trial().config, "data", torch.device("cpu"), Shared())

    class Branches(torch.nn.Module):
        def forward(self, inputs):
            return inputs if inputs.sum() > 0 else -inputs

    monkeypatch.setattr("sweep.models.build", lambda *words, **named: Branches())
    monkeypatch.setattr(stages.model, "state_dict", dict)
    with pytest.raises(BadInput, match="--export torch: conv-5 cannot be exported: ") as error:
        files.write_export(tmp_path / "net.pt2", files.Export.TORCH, stages, {})
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    stages = prepared(trial().config, "data", torch.device("cpu"), Shared())
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match="or choose another --out"):
        files.write_weights(tmp_path / "taken" / "net.safetensors", stages, {})
