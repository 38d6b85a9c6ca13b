"""A study given by Python values is the study that a file with these values is, and errors name the argument."""

import importlib
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import sweep
from sweep.errors import BadInput

ROOT = Path(__file__).parents[3]
ONE = {"dataset": "digits", "model": "conv-5", "epochs": 2, "criterion": "snip", "sparsity": 0.9}
MINE = "def mine(probe, *, power: float = 1.0):\n    return {name: w.abs() ** power for name, w in probe.weights.items()}\n"


def ids(study):
    return [trial.id for trial in study.trials()]


def refused(values=None, /, **fields):
    with pytest.raises(BadInput) as error:
        sweep.Study(values, **ONE | fields)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module with a criterion, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine.py").write_text(MINE)
    yield importlib.import_module("mine")
    del sys.modules["mine"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "studies").glob("*.yaml")))
def test_the_values_of_a_file_are_the_study_of_the_file(name, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT / "studies")
    file = Path(f"{name}.yaml")
    if name == "oracle-mnist-37000":  # with fewer trials of each kind, which takes seconds less
        text = file.read_text()
        assert text.count("combination: 0..") == 6
        file = tmp_path / file.name
        file.write_text(re.sub(r"combination: 0\.\.\d+", "combination: 0..29", text))
    of_file, given = sweep.load(file), sweep.Study(yaml.safe_load(file.read_text()), name=name)
    assert (given.name, ids(given), given.count) == (of_file.name, ids(of_file), of_file.count)
    assert bool(given.search) == bool(of_file.search)


def test_the_text_of_a_given_study_is_a_file_of_it(tmp_path):
    study = sweep.Study(**ONE, seed=range(3), tags=["a", "b"], description="a: b", blocks=[{"scope": "erk"}])
    (tmp_path / "study.yaml").write_text(study.text)
    again = sweep.load(tmp_path / "study.yaml")
    assert ids(again) == ids(study) and again.about == study.about
    assert repr(study) == "<study study: 3 trials>" and len(study) == 3


@pytest.mark.parametrize(
    "seeds",
    [
        [0, 1, 2],
        (0, 1, 2),
        range(3),
        np.arange(3),
        "0..2",
        (n for n in range(3)),
        [np.int64(n) for n in range(3)],
    ],
)
def test_an_axis_is_any_list_range_or_array(seeds):
    assert [trial.config.seed for trial in sweep.Study(**ONE, seed=seeds).trials()] == [0, 1, 2]


def test_numbers_are_those_of_the_file():
    study = sweep.Study(**ONE | {"sparsity": np.array([0.1 + 0.2, 1e-5]), "lr": np.float64(1e-3)})
    assert [trial.config.sparsity for trial in study.trials()] == [0.1 + 0.2, 1e-5]
    assert study.trials()[0].config.lr == 1e-3


def test_a_study_extends_a_file_and_a_file_takes_values():
    file = ROOT / "studies" / "quickstart.yaml"
    given, loaded = sweep.Study(extends=file, epochs=3, seed=0), sweep.load(file, epochs=3, seed=0)
    assert ids(given) == ids(loaded) and {trial.config.epochs for trial in loaded.trials()} == {3}
    with pytest.raises(
        BadInput, match=r"^--set epochs=\[1, x\]: epochs x: text, where a whole number belongs$"
    ):
        sweep.load(file, epochs=[1, "x"])


def test_errors_name_the_argument():
    assert (
        refused(criterion="snipp")
        == "sweep.Study(criterion=snipp): criterion snipp: no such criterion; did you mean snip?"
    )
    assert (
        refused(sparsty=0.5)
        == "sweep.Study(sparsty=0.5): unknown key 'sparsty' in a study; did you mean sparsity?"
    )
    assert refused(sparsity=[0.5, 2]).startswith("sweep.Study(sparsity=[0.5, 2]): sparsity 2: ")
    assert refused({"criterion.powr": 1}).startswith("sweep.Study(criterion.powr=1): criterion.powr: ")
    assert refused(blocks=[{"sparsty": 1}]).startswith(
        "sweep.Study(blocks=[{sparsty: 1}]): unknown key 'sparsty' in a block"
    )
    assert refused(seed=b"1").startswith("sweep.Study(seed): bytes is no value of a study: ")
    with pytest.raises(
        BadInput, match=r"^sweep.Study\(\): dataset is missing: give it a value or a list of values$"
    ):
        sweep.Study()


@pytest.mark.slow
def test_nothing_endless_is_read_to_its_end():
    endless = []
    endless.append(endless)
    assert "list is no value of a study" in refused(seed=endless)
    assert "at most 100,000 values" in refused(seed=range(10**9))
    assert "more than 10,000 values: give a range" in refused(seed=itertools.count())
    assert len(sweep.Study(**ONE, seed=range(5, 20_005))) == 20_000


def test_a_function_of_a_file_is_the_part_that_its_reference_names(mine):
    by_name = sweep.Study({"criterion.power": [1, 2]}, **ONE | {"criterion": "mine.py:mine"})
    assert ids(sweep.Study({"criterion.power": [1, 2]}, **ONE | {"criterion": mine.mine})) == ids(by_name)


def test_a_function_of_a_notebook_is_refused_with_what_to_do(mine, monkeypatch):
    monkeypatch.setattr(mine.mine, "__module__", "__main__")
    said = refused(criterion=mine.mine)
    assert "%%writefile parts.py" in said and said.endswith("give criterion='parts.py:mine'")
    assert "%%writefile" in refused(criterion=lambda probe: probe.weights)
