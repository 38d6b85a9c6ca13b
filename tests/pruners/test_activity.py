import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruners import relu_activity


class Fixed(nn.Module):
    """Adds a bias to its inputs and calls a ReLU in one of several ways."""

    def __init__(self, way):
        super().__init__()
        self.bias, self.way = nn.Parameter(torch.tensor([0.0, -9.0, 0.0])), way

    def forward(self, x):
        return self.way(x + self.bias)


WAYS = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "relu6": nn.ReLU6(),
    "functional": F.relu,
    "tensor": lambda x: x.relu(),
    "torch": torch.relu,
    "torch in place": torch.relu_,
}


@pytest.mark.parametrize("way", WAYS)
def test_zeros_are_counted_however_a_relu_is_called(way):
    inputs = torch.tensor([[1.0, 1.0, -1.0], [2.0, 3.0, 4.0]])
    model = Fixed(WAYS[way])
    # 1 0 0 and 2 0 4: the second unit is always 0; three of six outputs are.
    assert relu_activity(model, inputs) == pytest.approx((1 / 3, 3 / 6))
    assert model.training


def test_all_relus_count_together():
    model = nn.Sequential(Fixed(F.relu), Fixed(F.relu))
    assert relu_activity(model, torch.ones(2, 3)) == pytest.approx((2 / 6, 4 / 12))


def test_a_network_without_relus_has_none():
    assert relu_activity(nn.Sequential(nn.Linear(3, 3), nn.GELU()), torch.ones(2, 3)) is None


def test_the_relus_of_a_transformer_are_seen():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    with torch.inference_mode():
        found = relu_activity(layer, torch.randn(4, 3, 8))
    assert found and 0 < found.zero_outputs < 1
