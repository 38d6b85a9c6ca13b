"""Reconstruction: the weights of a pruned block are fitted to the outputs that the block had before."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from pruners.batches import Batch
from pruners.blocks import Block
from pruners.forward import full_precision, run
from pruners.masks import Masks

# Steps of Adam, the learning rate of the first, from which it falls to 0, and samples of a step.
_STEPS, _RATE, _SAMPLES = 100, 1e-3, 32


class _Call(NamedTuple):
    """One call of a block: its arguments, and the real-valued tensors that it gives."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Tensor]


def fitted(
    model: nn.Module,
    dense: Mapping[str, Tensor],
    now: Mapping[str, Tensor],
    batches: Sequence[Batch],
    block: Block,
    masks: Masks,
) -> dict[str, Tensor]:
    """The weights of a block that fit its outputs in the dense network, by 100 steps of Adam (PERP).

    Zimmer et al. 2023, 'PERP: Rethinking the Prune-Retrain Paradigm': each part of a pruned network is fitted
    to the output of the dense one, so that no pass through the whole network needs gradients. The weights
    stay as their masks leave them where the steps do not lower the error.

    Args:
        dense: parameters and buffers of the dense network, by name.
        now: those of the network whose blocks before this one are pruned.
        batches: each step takes 32 samples of them, in turn.

    Returns:
        Name → weight, 0 where the mask removes it.
    """
    pieces = [piece for inputs, _ in batches for piece in full_precision(inputs).split(_SAMPLES)]
    wanted, given = (_calls(model, tensors, pieces, block) for tensors in (dense, now))
    module, prefix = model.get_submodule(block.path), f"{block.path}." if block.path else ""
    rest = {name.removeprefix(prefix): each for name, each in now.items() if name.startswith(prefix)}
    keeps = {name: masks[name].to(dense[name]) for name in block.layers}
    leaves = {name: (dense[name] * keep).requires_grad_() for name, keep in keeps.items()}

    def error(place: int) -> Tensor:
        call = given[place]
        own = {name.removeprefix(prefix): leaf for name, leaf in leaves.items()}
        outputs = _real(functional_call(module, {**rest, **own}, call.args, call.kwargs))
        pairs = zip(outputs, wanted[place].outputs, strict=True)
        return torch.stack([(mine - theirs).square().mean() for mine, theirs in pairs]).sum()

    def whole() -> float:
        with torch.no_grad():
            return sum(float(error(place)) for place in range(len(given)))

    before, first = whole(), {name: leaf.detach().clone() for name, leaf in leaves.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=_RATE)
    for step in range(_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - step / _STEPS)
        for leaf, slope in zip(
            leaves.values(), torch.autograd.grad(error(step % len(given)), [*leaves.values()]), strict=True
        ):
            leaf.grad = slope
        for name, leaf in leaves.items():
            assert leaf.grad is not None
            leaf.grad.mul_(keeps[name])
        optimizer.step()
    return {name: leaf.detach() for name, leaf in leaves.items()} if whole() < before else first


@torch.no_grad()
def _calls(
    model: nn.Module, tensors: Mapping[str, Tensor], pieces: Sequence[Tensor], block: Block
) -> list[_Call]:
    """The calls of a block while a network runs on some inputs."""
    calls: list[_Call] = []

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        calls.append(_Call(args, kwargs, _real(output)))

    handle = model.get_submodule(block.path).register_forward_hook(note, with_kwargs=True)
    try:
        for piece in pieces:
            run(model, tensors, piece)
    finally:
        handle.remove()
    return calls


def _real(output: object) -> list[Tensor]:
    return [each for each in tree_leaves(output) if isinstance(each, Tensor) and each.is_floating_point()]
