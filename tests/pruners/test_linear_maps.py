import pytest
import torch
from torch import nn

from pruners.linear_maps import Interpreter


@pytest.mark.parametrize("need_weights", [False, True])
def test_attention_is_taken_apart_into_its_linear_maps(need_weights):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(4, 2, batch_first=True).eval()
    inputs, seen = torch.randn(3, 5, 4), []

    def see(call):
        seen.append(call.weight)
        return call.output()

    with Interpreter(see):
        found = layer(inputs, inputs, inputs, need_weights=need_weights)
    expected = layer(inputs, inputs, inputs, need_weights=need_weights)
    torch.testing.assert_close(found[0], expected[0])
    assert len(seen) == 2 and seen[1] is layer.out_proj.weight
