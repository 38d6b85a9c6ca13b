"""What masks save: weights and multiply-adds; and how concentrated the kept weights are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from pruners.context import without_cudnn
from pruners.effective import effective_masks
from pruners.forward import differentiable, in_mode, run
from pruners.linear_maps import Interpreter, LinearMap, keep_graph, leaves_of, refuse_other_uses
from pruners.masks import densities, prunable, total_kept


@dataclass(frozen=True)
class Cost:
    """Prunable weights, and multiply-adds of their layers in one forward pass of one sample.

    Attributes:
        params: weights of the dense network.
        kept: weights that the masks keep.
        effective: kept weights on a path from the input to the output: the weights to store once filters
            without inputs or outputs are cut out.
        macs: multiply-adds of the dense network.
        macs_kept: multiply-adds with kept weights.
        macs_effective: multiply-adds with effective weights.
    """

    params: int
    kept: int
    effective: int
    macs: int
    macs_kept: int
    macs_effective: int


def cost(model: nn.Module, masks: Mapping[str, Tensor], example_input: Tensor) -> Cost:
    """Count what masks keep of the weights and multiply-adds of their layers.

    Args:
        example_input: as for `effective_masks`.

    Raises:
        ValueError: as `effective_masks` and `multiply_adds` do.
    """
    effective = effective_masks(model, masks, example_input)
    macs = _multiply_adds(model, {name: model.get_parameter(name) for name in masks}, example_input)
    return Cost(
        params=sum(mask.numel() for mask in masks.values()),
        kept=total_kept(masks.values()),
        effective=total_kept(effective.values()),
        macs=sum(macs[name] for name in masks),
        macs_kept=_masked_macs(macs, masks),
        macs_effective=_masked_macs(macs, effective),
    )


def _masked_macs(macs: Mapping[str, int], masks: Mapping[str, Tensor]) -> int:
    """Multiply-adds with the kept weights, rounded layer by layer."""
    return sum(round(macs[name] * density) for name, density in densities(masks).items())


def multiply_adds(model: nn.Module, example_input: Tensor) -> dict[str, int]:
    """Name of each prunable weight → its multiply-adds in a forward pass of one sample, unmasked.

    Counted at each linear map, padding included, as `torch.utils.flop_counter` does; LSTM and GRU step by
    step. A map with a tensor computed from one weight (standardized, transposed) counts for that weight.

    Args:
        example_input: one batch; only its first sample is used.

    Raises:
        ValueError: as `prunable` does, or the network uses a weight otherwise than in linear maps and
            convolutions, or in one together with another weight; the message names the layer.
    """
    return _multiply_adds(model, prunable(model), example_input)


def _multiply_adds(
    model: nn.Module, weights: Mapping[str, nn.Parameter], example_input: Tensor
) -> dict[str, int]:
    """As `multiply_adds`, for the given weights."""
    macs = dict.fromkeys(weights, 0)

    def count(call: LinearMap) -> Tensor:
        # Earlier maps detached their weights: a weight that the inputs still depend on was used otherwise.
        refuse_other_uses(call.inputs, leaves)
        used = leaves_of(call.weight, leaves)
        if len(used) != 1:
            return call.output()
        call = call.cut()
        output = call.output()
        # Each weight is used once at every position: of the output, or, in a transposed convolution, of the
        # input.
        positions = call.inputs if "transpose" in call.function else output
        macs[used[0]] += positions.numel() * call.weight[0].numel()
        return output

    with (
        in_mode(model, train=False),
        torch.inference_mode(False),
        torch.enable_grad(),
        # cuDNN's recurrent kernels need weights at certain addresses.
        without_cudnn(),
    ):
        tensors = [*model.named_parameters(), *model.named_buffers()]
        state = {name: differentiable(each.detach()) for name, each in tensors}
        leaves = {name: state[name].requires_grad_() for name in weights}
        with Interpreter(count, keep_graph):
            output = run(model, state, differentiable(example_input[:1]))
        refuse_other_uses(output, leaves)
    return macs


def pq_index_of(weights: Iterable[Tensor], kept: int, p: float = 0.5, q: float = 1) -> float | None:
    """As `pq_index`, of the kept weights of several layers together.

    Args:
        weights: of each layer, with its pruned weights at 0.
        kept: number of weights that are not pruned; some of them may be 0 too.

    Returns:
        The index, or None if there is no weight, all are 0, or one is not finite.
    """
    sums = [0.0, 0.0]
    for weight in weights:
        size = weight.detach().abs().double()
        sums = [total + float(size.pow(r).sum()) for total, r in zip(sums, (p, q), strict=True)]
    if not kept or not all(0 < total < inf for total in sums):
        return None
    norm_p, norm_q = (total ** (1 / r) for total, r in zip(sums, (p, q), strict=True))
    return float(1 - kept ** (1 / q - 1 / p) * norm_p / norm_q)


def pq_index(weights: Tensor, p: float = 0.5, q: float = 1) -> float | None:
    """How concentrated weights are: 0 if all are equal in size, near 1 if few are large.

    I = 1 − n^(1/q − 1/p)·‖w‖_p/‖w‖_q over the n given weights (Diao et al. 2023).

    Returns:
        The index, or None if there is no weight or all are 0.
    """
    size = weights.detach().abs().double()
    if size.numel() == 0 or not size.any():
        return None
    norm_p, norm_q = (float(size.pow(r).sum()) ** (1 / r) for r in (p, q))
    return float(1 - size.numel() ** (1 / q - 1 / p) * norm_p / norm_q)
