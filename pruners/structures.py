"""Structures: what is removed as a whole, the units of a network that are, and how units are ranked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isqrt, prod

import torch
from torch import Tensor, nn

from pruners.coupling import channel_groups
from pruners.masks import Masks, Sparsity, kept_count, prunable, total_kept
from pruners.narrowing import narrowed
from pruners.scopes import PATTERNS, SCOPES, Group, Scope, Shapes, divided
from pruners.shallower import Cut, shallower
from pruners.structured import filter_shapes, norms_behind, removable_blocks
from pruners.units import Member, UnitGroup, Units, kept_units, unit_masks, unit_sums

# Network, one batch of which only the shape matters, names of the weights that may be pruned → units.
Finder = Callable[[nn.Module, Tensor, Iterable[str]], Units]


@dataclass(frozen=True)
class Structure:
    """What is removed as a whole.

    Attributes:
        name: the name that the structure is asked for by.
        removed: what is removed, in a few words.
        find: finds the units of a network; None: single weights are removed.
        scopes: names of the scopes that spread the units over their groups; empty: all scopes of weights.
        least: units that each group keeps at least.
        unit_scores: how the units may be ranked; empty: scores do not rank them, and the first units of each
            group are kept.
        cut: makes the network without the removed units; None: what is left has no form of its own.
        criterion: the one criterion that goes with the structure in studies, as scores do not rank its units;
            empty: any does.
        drawn: whether scores that are draws rank a unit by one of them. A sum of draws would rank large units
            first; rows of one layer have equally many.
        traced: whether the units follow from a pass through the network, which needs an example of inputs.
    """

    name: str
    removed: str
    find: Finder | None = None
    scopes: tuple[str, ...] = ()
    least: int = 0
    unit_scores: tuple[str, ...] = ("sum", "mean", "group-mean")
    criterion: str = ""
    drawn: bool = True
    cut: Cut | None = None
    traced: bool = True

    def refusal(self, scope: Scope) -> str:
        """Why a scope does not go with the structure; empty: it does. Densities of groups go with all."""
        named = isinstance(scope, str) and (scope in SCOPES or scope in PATTERNS)
        if not self.scopes or not named or scope in self.scopes:
            return ""
        *others, last = self.scopes
        known = f"{', '.join(others)} or {last}" if others else last
        return f"scope {scope} with structure {self.name}: take {known}"


def _filters(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Rows of each layer, with their biases and, given an example, the normalization that reads only them."""
    parameters = dict(model.named_parameters())
    shapes = filter_shapes(model, weights)
    norms = norms_behind(model, example) if example.numel() else {}
    groups = []
    for name, (count,) in shapes.items():
        index = torch.arange(count).unsqueeze(1)
        others = [f"{name.rpartition('.')[0]}.bias".lstrip(".")]
        others += [f"{path}.{leaf}" for path in norms.get(name, ()) for leaf in ("weight", "bias")]
        of_rows = [each for each in others if each in parameters and parameters[each].shape == (count,)]
        groups.append(UnitGroup(name, tuple(Member(each, 0, index) for each in (name, *of_rows))))
    return groups


