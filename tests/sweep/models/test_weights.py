"""Trained weights fit a network by names and shapes, or one line says why not. No file runs code."""

import io
import pickle
import struct
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save
from torch import nn

import pruners
from pruners import interop
from sweep import models
from sweep.errors import BadInput
from sweep.models import weights

NAME = "net.safetensors@0123456789abcdef"
RESNET = "torchvision:resnet18"


def network(seed=1, model="resnet-20", classes=10):
    return models.build(model, (3, 16, 16), classes, seed)


def state(net):
    return {name: tensor.contiguous() for name, tensor in net.state_dict().items()}


def torch_file(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def equal(one, other):
    return all(torch.equal(one.state_dict()[name], each) for name, each in other.state_dict().items())


@pytest.fixture
def trained():
    """A network whose BatchNorms have statistics."""
    net = network(seed=2)
    net.train()(torch.randn(8, 3, 16, 16))
    return net


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_all_weights_and_batchnorm_statistics_come_along(trained, prefix):
    given = {prefix + name: tensor for name, tensor in state(trained).items()}
    own = network()
    assert not equal(own, trained)
    assert weights.load(own, NAME, weights.parse(NAME, save(given))) == []
    assert equal(own, trained)
    convolution = next(each for each in own.modules() if isinstance(each, nn.Conv2d) and each.in_channels > 3)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_masks_beside_the_weights_are_left_out(trained, prefix):
    masks = pruners.prune("magnitude", trained, sparsity=0.5)
    given = {prefix + name: tensor for name, tensor in interop.state_dict(trained, masks).items()}
    own = network()
    weights.load(own, NAME, weights.parse(NAME, interop.encode(given)))
    pruners.apply_masks(trained, masks)
    assert equal(own, trained)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}]
)
def test_files_of_torch_save_are_read_as_tensors_alone(trained, wrap):
    own = network()
    weights.load(
        own,
        "net.pt@0123456789abcdef",
        weights.parse("net.pt@0123456789abcdef", torch_file(wrap(state(trained)))),
    )
    assert equal(own, trained)


def test_other_precisions_become_the_networks(trained):
    own = network()
    half = {name: each.half() if each.is_floating_point() else each for name, each in state(trained).items()}
    weights.load(own, NAME, half)
    first = next(iter(half))
    assert torch.equal(own.state_dict()[first], half[first].float())


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("was-run"),)


def test_a_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (torch_file({"a": Evil()}), pickle.dumps(Evil())):
        for name in ("net.pt@0123456789abcdef", NAME):
            with pytest.raises(BadInput) as error:
                weights.parse(name, content)
            assert "\n" not in str(error.value) and not Path("was-run").exists()


def header(text):
    return struct.pack("<Q", len(text)) + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 64,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{}",
        header("not json"),
        header('{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}'),
        header('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}') + b"\0" * 4,
        header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}}') + b"\0" * 8,
        header('{"a": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}}') + b"\0" * 4,
        header('{"a": {"dtype": "F32", "shape": [18446744073709551615, 2], "data_offsets": [0, 4]}}')
        + b"\0" * 4,
    ],
)
def test_a_damaged_or_evil_file_is_one_line(content):
    for name in (NAME, "net.pth@0123456789abcdef"):
        with pytest.raises(BadInput) as error:
            weights.load(network(), name, weights.parse(name, content))
        assert str(error.value).startswith("weights net.") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("first"), "they lack .*first"),
        (lambda s: s.update(another=torch.ones(1)), "the network has no another"),
        (lambda s: s.update(first=torch.ones(2, 2)), "other shapes: .*2×2, in the network"),
        (lambda s: s.update(first=s["first"].int()), "int32, in the network float32"),
        (lambda s: s.update(first=s["first"] * torch.nan), "not finite"),
        (lambda s: s.update(first=s["first"].to(torch.complex64)), "complex64"),
    ],
)
def test_weights_of_another_network_are_one_line(change, says):
    own = network()
    first, *_ = own.state_dict()
    given = {("first" if name == first else name): each for name, each in state(own).items()}
    change(given)
    if "first" in given:
        given = {first if name == "first" else name: each for name, each in given.items()}
    with pytest.raises(BadInput, match=says.replace("first", first)) as error:
        weights.load(own, NAME, given)
    assert "\n" not in str(error.value)


def test_something_else_than_tensors_is_one_line():
    for content in ([1, 2], {"a": 3}, {1: torch.ones(1)}, {"a": torch.ones(2).to_sparse()}):
        with pytest.raises(BadInput, match="something else"):
            weights.parse("net.pt@0123456789abcdef", torch_file(content))


def test_torchvision_names_its_default_weights_by_their_hash():
    assert weights.of_torchvision(RESNET) == "resnet18-f37072fd.pth@f37072fd"


@pytest.mark.slow
def test_torchvisions_weights_may_have_other_classes_and_then_the_output_layer_is_drawn():
    given = state(models.build(RESNET, (3, 32, 32), 1000, 3))
    own, name = models.build(RESNET, (3, 32, 32), 10, 4), weights.of_torchvision(RESNET)
    drawn = own.state_dict()["fc.weight"].clone()
    assert weights.load(own, name, given) == ["fc.weight", "fc.bias"]
    assert torch.equal(own.state_dict()["fc.weight"], drawn)
    assert torch.equal(own.state_dict()["conv1.weight"], given["conv1.weight"])
    with pytest.raises(BadInput, match=r"other shapes: fc\.weight 1000×512, in the network 10×512"):
        weights.load(own, NAME, given)


def test_every_torchvision_network_has_weights_with_a_hash():
    for each in torchvision.models.list_models(module=torchvision.models):
        name = weights.of_torchvision(f"torchvision:{each}")
        assert weights._OF_TORCHVISION.fullmatch(name), name


@pytest.mark.slow
@pytest.mark.parametrize("model", ["densenet121", "inception_v3", "googlenet", "squeezenet1_1"])
def test_names_in_torchvisions_files_are_those_of_its_networks(model):
    """Old files of DenseNets have another dot; files of Inception networks have auxiliary classifiers."""
    full = {"init_weights": False} if model in ("inception_v3", "googlenet") else {}
    given = torchvision.models.get_model(model, **full).state_dict()
    if model == "densenet121":
        given = {
            name.replace("norm1", "norm.1").replace("conv2", "conv.2") if "denselayer" in name else name: each
            for name, each in given.items()
        }
        given = {name: each for name, each in given.items() if "num_batches" not in name}
    own = models.build(f"torchvision:{model}", (3, 96, 96), 10, 0)
    drawn = weights.load(own, weights.of_torchvision(f"torchvision:{model}"), given)
    assert 1 <= len(drawn) <= 2


def test_weights_that_cannot_be_downloaded_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def refuse(*words, **more):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    name = weights.of_torchvision(RESNET)
    with pytest.raises(BadInput, match=r"no network.*put https://.*resnet18-f37072fd.pth at "):
        weights.download(RESNET, name)
    cached = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    cached.touch()
    assert weights.download(RESNET, name) == cached
    with pytest.raises(BadInput, match="none of this name"):
        weights.download(RESNET, "net.pt@0123456789abcdef")
