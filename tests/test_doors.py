"""A new criterion, model or data set is one object and one line in a table; a study uses it at once.

A new rule is shown in tests/sweep/rules/test_rules.py, a new field in tests/sweep/study/test_identity.py, a new
question in tests/analysis/questions/test_catalog.py.
"""

import numpy as np
import pytest
from PIL import Image
from torch import nn

import pruners
from pruners.saliency import CRITERIA
from sweep.data.catalog import DATASETS, Dataset, Reader
from sweep.engine.preflight import check_here
from sweep.models.catalog import MODELS, Model
from sweep.study import load
from sweep.trial import run


@pytest.fixture
def root_gradient():
    before = dict(CRITERIA)

    @pruners.criterion("root-gradient", source="this test", equation="|w| ⊙ √|E g|")
    def root_gradient(probe):
        gradient = probe.gradient()
        return {name: weight.abs() * gradient[name].abs().sqrt() for name, weight in probe.weights.items()}

    yield
    CRITERIA.clear()
    CRITERIA.update(before)


@pytest.fixture
def two_layers(monkeypatch):
    def two_layers(shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(np.prod(shape), 32), nn.ReLU(), nn.Linear(32, classes))

    monkeypatch.setitem(MODELS, "two-layers", Model(two_layers))


@pytest.fixture
def stripes(monkeypatch, tmp_path):
    """Images with stripes across or along, in class folders."""
    monkeypatch.setitem(
        DATASETS,
        "stripes",
        Dataset((3, 8, 8), 2, reader=Reader.FOLDERS, folders=("stripes/train", "stripes/test")),
    )
    noise = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 20)):
        for label, axis in (("across", 0), ("along", 1)):
            folder = tmp_path / "stripes" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                image = np.broadcast_to(np.arange(8) % 2 * 160, (8, 8)) + noise.integers(0, 90, (8, 8))
                Image.fromarray((image.T if axis else image).astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path


def test_a_study_of_an_own_criterion_model_and_data_set_runs(root_gradient, two_layers, stripes, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "dataset: stripes\nmodel: two-layers\nepochs: 3\nbatch_size: 8\nscore_batch_size: 8\nlr: 0.05\n"
        "sparsity: 0.8\ncriterion: [root-gradient, random]\n"
    )
    trials = load(path).trials()
    check_here(trials, str(stripes), 0, False)
    own, other = (run(trial, stripes).trial for trial in trials)
    assert own["status"] == other["status"] == "ok"
    assert own["kept"] == other["kept"] == round(0.2 * (3 * 64 * 32 + 32 * 2))
    assert own["test_accuracy"] > 0.9
