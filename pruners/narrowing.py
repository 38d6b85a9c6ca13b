"""A network without its removed units: really smaller, with the outputs of the masked one."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves

from pruners.calls import Calls
from pruners.forward import HighestPrecision
from pruners.masks import apply_masks
from pruners.module_sizes import resize
from pruners.units import UnitGroup, unit_masks

# Attributes that say how many heads an attention has, and which `forward` asks.
_HEADS = ("num_heads", "n_heads", "heads", "n_head", "nhead", "num_attention_heads")
# Relative to the largest output; both networks compute in float64, but `forward` may cast to float32.
_TOLERANCE = 1e-4


def narrowed(
    model: nn.Module,
    groups: Iterable[UnitGroup],
    kept: Mapping[str, Tensor],
    example_input: Tensor | None = None,
) -> nn.Module:
    """A copy of a network without the removed units: parameters, buffers and sizes of modules are cut.

    In eval mode its outputs are those of the network with the masks of `units.unit_masks`, and in train mode
    too, where no dropout draws. Names of parameters stay as they are. The attention of torch that has lost
    heads is `narrow_attention.NarrowAttention`; that of other modules is told its number of heads by the
    attribute `num_heads` or one of a similar name.

    Args:
        groups: those of `coupling.channel_groups`.
        kept: name of a group → (units,), False for removed units; a group that is not named keeps all.
        example_input: one batch. If given, the copy is compared with the masked network on its first two
            samples, as sizes and numbers of heads can stand in `forward` itself.

    Raises:
        ValueError: a group keeps no unit or has another number of units. Or the copy does not run, or
            computes something else: the message names the layer and the function, or the group.
    """
    groups = list(groups)
    copy = _cut_out(model, groups, kept)
    if example_input is not None and not all(stay.all() for stay in kept.values()):
        _check(model, copy, groups, kept, example_input[:2])
    return copy


def narrowed_tensors(
    groups: Iterable[UnitGroup], kept: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of parameters or buffers without the entries of removed units.

    For what goes with a network: masks, weights of another epoch, momentum.

    Args:
        tensors: name of a parameter or buffer → a tensor of its shape; other names stay as they are.

    Raises:
        ValueError: as `narrowed` for what is kept.
    """
    removed = _removed(groups, kept)
    return {name: _cut(each, removed[name]) if name in removed else each for name, each in tensors.items()}


def _cut_out(model: nn.Module, groups: list[UnitGroup], kept: Mapping[str, Tensor]) -> nn.Module:
    copy = deepcopy(model)
    tensors = {**dict(copy.named_parameters()), **dict(copy.named_buffers())}
    cut = narrowed_tensors(groups, kept, tensors)
    new = {id(tensors[name]): tensor for name, tensor in cut.items() if tensor is not tensors[name]}
    heads = _fewer_heads(copy, groups, kept)
    for module in list(copy.modules()):
        own = _own(module)
        shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
        changed = {name: new[id(tensor)] for name, tensor in own.items() if id(tensor) in new}
        for name, tensor in changed.items():
            setattr(module, name, tensor)
        if changed:
            resize(module, shapes)
    for module, name, number in heads:
        setattr(module, name, number)
    return copy


def _fewer_heads(
    model: nn.Module, groups: list[UnitGroup], kept: Mapping[str, Tensor]
) -> list[tuple[nn.Module, str, int]]:
    """The modules whose units are heads, the attribute that counts them, and how many are left."""
    changes = []
    for path, module in model.named_modules():
        for name in _HEADS:
            for group in groups:
                inside = [m for m in group.members if m.parameter.startswith(f"{path}." if path else "")]
                wide = any(member.dim == 0 and member.index.shape[1] > 1 for member in inside)
                own = not isinstance(module, nn.MultiheadAttention)  # it has its own way
                if own and wide and group.name in kept and vars(module).get(name) == group.size:
                    changes.append((module, name, int(kept[group.name].sum())))
    return changes


def _removed(groups: Iterable[UnitGroup], kept: Mapping[str, Tensor]) -> dict[str, dict[int, list[int]]]:
    """Parameter or buffer → dimension → positions that are cut out."""
    groups = list(groups)
    if unknown := kept.keys() - {group.name for group in groups}:
        raise ValueError(f"kept names no group: {', '.join(sorted(unknown))}")
    removed: dict[str, dict[int, list[int]]] = {}
    for group in groups:
        stay = kept.get(group.name, torch.ones(group.size, dtype=torch.bool)).cpu()
        if len(stay) != group.size:
            raise ValueError(f"kept[{group.name!r}] is of {len(stay)} units and the group has {group.size}")
        if not stay.any():
            raise ValueError(f"{group.name} keeps none of its {group.size} units: keep at least one")
        for member in group.members:
            if not stay.all():
                places = removed.setdefault(member.parameter, {}).setdefault(member.dim, [])
                places += member.index[~stay].flatten().tolist()
    return removed


