import itertools

import pytest
import torch
from torch import nn

from pruners.maps import Interpreter, LinearMap, kernel_rows, patches, run


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


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 6, 3, 2, 1, groups=2), (2, 4, 9)),
        (nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (2, 1), groups=2), (2, 4, 9, 8)),
        (nn.Conv2d(4, 6, 3, padding="same", dilation=2), (2, 4, 9, 8)),
        (nn.Conv2d(4, 4, 3, padding="valid", groups=4), (2, 4, 5, 6)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 5, 5)),
        (nn.Conv3d(2, 4, 3, 2, 1, groups=2), (2, 2, 5, 6, 7)),
        (nn.Linear(3, 4), (2, 5, 3)),
    ],
)
def test_a_convolution_is_the_product_of_its_patches_with_its_kernels(layer, shape):
    torch.manual_seed(0)
    inputs, seen = torch.randn(shape), []

    def see(call):
        seen.append(call)
        return call.apply(call.inputs, call.weight)

    with Interpreter(see):
        expected = layer(inputs)
    rows = patches(seen[0])
    kernels = kernel_rows(layer.weight).unflatten(0, (rows.shape[1], -1))
    product = torch.einsum("ngpi,goi->ngop", rows, kernels)
    if isinstance(layer, nn.Linear):
        product = product.transpose(2, 3)
    torch.testing.assert_close(product.reshape(expected.shape), expected)


def test_a_module_that_stands_in_the_model_twice_keeps_its_parameters():
    layer = nn.Linear(3, 3)
    model, weight = nn.Sequential(layer, nn.ReLU(), layer), layer.weight
    other = {"0.weight": torch.eye(3), "0.bias": torch.ones(3)}
    assert torch.equal(run(model, other, torch.ones(1, 3)), torch.full((1, 3), 3.0))
    assert layer.weight is weight and isinstance(layer.weight, nn.Parameter)


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


def test_a_recurrent_layer_forgets_what_was_put_in_its_place():
    layer = nn.LSTM(2, 3)
    other = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    run(layer, other, torch.ones(4, 1, 2))
    assert layer._flat_weights[0] is layer.weight_ih_l0
