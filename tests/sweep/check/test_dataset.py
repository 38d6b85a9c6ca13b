"""`check_dataset` describes the splits of a data set, and tells where they do not fit together."""

import numpy as np
import pytest
import torch

from sweep.check.dataset import check_dataset, dataset_digest
from sweep.errors import BadInput


def pictures(*, size: int = 40, channels: int = 3):
    random = np.random.default_rng(0)
    inputs = random.integers(0, 256, (size, channels, 6, 5)).astype(np.uint8)
    targets = np.arange(size) % 4
    return (inputs[:30], targets[:30]), (inputs[30:], targets[30:])


def told(report):
    return {finding.name: finding.text for finding in report.findings}


def failed(report):
    return {finding.name: finding.text for finding in report.failed}


def changed(change):
    """A data set whose splits are changed after they are made."""

    def give():
        (inputs, targets), (test_inputs, test_targets) = pictures()
        splits = [inputs.astype(float), targets, test_inputs.astype(float), test_targets]
        change(splits)
        return tuple(splits[:2]), tuple(splits[2:])

    return give


def test_a_sound_data_set_is_described():
    report = check_dataset(pictures, parameters={"size": 50})
    assert report.holds
    assert told(report)["task"] == "classification, as the targets look"
    assert told(report)["inputs of one shape"] == "3×6×5, uint8"
    assert told(report)["labels from 0, all in train"] == "4 classes"
    assert told(report)["test inputs are new"].startswith("0 of 20 are in train too; 0 repetitions")
    assert len(told(report)["mean ± deviation by channel"].split(", ")) == 3
    [balance] = report.grids
    assert balance.rows[0] == ("0", "8 (26.7%)", "5 (25.0%)")


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (np.arange(20) % 3, "classification"),
        (np.linspace(0, 1, 20), "regression"),
        (np.ones((20, 1)), "regression"),
        (np.eye(20, dtype=int)[:, :4], "multi-label"),
        (np.zeros((20, 4, 4), int), "segmentation"),
    ],
)
def test_the_targets_tell_the_task(targets, task):
    inputs = np.random.default_rng(0).normal(size=(20, 1, 4, 4))
    report = check_dataset(lambda: ((inputs[:10], targets[:10]), (inputs[10:], targets[10:])))
    assert told(report)["task"] == f"{task}, as the targets look"
    assert report.holds


def test_tensors_and_a_data_root_are_taken(tmp_path):
    torch.save(torch.randn(12, 3), tmp_path / "x.pt")

    def stored(root):
        inputs = torch.load(root / "x.pt")
        return (inputs[:8], inputs[:8, 0]), (inputs[8:], inputs[8:, 0])

    report = check_dataset(stored, root=tmp_path, task="regression")
    assert report.holds and told(report)["task"] == "regression"
    assert "FileNotFoundError" in failed(check_dataset(stored, root=tmp_path / "none"))["loads"]


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (lambda s: s[0].__setitem__((0, 0, 0, 0), np.nan), "train: finite inputs", "1 of 2,700 are NaN"),
        (lambda s: s.__setitem__(2, s[2][:, :1]), "inputs of one shape", "test 1×6×5"),
        (lambda s: s.__setitem__(2, s[0][:10]), "test inputs are new", "10 of 10 are in train too"),
        (lambda s: s.__setitem__(1, s[1] - 1), "labels from 0, all in train", "not whole numbers from 0"),
        (lambda s: s.__setitem__(1, s[1] * 2), "labels from 0, all in train", "no training sample of classes"),
        (lambda s: s.__setitem__(3, s[3] + 4), "labels from 0, all in train", "test has classes that train"),
        (lambda s: s.__setitem__(1, s[1][:-1]), "loads", "gives 30 inputs and 29 targets for train"),
        (lambda s: s.__setitem__(0, list("ab")), "loads", "expected real numbers in rows"),
        (lambda s: s.pop(), "loads", "test is a tuple of 1: give a pair"),
        (lambda s: 1 / 0, "loads", "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_found_out(change, name, message):
    text = failed(check_dataset(changed(change)))[name]
    assert message in text and "\n" not in text
    assert name != "loads" or "test_dataset.py:" in text


def test_random_data_without_a_seed_is_found_out():
    report = check_dataset(changed(lambda splits: splits[0].__iadd__(np.random.rand())))
    assert "a seed of its own" in failed(report)["equal data each time"]


def test_a_wrong_parameter_is_bad_input():
    with pytest.raises(BadInput, match=r"no parameter siez; did you mean size\?"):
        check_dataset(pictures, parameters={"siez": 3})


def test_a_sheet_is_drawn_of_images_alone(tmp_path):
    report = check_dataset(pictures, sheet=tmp_path / "sheet.png")
    assert told(report)["contact sheet"] == str(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    inputs = np.random.default_rng(0).normal(size=(20, 6))
    table = check_dataset(
        lambda: ((inputs[:10], inputs[:10, 0]), (inputs[10:], inputs[10:, 0])), sheet=tmp_path / "t"
    )
    assert told(table)["contact sheet"] == "none: the inputs are no images" and not (tmp_path / "t").exists()


def test_the_digest_is_of_all_values():
    assert dataset_digest(pictures) == dataset_digest(pictures)
    assert dataset_digest(pictures) != dataset_digest(pictures, parameters={"size": 41})
