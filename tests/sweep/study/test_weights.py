"""A study names trained weights, and the config holds what they are."""

import shutil

import pytest

from sweep.errors import BadInput
from sweep.study import load

STUDY = "dataset: {dataset}\nmodel: {model}\nepochs: 2\nsparsity: 0.9\ncriterion: snip\nweights: {weights}\n"


@pytest.fixture
def read(tmp_path):
    def read(weights, model="conv-5", folder=tmp_path, dataset="digits"):
        (folder / "study.yaml").write_text(STUDY.format(weights=weights, model=model, dataset=dataset))
        return load(folder / "study.yaml")

    (tmp_path / "nets").mkdir()
    for name in ("a", "b"):
        (tmp_path / "nets" / f"{name}.safetensors").write_bytes(name.encode())
    return read


def test_weights_are_an_axis_and_files_are_named_by_their_content(read, tmp_path):
    study = read("[null, nets/a.safetensors, nets/b.safetensors, run:0123456789abcdef]")
    names = [trial.config.weights for trial in study.trials()]
    assert names[0] is None and names[3] == "run:0123456789abcdef"
    assert names[1].startswith("a.safetensors@") and names[2].startswith("b.safetensors@")
    assert study.weights == {
        names[1]: tmp_path / "nets" / "a.safetensors",
        names[2]: tmp_path / "nets" / "b.safetensors",
    }
    assert len({trial.id for trial in study.trials()}) == 4


def test_equal_content_in_another_folder_is_the_same_trial_and_other_content_is_not(read, tmp_path):
    [trial] = read("nets/a.safetensors").trials()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(tmp_path / "nets" / "a.safetensors", other)
    [same] = read("a.safetensors", folder=other).trials()
    assert same.id == trial.id
    (other / "a.safetensors").write_bytes(b"A")
    [changed] = read("a.safetensors", folder=other).trials()
    assert changed.id != trial.id


def test_torchvisions_weights_follow_the_model(read):
    study = read("torchvision", "[torchvision:resnet18, torchvision:resnet34]", dataset="cifar10")
    assert [trial.config.weights for trial in study.trials()] == [
        "resnet18-f37072fd.pth@f37072fd",
        "resnet34-b627a593.pth@b627a593",
    ]


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("nets/c.safetensors", "there is no file"),
        ("nets", "ends in .safetensors"),
        ("run:123", "ends in .safetensors"),
        ("torchvision", "it has none for conv-5"),
        ("3", "run: and the id of a trial"),
        ("true", "no place for true or false"),
    ],
)
def test_what_cannot_be_weights_is_one_line_with_its_place(read, weights, says):
    with pytest.raises(BadInput, match=rf"study.yaml:6: weights {weights}?.*{says}"):
        read(weights)


def test_a_search_can_choose_weights(read, tmp_path):
    (tmp_path / "study.yaml").write_text(
        "dataset: digits\nmodel: conv-5\nepochs: 2\ncriterion: snip\n"
        "search:\n  trials: 4\n  space:\n    sparsity: [0.5, 0.9]\n    weights: [null, nets/a.safetensors]\n"
    )
    study = load(tmp_path / "study.yaml")
    [name] = study.weights
    assert study.search.dimensions[1].values == (None, name)
