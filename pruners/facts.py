"""What a mask makes of a network: its size, its arithmetic, and how concentrated its weights are."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruners.maps import Interpreter, LinearMap, attached, in_mode, refuse_other_uses, run, usable, used_in
from pruners.masks import densities, prunable, total_kept
from pruners.paths import effective_masks


@dataclass(frozen=True)
class Cost:
    """Prunable weights, and multiply-adds of their layers in one forward pass of one sample.

    Attributes:
        params: weights of the dense network.
        kept: those the masks keep.
        effective: those of them on a path from the input to the output: what is left to store when filters
            without inputs or outputs are cut out.
        macs: multiply-adds of the dense network.
        macs_kept: those with a weight that is kept.
        macs_effective: those with a weight that is effective.
    """

    params: int
    kept: int
    effective: int
    macs: int
    macs_kept: int
    macs_effective: int


def cost(model: nn.Module, masks: Mapping[str, Tensor], example_input: Tensor) -> Cost:
    """What masks save. See `Cost`; the example input is as for `effective_masks`.

    Raises:
        ValueError: as `effective_masks` and `multiply_adds` do.
    """
    effective = effective_masks(model, masks, example_input)
    macs = _multiply_adds(model, {name: model.get_parameter(name) for name in masks}, example_input)
    left = [
        {name: macs[name] * density for name, density in densities(each).items()}
        for each in (masks, effective)
    ]
    return Cost(
        params=sum(mask.numel() for mask in masks.values()),
        kept=total_kept(masks.values()),
        effective=total_kept(effective.values()),
        macs=sum(macs[name] for name in masks),
        macs_kept=sum(round(each) for each in left[0].values()),
        macs_effective=sum(round(each) for each in left[1].values()),
    )


def multiply_adds(model: nn.Module, example_input: Tensor) -> dict[str, int]:
    """Name of each prunable weight → multiply-adds with it in a forward pass of one sample, unmasked.

    At each linear map, LSTM and GRU step by step, as `torch.utils.flop_counter` counts: with padding. A map
    with something made of one weight, such as a standardized or a transposed one, is a map with that weight.

    Args:
        example_input: one batch, of which the first sample is used.

    Raises:
        ValueError: as `prunable` does, or the network computes with a weight otherwise than in linear maps
            and convolutions, or with something made of several; the message names the layer.
    """
    return _multiply_adds(model, prunable(model), example_input)


def _multiply_adds(
    model: nn.Module, weights: Mapping[str, nn.Parameter], example_input: Tensor
) -> dict[str, int]:
    """The same of some weights."""
    macs = dict.fromkeys(weights, 0)

    def count(call: LinearMap) -> Tensor:
        # Every map before it was cut: what its inputs still depend on was used otherwise.
        refuse_other_uses(call.inputs, leaves)
        makers = used_in(call.weight, leaves)
        if len(makers) != 1:
            return call.output()
        call = call.cut()
        output = call.output()
        # Each weight meets every position once: of the outputs, or of what is spread out over them.
        positions = call.inputs if "transpose" in call.function else output
        macs[makers[0]] += positions.numel() * call.weight[0].numel()
        return output

    # Without cuDNN, whose cells look where their weights lie.
    with (
        in_mode(model, train=False),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.backends.cudnn.flags(enabled=False),
    ):
        tensors = [*model.named_parameters(), *model.named_buffers()]
        state = {name: usable(each.detach()) for name, each in tensors}
        leaves = {name: state[name].requires_grad_() for name in weights}
        with Interpreter(count, attached):
            output = run(model, state, usable(example_input[:1]))
        refuse_other_uses(output, leaves)
    return macs


def pq_index(weights: Tensor, p: float = 0.5, q: float = 1) -> float | None:
    """How concentrated the kept weights are: 0 all equal in size, towards 1 few large ones; None for none.

    I = 1 − n^(1/q − 1/p)·‖w‖_p/‖w‖_q over the n given weights (Diao et al. 2023).
    """
    size = weights.detach().abs().double()
    if size.numel() == 0 or not size.any():
        return None
    norm_p, norm_q = (float(size.pow(r).sum()) ** (1 / r) for r in (p, q))
    return float(1 - size.numel() ** (1 / q - 1 / p) * norm_p / norm_q)