def _blocks(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Residual blocks with an identity shortcut whose prunable weights may all be pruned: each is a group.

    A block is all of its parameters, those of its normalization included.
    """
    every, chosen = prunable(model), set(weights)
    groups = []
    for block in removable_blocks(model, example):
        inside = [name for name in every if name.startswith(f"{block}.")]
        if chosen.issuperset(inside):
            members = [
                Member(name, 0, torch.arange(len(parameter)).unsqueeze(0))
                for name, parameter in model.named_parameters()
                if name.startswith(f"{block}.") and parameter.dim()
            ]
            groups.append(UnitGroup(block, tuple(members)))
    return groups


def _channels(model: nn.Module, example: Tensor, weights: Iterable[str]) -> list[UnitGroup]:
    """Channels with all that is coupled to them; rows of weights that may not be pruned stay."""
    chosen = set(weights)
    return channel_groups(model, example, [name for name in prunable(model) if name not in chosen])


_OF_UNITS = ("global", "uniform")
_OF_LAYERS = ("uniform", "er", "erk", "balanced", "per-filter", "igq", "pyramid")
STRUCTURES: dict[str, Structure] = {
    each.name: each
    for each in (
        Structure("weight", "single weights", unit_scores=("sum",), traced=False),
        Structure("filter", "filters", _filters, _OF_UNITS, drawn=False, traced=False),
        Structure("channel", "channels that can be removed", _channels, _OF_UNITS, 1, cut=narrowed),
        Structure(
            "width", "channels that can be removed", _channels, _OF_LAYERS, 1, (), "random", cut=narrowed
        ),
        Structure(
            "block",
            "residual blocks with an identity shortcut",
            _blocks,
            ("global",),
            unit_scores=("sum", "mean"),
            cut=shallower,
        ),
    )
}


def find_units(
    structure: str, model: nn.Module, example_input: Tensor | None = None, exclude: Iterable[str] = ()
) -> list[UnitGroup]:
    """The units of a structure in a network, group by group; none for single weights.

    Args:
        structure: a name of `STRUCTURES`.
        example_input: one batch, of which only the shape matters; structures of coupled layers and of blocks
            need it.
        exclude: patterns of parameter names to leave dense.

    Raises:
        ValueError: the network has no such units, a layer has none, or there is no example.
    """
    chosen = STRUCTURES[structure]
    if not chosen.find:
        return []
    if example_input is None:
        if chosen.traced:
            raise ValueError(
                f"structure {structure}: give batches, whose shape says which parameters belong together"
            )
        example_input = torch.empty(0)
    groups = list(chosen.find(model, example_input, list(prunable(model, exclude))))
    if not groups:
        raise ValueError(f"{type(model).__name__} has no {chosen.removed}")
    return groups


def other_masks(model: nn.Module, groups: Units, masks: Mapping[str, Tensor]) -> Masks:
    """Masks of the other parameters that lose entries with the removed units.

    These are biases, scales and shifts of normalization, and weights that were excluded.

    Args:
        masks: of the prunable weights: a unit of which they keep no entry is removed.
    """
    others = {name: each for name, each in model.named_parameters() if name not in masks}
    found = unit_masks(groups, kept_units(groups, masks), others)
    return {name: mask for name, mask in found.items() if not mask.all()}


def ranked_units(
    structure: str,
    groups: Units,
    scores: Mapping[str, Tensor],
    unit_score: str,
    alive: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Name of a group → a number for each unit to rank by, (units,); −∞ for units that may not be kept.

    Args:
        scores: of the prunable weights.
        unit_score: `sum` of the scores of a unit's entries, their `mean`, or `group-mean`: the sum divided by
            the mean size of the sums of the group's units; or `first`, the score of one entry.
        alive: masks of the weights that may be kept; None: all.
    """
    kept = None if alive is None else kept_units(groups, alive)
    ranked = {}
    for group in groups:
        value: Tensor = torch.stack(unit_sums(group, scores)).sum(0)
        if not STRUCTURES[structure].unit_scores:
            value = -torch.arange(group.size, dtype=value.dtype, device=value.device)
        elif unit_score == "first":
            value = _first(group, scores)
        elif unit_score == "mean":
            value = value / _entries(group, scores)
        mask = None if kept is None else kept[group.name].to(value.device)
        if unit_score == "group-mean":
            # The size: with scores of both signs the mean could be negative, and would turn the order round.
            mean = (value if mask is None else value[mask]).abs().mean()
            value = value / mean if mean > 0 else value
        ranked[group.name] = value if mask is None else value.masked_fill(~mask, -torch.inf)
    return ranked


def _first(group: UnitGroup, scores: Mapping[str, Tensor]) -> Tensor:
    """The score of the first entry of each unit, (units,)."""
    member = next(member for member in group.members if member.parameter in scores)
    lines = scores[member.parameter].movedim(member.dim, 0)
    return lines[member.index[:, 0].to(lines.device)].flatten(1)[:, 0]


def _entries(group: UnitGroup, scores: Mapping[str, Tensor]) -> int:
    """How many scored entries a unit of a group has."""
    of_members = (
        scores[member.parameter].numel() // scores[member.parameter].shape[member.dim] * member.index.shape[1]
        for member in group.members
        if member.parameter in scores
    )
    return sum(of_members)


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
