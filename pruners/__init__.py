"""Pruning criteria for any `torch.nn.Module`: score weights, choose masks, apply and measure them.

    masks = pruners.prune("snip", model, [(inputs, targets)], sparsity=0.95)
    pruners.apply_masks(model, masks)

Any criterion (module `saliency`) combines with any scope (`scopes`) and any schedule (`schedules`). A
function of your own is given where the name of a criterion is: `pruners.prune(my_function, model, ...)`; the
decorator `criterion` says what it needs, and registers it under a name. `pruners.interop` writes masks to
files and applies them as `torch.nn.utils.prune` does.
"""

from pruners.activity import relu_activity
from pruners.batches import Sources
from pruners.blocks import Block, in_blocks
from pruners.budgets import BUDGETS, asked_densities
from pruners.compensation import COMPENSATIONS, compensated
from pruners.cost import Cost, cost, multiply_adds, pq_index, pq_index_of
from pruners.coupling import channel_groups
from pruners.criteria import Criterion, criterion
from pruners.effective import effective_masks
from pruners.graphs import ramanujan_gap
from pruners.lookup import find, names, saliencies, saliency
from pruners.masks import (
    Masks,
    apply_masks,
    collapsed_layers,
    densities,
    kept_count,
    prunable,
    reinitialize,
    shuffle,
)
from pruners.narrowing import narrowed, narrowed_tensors
from pruners.order import ORDERS
from pruners.pruning import Step, final, prune, trajectory
from pruners.ranking import keep_top
from pruners.schedules import SCHEDULES
from pruners.scopes import PATTERNS, SCOPES
from pruners.sparsegpt import obs_groups, obs_step
from pruners.structured import block_masks, block_scores, filter_masks, precrop, removable_blocks
from pruners.structures import STRUCTURES, find_units, other_masks
from pruners.units import Member, UnitGroup, Units, kept_units, unit_masks, unit_sums

__all__ = [
    "BUDGETS",
    "COMPENSATIONS",
    "ORDERS",
    "PATTERNS",
    "SCHEDULES",
    "SCOPES",
    "STRUCTURES",
    "Block",
    "Cost",
    "Criterion",
    "Masks",
    "Member",
    "Sources",
    "Step",
    "UnitGroup",
    "Units",
    "apply_masks",
    "asked_densities",
    "block_masks",
    "block_scores",
    "channel_groups",
    "collapsed_layers",
    "compensated",
    "cost",
    "criterion",
    "densities",
    "effective_masks",
    "filter_masks",
    "final",
    "find",
    "find_units",
    "in_blocks",
    "keep_top",
    "kept_count",
    "kept_units",
    "multiply_adds",
    "names",
    "narrowed",
    "narrowed_tensors",
    "obs_groups",
    "obs_step",
    "other_masks",
    "pq_index",
    "pq_index_of",
    "precrop",
    "prunable",
    "prune",
    "ramanujan_gap",
    "reinitialize",
    "relu_activity",
    "removable_blocks",
    "saliencies",
    "saliency",
    "shuffle",
    "trajectory",
    "unit_masks",
    "unit_sums",
]
