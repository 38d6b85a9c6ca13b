"""Pruning criteria for any `torch.nn.Module`: score, choose masks, apply them, look at what they leave.

    masks = pruners.prune("snip", model, [(inputs, targets)], sparsity=0.95)
    pruners.apply_masks(model, masks)

Three tables combine freely: criteria (`saliency`), scopes (`scopes`) and schedules (`schedules`). Masks go to
files and to `torch.nn.utils.prune` by `pruners.interop`.
"""

from pruners.facts import Cost, cost, multiply_adds, pq_index
from pruners.masks import (
    apply_masks,
    collapsed_layers,
    densities,
    keep_top,
    kept_count,
    prunable,
    reinitialize,
    shuffle,
)
from pruners.paths import effective_masks
from pruners.pruning import Step, final, find, names, prune, saliencies, saliency, trajectory
from pruners.saliency import Criterion
from pruners.schedules import SCHEDULES
from pruners.scopes import SCOPES
from pruners.structured import block_masks, block_scores, filter_masks, precrop, removable_blocks

__all__ = [
    "SCHEDULES",
    "SCOPES",
    "Cost",
    "Criterion",
    "Step",
    "apply_masks",
    "block_masks",
    "block_scores",
    "collapsed_layers",
    "cost",
    "densities",
    "effective_masks",
    "filter_masks",
    "final",
    "find",
    "keep_top",
    "kept_count",
    "multiply_adds",
    "names",
    "pq_index",
    "precrop",
    "prunable",
    "prune",
    "reinitialize",
    "removable_blocks",
    "saliencies",
    "saliency",
    "shuffle",
    "trajectory",
]
