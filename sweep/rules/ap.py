"""AP, activate while pruning: a second ranking at each level of `imp`. Liu et al. 2023."""

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor

import pruners
from sweep.config import Config
from sweep.rules.levels import joined
from sweep.rules.rule import removes_units
from sweep.rules.run import Run


def inconsistencies(config: Config) -> Iterator[tuple[str, str]]:
    """Counts that the second ranking could not keep to."""
    if config.scope == "rowwise":
        yield "scope", f"second {config.second} ranks the weights of whole layers: take no scope rowwise"
    if config.min_per_layer:
        yield "min_per_layer", f"min_per_layer with second {config.second}: give one of them"
    if removes_units(config):
        yield "second", f"second {config.second} ranks single weights: leave out structure {config.structure}"
    if config.target != "kept":
        yield "target", f"target {config.target} with second {config.second}: give one of them"
    if config.scope in pruners.PATTERNS:
        yield "scope", f"scope {config.scope} with second {config.second}: it knows no patterns: take another"


@torch.no_grad()
def replaced(run: Run, masks: pruners.Masks) -> pruners.Masks:
    """The masks of a level, of whose removed weights a share is chosen by how far the weights moved.

    The weights moved from the state that the level began with: that to which training rewinds.

    Args:
        masks: of the level by magnitude alone. They say how many weights are kept: in the network with scope
            `global`, in each layer with the other scopes.
    """
    assert run.snapshot
    _, start = run.snapshot
    layers = pruners.prunable(run.model, run.exclude)
    weights = [weight.detach().flatten() for weight in layers.values()]
    starts = [start[name].to(weight.device).flatten() for name, weight in layers.items()]
    kept = [mask.flatten() for mask in masks.values()]
    if run.scope == "global":
        weights, starts, kept = ([torch.cat(each)] for each in (weights, starts, kept))
    share = Fraction(str(run.config.second_share))
    groups = zip(weights, starts, kept, strict=True)
    parts = [stays(weight, begun, int(mask.count_nonzero()), share) for weight, begun, mask in groups]
    return joined(parts, layers)


def stays(weights: Tensor, start: Tensor, kept: int, share: Fraction) -> Tensor:
    """Which weights of a group stay: the smallest go first, then negative ones that moved least.

    Args:
        weights: after the level, of one dimension; those that were pruned before are 0.
        start: the same weights before the level.
        kept: how many stay.
        share: of the weights that the level removes, how many the second ranking chooses; rounded. Where
            fewer weights are negative, the smallest of the others go in the place of the missing ones.

    Returns:
        A boolean mask with `kept` entries that are True.
    """
    size = weights.abs()
    by_movement = round(share * (int(weights.count_nonzero()) - kept))
    larger = pruners.keep_top(size, kept + by_movement)
    negative = larger & (weights < 0)
    moved = (weights - start).abs().masked_fill(~negative, torch.inf)
    chosen = pruners.keep_top(-moved, min(by_movement, int(negative.count_nonzero())))
    return pruners.keep_top(size.masked_fill(~larger | chosen, -1), kept)
