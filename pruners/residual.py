"""Blocks of a network that add to their inputs, and how much each changes them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from pruners.masks import prunable


@torch.no_grad()
def passing_blocks(model: nn.Module, example_input: Tensor) -> list[str]:
    """Names of the innermost modules of two or more prunable weights that put out what they are given.

    That is, when all their parameters are 0: a layer of a transformer, with its additions, or a residual
    block with an identity shortcut. Without them the network runs on.

    Args:
        example_input: one batch; one sample is enough.
    """
    copy = deepcopy(model).eval()
    weights = list(prunable(copy))
    counts = {path: sum(name.startswith(f"{path}.") for name in weights) for path, _ in copy.named_modules()}
    given: dict[str, tuple[Any, Any]] = {}

    def note(path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        given[path] = tree_map(
            lambda each: each.clone() if isinstance(each, Tensor) else each, (args, kwargs)
        )

    handles = [
        module.register_forward_pre_hook(partial(note, path), with_kwargs=True)
        for path, module in copy.named_modules()
        if path and counts[path] > 1
    ]
    copy(example_input[:1])
    for handle in handles:
        handle.remove()
    found: list[str] = []
    for path, module in reversed(list(copy.named_modules())):  # inner modules before those around them
        if path not in given or any(block.startswith(f"{path}.") for block in found):
            continue
        for parameter in module.parameters():
            parameter.zero_()
        args, kwargs = given[path]
        first, last = _first(args or tuple(kwargs.values())), _first(module(*args, **kwargs))
        if _alike(first, last) and torch.allclose(first, last):
            found.append(path)
    return found[::-1]


def block_of(name: str, blocks: Iterable[str]) -> str | None:
    """The block that a parameter lies in; None: it lies in none."""
    return next((block for block in blocks if name.startswith(f"{block}.")), None)


@torch.no_grad()
def cosines(model: nn.Module, inputs: Sequence[Tensor], run: Callable[[Tensor], object]) -> dict[str, float]:
    """Block of `passing_blocks` → the mean cosine of its inputs and outputs, over samples and positions.

    A cosine is over the features of a position: channels of an image, or else the last dimension.

    Args:
        inputs: those of each batch; the shape of the first says which blocks there are.
        run: inputs of a batch → outputs of the network; its modules are those of the model.
    """
    sums: dict[str, tuple[float, int]] = {}

    def note(path: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        first, last = _first(args or tuple(kwargs.values())), _first(output)
        features = 1 if first.dim() == 4 else -1
        similar = F.cosine_similarity(first.double(), last.double(), features)
        total, count = sums.get(path, (0.0, 0))
        sums[path] = total + float(similar.sum()), count + similar.numel()

    handles = [
        model.get_submodule(path).register_forward_hook(partial(note, path), with_kwargs=True)
        for path in passing_blocks(model, inputs[0])
    ]
    try:
        for each in inputs:
            run(each)
    finally:
        for handle in handles:
            handle.remove()
    return {path: total / count for path, (total, count) in sums.items()}


def by_block(names: Iterable[str], values: Mapping[str, float]) -> dict[str, float]:
    """Name of a parameter → the value of its block, for those that lie in one."""
    pairs = ((name, block_of(name, values)) for name in names)
    return {name: values[block] for name, block in pairs if block is not None}


def _first(values: Any) -> Any:
    """The first tensor of what a module is given or puts out."""
    return values if isinstance(values, Tensor) else next(iter(values), None)


def _alike(first: Any, last: Any) -> bool:
    return isinstance(first, Tensor) and isinstance(last, Tensor) and first.shape == last.shape
