"""How many units of each group are kept, or how many weights of each layer."""

from collections.abc import Mapping
from math import isqrt, prod

import torch
from torch import Tensor

from pruners.masks import Sparsity, kept_count, total_kept
from pruners.scopes import Group, Scope, Shapes, Weighed, divided
from pruners.structures import STRUCTURES
from pruners.units import Units, unit_masks


def spread(
    structure: str,
    groups: Units,
    weights: Mapping[str, Tensor],
    scope: Scope,
    sparsity: Sparsity,
    min_per_layer: int,
) -> list[Group]:
    """How many units, or weights, are kept of which groups, or layers, together.

    Args:
        groups: the units; none: single weights are counted.

    Raises:
        ValueError: the scope is unknown or does not go with the structure, the sparsity is impossible, or
            a group would keep fewer units than it must.
    """
    chosen = STRUCTURES[structure]
    if why := chosen.refusal(scope):
        raise ValueError(why)
    shapes: Shapes = {layer: tuple(weight.shape) for layer, weight in weights.items()}
    if not groups:
        return divided(scope, shapes, kept_count(_size(shapes), sparsity))
    least = max(min_per_layer, chosen.least)
    if not chosen.unit_scores:
        return _cropped(groups, weights, scope, sparsity, least)
    if chosen.weighed:
        return _weighed(groups, shapes, scope, sparsity)
    shapes = {group.name: (group.size,) for group in groups}
    shared = divided(scope, shapes, kept_count(_size(shapes), sparsity))
    for each in shared:
        needed = sum(min(least, prod(shapes[name])) for name in each.layers)
        if needed > each.kept:
            what = f"{each.layers[0]} has" if len(each.layers) == 1 else f"{len(each.layers)} groups have"
            raise ValueError(
                f"sparsity {sparsity} keeps {each.kept} units where {what} to keep {needed}, at least "
                f"{least} of each group: take a lower sparsity, a lower min_per_layer or another scope"
            )
    return shared


def weights_of_units(groups: Units, shapes: Shapes) -> dict[str, int]:
    """Name of a group → how many weights one of its units has."""
    return {
        group.name: sum(
            prod(shapes[member.parameter]) // shapes[member.parameter][member.dim] * member.index.shape[1]
            for member in group.members
            if member.parameter in shapes
        )
        for group in groups
    }


def _weighed(groups: Units, shapes: Shapes, scope: Scope, sparsity: Sparsity) -> list[Group]:
    """How many weights the units of which groups keep together."""
    each = weights_of_units(groups, shapes)
    totals = {group.name: (group.size * each[group.name],) for group in groups}
    shared = divided(scope, totals, kept_count(_size(totals), sparsity))
    return [group._replace(pattern=Weighed(tuple(each[n] for n in group.layers))) for group in shared]


def _size(shapes: Shapes) -> int:
    return sum(map(prod, shapes.values()))


def _cropped(
    groups: Units,
    weights: Mapping[str, Tensor],
    scope: Scope,
    sparsity: Sparsity,
    least: int,
) -> list[Group]:
    """The units of each group that make the widest network with no more weights than the sparsity leaves.

    PreCrop (Cai et al. 2022): the scope gives each layer a density, and a layer of density p keeps √p of its
    units. Here p is the density of all layers that make the outputs of a group, such as those that a stage of
    a residual network adds up. The weights at which the scope is asked are raised until no more would fit.

    Raises:
        ValueError: the narrowest network has more weights.
    """
    shapes: Shapes = {layer: tuple(weight.shape) for layer, weight in weights.items()}
    makers = {
        group.name: [each.parameter for each in group.members if not each.dim and each.parameter in shapes]
        or [each.parameter for each in group.members if each.parameter in shapes]  # heads of attention
        for group in groups
    }

    def at(nominal: int) -> dict[str, int]:
        kept = {each.layers[0]: each.kept for each in divided(scope, shapes, nominal)}
        widths = {}
        for group in groups:
            names = makers[group.name]
            left, full = sum(kept[name] for name in names), sum(prod(shapes[name]) for name in names)
            widths[group.name] = min(group.size, max(least, isqrt(left * group.size**2 // full)))
        return widths

    def left(widths: Mapping[str, int]) -> int:
        kept = {group.name: torch.arange(group.size) < widths[group.name] for group in groups}
        return total_kept(unit_masks(groups, kept, weights).values())

    total = _size(shapes)
    target = kept_count(total, sparsity)
    if (narrowest := left(at(1))) > target:
        raise ValueError(
            f"sparsity {sparsity} keeps {target} of {total} weights and the narrowest network has "
            f"{narrowest}: take a lower sparsity"
        )
    low, high = 1, total + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if left(at(middle)) <= target else (low, middle)
    return [Group((name,), width) for name, width in at(low).items()]
