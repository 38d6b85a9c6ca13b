"""The blocks of networks: what stands in a row and has several weights, and single layers elsewhere."""

import pytest
from torch import nn

import pruners
from sweep import models
from sweep.models.decoders import gpt_tiny


def paths(model):
    names = list(pruners.prunable(model))
    blocks = pruners.in_blocks(model, names)
    assert [name for block in blocks for name in block.layers] == names
    return [block.path for block in blocks]


def test_a_decoder_has_its_layers_and_its_head():
    assert paths(gpt_tiny((64,), 256)) == ["blocks.0", "blocks.1", "blocks.2", "head"]


def test_a_resnet_has_its_residual_blocks_and_a_plain_network_its_layers():
    found = paths(models.build("resnet-20", (3, 32, 32), 10, 0))
    assert found == ["conv1", *(f"layer{i}.{j}" for i in (1, 2, 3) for j in (0, 1, 2)), "fc"]
    plain = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), nn.Linear(4, 2))
    assert paths(plain) == ["0.0", "0.2", "1"]


class Wrapped(nn.Module):
    """A row that lies in a module beside other layers, and blocks with rows of single layers in them."""

    def __init__(self):
        super().__init__()
        self.stem, self.encoder, self.lstm = nn.Linear(4, 4), nn.Module(), nn.LSTM(4, 4)
        mlp = [nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4)) for _ in range(2)]
        self.encoder.layers = nn.ModuleList(nn.ModuleDict({"mlp": each}) for each in mlp)


def test_rows_are_found_within_modules_and_blocks_are_not_taken_apart():
    assert paths(Wrapped()) == ["stem", "encoder.layers.0", "encoder.layers.1", "lstm"]


@pytest.mark.parametrize("only", ["blocks.1.feedforward.up.weight", "head.weight"])
def test_some_weights_alone_have_blocks_too(only):
    [block] = pruners.in_blocks(gpt_tiny((64,), 256), [only])
    assert block.layers == (only,)
