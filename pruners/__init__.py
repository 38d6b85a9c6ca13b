"""Pruning criteria for any `torch.nn.Module`: score, choose masks, apply them, look at what they leave.

    masks = pruners.prune("snip", model, [(inputs, targets)], sparsity=0.95)
    pruners.apply_masks(model, masks)

Three tables combine freely: criteria (`saliency`), scopes (`scopes`) and schedules (`schedules`).
"""

from pruners.masks import (
    apply_masks,
    collapsed_layers,
    densities,
    keep_top,
    kept_count,
    prunable,
    shuffle,
)
from pruners.paths import effective_masks
from pruners.pruning import Step, final, find, names, prune, saliencies, saliency, trajectory
from pruners.saliency import Criterion
from pruners.schedules import SCHEDULES
from pruners.scopes import SCOPES

__all__ = [
    "SCHEDULES",
    "SCOPES",
    "Criterion",
    "Step",
    "apply_masks",
    "collapsed_layers",
    "densities",
    "effective_masks",
    "final",
    "find",
    "keep_top",
    "kept_count",
    "names",
    "prunable",
    "prune",
    "saliencies",
    "saliency",
    "shuffle",
    "trajectory",
]
