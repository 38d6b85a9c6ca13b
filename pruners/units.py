"""Units: what is kept or removed as a whole, such as a channel, and their entries of parameters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Member:
    """The entries of one parameter that belong to the units of a group.

    Attributes:
        parameter: name of the parameter: a weight, a bias, a scale or a shift of a normalization; or of a
            buffer, such as a running mean.
        dim: the dimension of the parameter along which the units lie.
        index: (units, entries), int64: the positions of each unit along `dim`.
    """

    parameter: str
    dim: int
    index: Tensor


@dataclass(frozen=True)
class UnitGroup:
    """Units that are alike: each has its own entries of every member.

    Attributes:
        name: name of the weight whose rows make the outputs of the units.
        members: the parameters that the units have entries of.
    """

    name: str
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        """The number of units."""
        return len(self.members[0].index)


Units = Sequence[UnitGroup]


def unit_sums(group: UnitGroup, scores: Mapping[str, Tensor]) -> list[Tensor]:
    """For each member that has scores, the sum of the scores of each unit's entries, (units,)."""
    sums = []
    for member in group.members:
        if member.parameter in scores:
            score = scores[member.parameter]
            lines = score.movedim(member.dim, 0).reshape(score.shape[member.dim], -1).sum(1)
            sums.append(lines[member.index.to(lines.device)].sum(1))
    return sums


def unit_masks(
    groups: Iterable[UnitGroup], kept: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Parameter name → mask without the entries of the units that are not kept.

    Args:
        kept: name of a group → (units,), False for removed units; a group that is not named keeps all.
        parameters: all parameters that get a mask; those without a removed unit keep all entries.
    """
    masks = {name: torch.ones_like(each, dtype=torch.bool) for name, each in parameters.items()}
    for group in groups:
        if group.name not in kept:
            continue
        removed = ~kept[group.name].cpu()
        for member in group.members:
            if member.parameter in masks:
                mask = masks[member.parameter]
                mask.index_fill_(member.dim, member.index[removed].flatten().to(mask.device), False)
    return masks


def kept_units(groups: Units, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name of a group → (units,), False for the units of which the masks keep no entry."""
    kept = {}
    for group in groups:
        alive = []
        for member in group.members:
            if member.parameter in masks:
                lines = masks[member.parameter].movedim(member.dim, 0)
                alive.append(lines.reshape(len(lines), -1).any(1).cpu()[member.index].any(1))
        kept[group.name] = torch.stack(alive).any(0)
    return kept
