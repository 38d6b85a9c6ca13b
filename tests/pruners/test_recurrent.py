import itertools

import pytest
import torch
from torch import nn

from pruners.linear_maps import Interpreter, LinearMap


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize(
    ("layers", "bidirectional", "batch_first", "bias"), [*itertools.product((1, 2), *[(False, True)] * 3)]
)
def test_recurrent_layers_taken_apart_compute_what_they_did(kind, layers, bidirectional, batch_first, bias):
    torch.manual_seed(0)
    layer = kind(4, 5, layers, bidirectional=bidirectional, batch_first=batch_first, bias=bias).double()
    inputs = torch.randn(3, 6, 4, dtype=torch.float64)
    with Interpreter(LinearMap.output):
        found = layer(inputs)
    torch.testing.assert_close(found, layer(inputs))


def test_an_lstm_with_a_projection_is_taken_apart_too():
    torch.manual_seed(0)
    layer = nn.LSTM(4, 5, 2, proj_size=3, bidirectional=True).double()
    inputs = torch.randn(3, 6, 4, dtype=torch.float64)
    with Interpreter(LinearMap.output):
        found = layer(inputs)
    torch.testing.assert_close(found, layer(inputs))


def test_packed_sequences_are_refused_in_one_line():
    packed = nn.utils.rnn.pack_sequence([torch.zeros(3, 4), torch.zeros(2, 4)])
    with (
        pytest.raises(ValueError, match="packed sequence in lstm: give it padded"),
        Interpreter(LinearMap.output),
    ):
        nn.LSTM(4, 5)(packed)
