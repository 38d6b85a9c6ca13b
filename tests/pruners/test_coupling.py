import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruners.coupling import channel_groups


class Function(nn.Module):
    """A network of some layers and a function of its own: `forward(net, x)`."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = forward

    def forward(self, inputs):
        return self.function(self, inputs)


def described(groups):
    """Name → units and the places of their members: parameter, dimension, entries of the first unit."""
    return {
        group.name: (group.size, [(m.parameter, m.dim, m.index[0].tolist()) for m in group.members])
        for group in groups
    }


def test_a_unit_is_its_row_its_normalization_and_all_columns_that_read_it():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 2)
    )
    groups = channel_groups(model, torch.zeros(2, 3, 8, 8))
    vectors = ["0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"]
    members = [("0.weight", 0, [0]), *((name, 0, [0]) for name in vectors[:3])]
    members += [("5.weight", 1, list(range(9))), *((name, 0, [0]) for name in vectors[3:])]
    assert described(groups) == {"0.weight": (4, members)}, "inputs and outputs are no units"
    assert groups[0].members[-3].index.tolist() == [list(range(9 * i, 9 * i + 9)) for i in range(4)]


def test_what_is_added_goes_together():
    layers = {"stem": nn.Conv2d(1, 4, 3), "inner": nn.Conv2d(4, 6, 1), "outer": nn.Conv2d(6, 4, 1)}
    model = Function(
        lambda net, x: net.head((s := net.stem(x)) + net.outer(F.relu(net.inner(s)))),
        **layers,
        head=nn.Conv2d(4, 2, 1),
    )
    found = described(channel_groups(model, torch.zeros(1, 1, 5, 5)))
    assert found["stem.weight"] == (
        4,
        [
            ("stem.weight", 0, [0]),
            ("stem.bias", 0, [0]),
            ("inner.weight", 1, [0]),
            ("outer.weight", 0, [0]),
            ("outer.bias", 0, [0]),
            ("head.weight", 1, [0]),
        ],
    )
    assert found["inner.weight"][0] == 6 and len(found) == 2


def test_an_unknown_function_is_named_with_its_layer():
    model = nn.Sequential(nn.Linear(3, 4), Function(lambda net, x: torch.erfinv(x)), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"^layer 1: .* not worked out for the function erfinv$"):
        channel_groups(model, torch.zeros(1, 3))