def _own(module: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters and buffers."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return dict(own)


@torch.no_grad()
def _cut(tensor: Tensor, removed: Mapping[int, list[int]]) -> Tensor:
    """The tensor without some positions of its dimensions, in its layout in memory."""
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    result = tensor
    for dim, places in removed.items():
        stay = torch.ones(tensor.shape[dim], dtype=torch.bool)
        stay[places] = False
        result = result.index_select(dim, stay.nonzero().squeeze(1).to(tensor.device))
    result = result.contiguous(memory_format=torch.channels_last) if last else result.contiguous()
    return nn.Parameter(result, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else result


class _Checked(TorchFunctionMode):
    """A context in which a function that fails raises a `ValueError` that names it and the layer."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch for each of its functions that is called in the context."""
        try:
            return func(*args, **(kwargs or {}))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            name = (resolve_name(func) or func.__name__).rpartition(".")[2]
            reason = str(error).strip().partition("\n")[0]
            what = f"{self._calls.layer} cannot be narrowed: its {name} has a size of its own ({reason})"
            raise _Misfit(what, self._calls.name) from None


class _Misfit(ValueError):
    """Why a narrowed network is not equal to the masked one, and the layer where that shows."""

    def __init__(self, reason: str, layer: str) -> None:
        super().__init__(reason)
        self.layer = layer


@torch.no_grad()
def _check(
    model: nn.Module, copy: nn.Module, groups: list[UnitGroup], kept: Mapping[str, Tensor], inputs: Tensor
) -> None:
    """Raise `ValueError` unless a narrowed network has the outputs of the masked one."""
    first = misfit = _misfit(model, copy, groups, kept, inputs)
    left, names = dict(kept), list[str]()
    while misfit and left:
        inside = [name for name in left if misfit.layer and name.startswith(f"{misfit.layer}.")]
        if not inside:  # nothing says where: one run for each group finds the first, which is enough to go on
            alone = (name for name in left if _alone(model, groups, name, kept, inputs))
            names += islice(alone, 1)
            break
        names += inside
        left = {name: stay for name, stay in left.items() if name not in inside}
        misfit = _misfit(model, _cut_out(model, groups, left), groups, left, inputs)
    if first:
        what = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise ValueError(f"{first}; exclude {what or 'a weight before it'}")


def _alone(
    model: nn.Module, groups: list[UnitGroup], name: str, kept: Mapping[str, Tensor], inputs: Tensor
) -> bool:
    """Whether a network does not fit without the removed units of one group alone."""
    only = {name: kept[name]}
    return _misfit(model, _cut_out(model, groups, only), groups, only, inputs) is not None


def _misfit(
    model: nn.Module, copy: nn.Module, groups: list[UnitGroup], kept: Mapping[str, Tensor], inputs: Tensor
) -> _Misfit | None:
    """What is wrong with a narrowed network; None if it is equal to the masked one."""
    masked = deepcopy(model)
    apply_masks(masked, unit_masks(groups, kept, dict(masked.named_parameters())))
    expected = _outputs(masked, inputs)
    try:
        found = _outputs(copy, inputs)
    except _Misfit as misfit:
        return misfit
    if not _equal(expected, found):
        return _Misfit("the narrowed network computes something else, as its forward counts units itself", "")
    return None


def _outputs(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """The outputs of a network in eval mode and float64."""
    model = deepcopy(model).double().eval()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    with Calls(model) as calls, HighestPrecision(), _Checked(calls):
        try:
            outputs = model(inputs)
        except AssertionError as error:
            raise _Misfit(
                f"{calls.layer} cannot be narrowed: it asserts a size ({error})", calls.name
            ) from None
    return [each for each in tree_leaves(outputs) if isinstance(each, Tensor)]


def _equal(first: list[Tensor], second: list[Tensor]) -> bool:
    """Whether the outputs of two networks are equal but for rounding."""
    return all(
        one.shape == other.shape
        and torch.allclose(one, other, 0, _TOLERANCE * float(one.abs().max()), equal_nan=True)
        for one, other in zip(first, second, strict=True)
    )
