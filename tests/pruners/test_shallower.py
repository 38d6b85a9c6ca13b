"""A network without the blocks that were removed computes what the masked one does, or one line says that it does not."""

import pytest
import torch
from torch import nn

import pruners
from pruners.shallower import shallower
from sweep import models


def masked(model, inputs, numbers):
    """The units of a network without some of its blocks, and which are kept; its weights are masked."""
    groups = pruners.find_units("block", model, inputs)
    removed = [groups[number].name for number in numbers]
    kept = {group.name: torch.tensor([group.name not in removed]) for group in groups}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(tuple(f"{block}." for block in removed)):
                parameter.zero_()
    return groups, kept


def moved(model):
    """The network with statistics, scales and shifts of BatchNorm that are not those of the beginning."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", ["resnet-20", "wrn-16-8", "resnet-18"])
def test_it_computes_what_the_masked_network_does(name, train):
    inputs = torch.randn(2, 3, 8, 8)
    model = moved(models.build(name, (3, 8, 8), 10, 0))
    groups, kept = masked(model, inputs, (0, 2))
    small = shallower(model, groups, kept, inputs)
    with torch.no_grad():
        assert torch.equal(small.train(train)(inputs), model.train(train)(inputs))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.slow
def test_it_is_the_network_that_was_built_shallower():
    """ResNet-32 without two blocks of each stage is ResNet-20, with the weights of the blocks that are left."""
    inputs = torch.randn(2, 3, 8, 8)
    deep, plain = (moved(models.build(name, (3, 8, 8), 10, 0)) for name in ("resnet-32", "resnet-20"))
    names = [group.name for group in pruners.find_units("block", deep, inputs)]
    last = [number for number, name in enumerate(names) if name[-1] in "34"]
    groups, kept = masked(deep, inputs, last)
    assert len(last) == 6
    small = shallower(deep, groups, kept, inputs)
    plain.load_state_dict(small.state_dict())
    with torch.no_grad():
        assert torch.equal(plain.eval()(inputs), small.eval()(inputs))


class Odd(nn.Module):
    """Its block turns what passes by it round, which its removal would not do."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)
        self.block = Turned()

    def forward(self, inputs):
        return self.last(self.block(self.first(inputs)))


class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(self, inputs):
        return -inputs + self.two(torch.relu(self.one(inputs)))


def test_a_block_that_does_more_than_pass_its_input_on_is_one_line():
    torch.manual_seed(0)
    model, inputs = Odd(), torch.randn(4, 6)
    groups, kept = masked(model, inputs, (0,))
    with pytest.raises(ValueError, match="without block the network computes something else"):
        shallower(model, groups, kept, inputs)
