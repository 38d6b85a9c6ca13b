"""The order in which the layers of a network are scored: all of one network, or block behind pruned block."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from pruners.batches import Batch
from pruners.blocks import in_blocks
from pruners.masks import Masks, prunable
from pruners.probe import Scores
from pruners.scopes import Group

# Masks of the network that is scored (None: it is dense), and batches → scores of all its weights.
ScoresAt = Callable[[Masks | None, Iterable[Batch]], Scores]
# Scores of some layers, their groups, and how many each group keeps → masks of these layers.
Choose = Callable[[Scores, Sequence[Group], Sequence[int]], Masks]


def whole(
    model: nn.Module,
    masks: Masks | None,
    batches: Iterable[Batch],
    counts: Sequence[tuple[Group, int]],
    scores_at: ScoresAt,
    choose: Choose,
) -> Scores:
    """All layers at the same masks."""
    return scores_at(masks, batches)


def blockwise(
    model: nn.Module,
    masks: Masks | None,
    batches: Iterable[Batch],
    counts: Sequence[tuple[Group, int]],
    scores_at: ScoresAt,
    choose: Choose,
) -> Scores:
    """Each block on the outputs of blocks that are pruned already, as Wanda's code does (Sun et al. 2024).

    Args:
        masks: of the network before; None: it is dense.
        counts: the groups of layers, and how many weights each keeps.

    Raises:
        ValueError: layers of several blocks are ranked together.
    """
    drawn, found = list(batches), Scores()
    layers = {layer for group, _ in counts for layer in group.layers}
    weights = {name: weight for name, weight in prunable(model).items() if name in layers}
    now = dict(masks or {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()})
    for block in in_blocks(model, weights):
        inside = [(group, kept) for group, kept in counts if {*group.layers} <= {*block.layers}]
        if sum(len(group.layers) for group, _ in inside) < len(block.layers):
            raise ValueError(
                "score_order blockwise: the scope ranks layers of several blocks together: "
                "take uniform, rowwise or another scope that says what each layer keeps"
            )
        scores = scores_at(now, drawn)
        own = {layer: scores[layer] for layer in block.layers}
        found |= own
        now |= choose(own, [group for group, _ in inside], [kept for _, kept in inside])
    return {name: found[name] for name in weights}


ORDERS: dict[str, Callable[..., Scores]] = {"whole": whole, "blockwise": blockwise}
