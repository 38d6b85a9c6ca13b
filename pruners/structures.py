"""Structures: what is removed as a whole, the units of a network that are, and how units are ranked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pruners import finders
from pruners.finders import Finder
from pruners.masks import Masks, prunable
from pruners.narrowing import narrowed
from pruners.scopes import Scope
from pruners.shallower import Cut, shallower
from pruners.units import UnitGroup, Units, kept_units, unit_masks, unit_sums


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
        read: whether weights read its units, so that criteria of what is read rank them.
        weighed: whether the sparsity counts the weights of the units, which differ in size, and not units.
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
    read: bool = True
    weighed: bool = False

    def refusal(self, scope: Scope) -> str:
        """Why a scope does not go with the structure; empty: it does. Densities of groups go with all."""
        if not self.scopes or not isinstance(scope, str) or scope in self.scopes:
            return ""
        *others, last = self.scopes
        known = f"{', '.join(others)} or {last}" if others else last
        return f"scope {scope} with structure {self.name}: take {known}"


_OF_UNITS = ("global", "uniform")
_OF_BLOCKS = (*_OF_UNITS, "block-influence")
_OF_LAYERS = ("uniform", "er", "erk", "balanced", "per-filter", "igq", "pyramid")
STRUCTURES: dict[str, Structure] = {
    each.name: each
    for each in (
        Structure("weight", "single weights", unit_scores=("sum",), traced=False),
        Structure("filter", "filters", finders.filters, _OF_UNITS, drawn=False, traced=False, read=False),
        Structure("channel", "channels that can be removed", finders.channels, _OF_UNITS, 1, cut=narrowed),
        Structure(
            "width",
            "channels that can be removed",
            finders.channels,
            _OF_LAYERS,
            1,
            (),
            "random",
            cut=narrowed,
        ),
        Structure("head", "heads of attention", finders.heads, _OF_BLOCKS, 1, cut=narrowed),
        Structure("neuron", "neurons between linear layers", finders.neurons, _OF_BLOCKS, 1, cut=narrowed),
        Structure(
            "head+neuron",
            "heads or neurons",
            finders.heads_and_neurons,
            _OF_BLOCKS,
            1,
            cut=narrowed,
            weighed=True,
        ),
        Structure(
            "block",
            "residual blocks with an identity shortcut",
            finders.blocks,
            ("global",),
            unit_scores=("sum", "mean"),
            cut=shallower,
            read=False,
        ),
        Structure(
            "depth",
            "residual blocks that add to their own inputs",
            finders.depth,
            ("global",),
            unit_scores=("sum", "mean"),
            cut=shallower,
            read=False,
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
    reads: bool = False,
) -> dict[str, Tensor]:
    """Name of a group → a number for each unit to rank by, (units,); −∞ for units that may not be kept.

    Args:
        scores: of the prunable weights.
        unit_score: `sum` of the scores of a unit's entries, their `mean`, or `group-mean`: the sum divided by
            the mean size of the sums of the group's units; or `first`, the score of one entry.
        alive: masks of the weights that may be kept; None: all.
        reads: whether the scores of a unit are those of the weights that read it, not of those that make it.

    Raises:
        ValueError: no scored weight reads a unit.
    """
    if reads:
        groups = [_readers(group, scores) for group in groups]
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


def _readers(group: UnitGroup, scores: Mapping[str, Tensor]) -> UnitGroup:
    """The group with those of its members alone that read it."""
    members = tuple(each for each in group.members if each.dim and each.parameter in scores)
    if not members:
        raise ValueError(f"no weight reads {group.name}: the criterion ranks units by the weights that do")
    return replace(group, members=members)


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
