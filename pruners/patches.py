"""A convolution as a matrix product: its inputs as rows of patches, its weight as rows of kernels."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pruners.linear_maps import LinearMap


def patches(call: LinearMap) -> Tensor:
    """The inputs of a convolution as the rows its kernels meet: (N, groups, positions, inputs of a kernel).

    Within each group the convolution is the matrix product of these rows with the rows of
    `kernel_rows(weight)`. For `linear`: its inputs as (N, 1, positions, features).
    """
    if call.function == "linear":
        inputs = call.inputs
        return inputs.reshape(len(inputs), 1, -1, inputs.shape[-1])
    dimensions = call.weight.dim() - 2
    kernel = call.weight.shape[2:]
    stride, padding, dilation = (
        _per_dimension(call.geometry.get(key, default), dimensions)
        for key, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if padding == ["same"] * dimensions:
        sides = [side for span in reversed(spans) for side in ((span - 1) // 2, span // 2)]
    else:
        sides = [side for p in reversed(padding) for side in ((p, p) if p != "valid" else (0, 0))]
    windows: Tensor = F.pad(call.inputs, sides)
    for axis, (span, step) in enumerate(zip(spans, stride, strict=True)):
        windows = windows.unfold(2 + axis, span, step)
    for axis, step in enumerate(dilation):
        windows = windows[(slice(None),) * (2 + dimensions + axis) + (slice(None, None, step),)]
    # (N, channels, positions…, kernel…) -> (N, groups, positions, kernel · channels of a group). Channels are
    # last, as they lie in the memory of a channels-last network: copying them then copies contiguous runs.
    groups = call.geometry.get("groups", 1)
    windows = windows.unflatten(1, (groups, -1)).movedim(2, -1)
    return windows.reshape(*windows.shape[:2], windows.shape[2 : 2 + dimensions].numel(), -1)


def kernel_rows(weight: Tensor) -> Tensor:
    """A weight as a matrix, (outputs, inputs of a kernel), in the order of `patches`."""
    return weight.movedim(1, -1).flatten(1)


def from_kernel_rows(rows: Tensor, weight: Tensor) -> Tensor:
    """The inverse of `kernel_rows`, shaped like `weight`."""
    return rows.view(weight.movedim(1, -1).shape).movedim(-1, 1).contiguous()


def _per_dimension(value: Any, dimensions: int) -> list[Any]:
    """One value for each dimension: those given, or the single one repeated."""
    if isinstance(value, int | str):
        return [value] * dimensions
    return list(value) * (dimensions if len(value) == 1 else 1)
