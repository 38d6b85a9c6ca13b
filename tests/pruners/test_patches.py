import pytest
import torch
from torch import nn

from pruners.linear_maps import Interpreter
from pruners.patches import kernel_rows, patches


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
