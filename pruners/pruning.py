"""Pruning: any criterion with any scope, any schedule and any structure."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruners import counting
from pruners.batches import Batch, Loss
from pruners.budgets import BUDGETS, asked_densities
from pruners.criteria import Criterion, Mode
from pruners.lookup import Chosen, find, one_of
from pruners.masks import Masks, Sparsity, kept_count, prunable
from pruners.order import ORDERS
from pruners.probe import Scores
from pruners.ranking import select
from pruners.schedules import SCHEDULES, group_counts
from pruners.scopes import PATTERNS, SCOPES, Group, Scope, divided, within
from pruners.scoring import score
from pruners.structures import STRUCTURES, find_units, ranked_units
from pruners.unit_counts import spread, weights_of_units
from pruners.units import Units, kept_units, unit_masks


class Step(NamedTuple):
    """One pruning iteration: its scores, the masks chosen by them, and the weights to go on with.

    Attributes:
        scores: name of a prunable weight → its scores.
        masks: name → boolean mask; True is kept.
        weights: name of a weight or bias → its new value; those without one stay as they are.
    """

    scores: Scores
    masks: Masks
    weights: Mapping[str, Tensor] = MappingProxyType({})


def prune(
    criterion: Chosen,
    model: nn.Module,
    batches: Iterable[Batch] = (),
    *,
    sparsity: Sparsity,
    scope: Scope = "global",
    iterations: int | None = None,
    schedule: str = "exponential",
    loss: Loss = F.cross_entropy,
    seed: int = 0,
    exclude: Iterable[str] = (),
    invert: bool = False,
    score_mode: Mode | None = None,
    min_per_layer: int = 0,
    structure: str = "weight",
    unit_score: str = "sum",
    units: Units | None = None,
    target: Literal["kept", "effective"] = "kept",
    example_input: Tensor | None = None,
    **options: Any,
) -> Masks:
    """Masks that keep exactly max(1, round(N·(1 − sparsity))) of the N prunable weights.

    The model is not changed: apply the masks with `apply_masks`. With several iterations the network is
    scored anew at each mask. Pruned weights stay pruned, except with criteria that rank them again (FORCE).

    Args:
        criterion: one of `names()`, or a function of one's own; see `find`.
        batches: (inputs, targets), iterated over once in each iteration; an `__iter__` may draw fresh ones.
        sparsity: share of weights to remove, in [0, 1); a decimal is taken exactly.
        scope: how the kept weights spread over the layers: a name of `SCOPES`, `PATTERNS` or `BUDGETS`, or
            layer name → density; the densities of the layers are then proportional to these.
        iterations: pruning iterations from dense to the sparsity; None is the criterion's default.
        schedule: a name of `SCHEDULES`: how the density falls over the iterations.
        loss, seed, score_mode: as for `saliency`.
        exclude: patterns of parameter names to leave dense; these weights do not count in N.
        invert: keep the lowest scores instead, an ablation (Frankle et al. 2021).
        min_per_layer: least number of weights to keep of each layer (Gupta et al. 2022, Minimum Threshold).
        structure: a name of `STRUCTURES`: N, `sparsity`, `min_per_layer` count its units (`width`: weights).
        unit_score: `sum`, `mean` or `group-mean`: what units are ranked by; see `ranked_units`.
        units: of the structure; None: `find_units` finds them, with the inputs of the first batch.
        target: `effective` keeps as few weights as leave that many effective ones in the last iteration, or
            more by those on paths that the last weight closes; see `effective_masks`.
        example_input: whose shape `target` needs; None: the inputs of the first batch.
        options: of the criterion.

    Returns:
        Parameter name → boolean mask of the parameter's shape, on its device; True is kept.

    Raises:
        ValueError: an unknown name, an impossible sparsity, no batches, or scores that are not finite.
    """
    steps = trajectory(
        criterion, model, batches, sparsity=sparsity, scope=scope, iterations=iterations, schedule=schedule,
        loss=loss, seed=seed, exclude=exclude, invert=invert, score_mode=score_mode,
        min_per_layer=min_per_layer, structure=structure, unit_score=unit_score, units=units,
        target=target, example_input=example_input, **options,
    )  # fmt: skip
    return final(steps, iterations or find(criterion).iterations).masks


def final(steps: Iterator[Step], iterations: int) -> Step:
    """The last step of a trajectory of `iterations` steps; no two steps are in memory at once."""
    deque(islice(steps, iterations - 1), maxlen=0)
    return next(steps)


def trajectory(
    criterion: Chosen,
    model: nn.Module,
    batches: Iterable[Batch] = (),
    *,
    sparsity: Sparsity,
    scope: Scope = "global",
    iterations: int | None = None,
    schedule: str = "exponential",
    loss: Loss = F.cross_entropy,
    seed: int = 0,
    exclude: Iterable[str] = (),
    invert: bool = False,
    score_mode: Mode | None = None,
    min_per_layer: int = 0,
    structure: str = "weight",
    unit_score: str = "sum",
    units: Units | None = None,
    target: Literal["kept", "effective"] = "kept",
    example_input: Tensor | None = None,
    score_order: str = "whole",
    first: Scores | None = None,
    start: Masks | None = None,
    **options: Any,
) -> Iterator[Step]:
    """The scores and masks of each iteration of `prune`, one by one.

    Args:
        score_order: a name of `ORDERS`: whether layers are scored behind others that are pruned already.
        first: scores of the first iteration, if `saliency` has computed them already.
        start: masks of weights pruned before, which stay pruned. All weights count in the sparsity. Where a
            scope leaves a layer more than `start` keeps, it keeps less; units that it lacks others keep.
    """
    chosen = find(criterion)
    _check_pruning(iterations, schedule, min_per_layer, scope, target, structure)
    weights = prunable(model, exclude)
    units = _units(structure, model, batches, exclude, units)
    if isinstance(scope, str) and scope in BUDGETS:
        scope = asked_densities(scope, model, weights, batches, loss=loss, seed=seed, sparsity=sparsity)
    ranking = _Ranking(structure, unit_score, units, weights, chosen)
    groups = ranking.groups(scope, sparsity, min_per_layer, start)
    total_steps, masks = iterations or chosen.iterations, start
    for step, kept in enumerate(group_counts(schedule, groups, ranking.sizes, total_steps)):
        draw = crc32(f"{seed}/{step}".encode()) if step else seed  # random numbers of its own
        alive, scores = start if chosen.revives else masks, first
        if scores is None or step:
            how = {"loss": loss, "seed": draw, "score_mode": score_mode, **options}
            at = partial(_scores_at, chosen, model, weights, how)
            of = partial(ranking.chosen, alive, invert, min_per_layer)
            scores = ORDERS[score_order](model, masks, batches, list(zip(groups, kept, strict=True)), at, of)
        effective = target == "effective" and step + 1 == total_steps
        choose = _effective(model, batches, example_input, scope, sparsity, weights) if effective else select
        ranked = ranking.ranked(scores, alive, invert)
        masks = ranking.masks(choose(ranked, groups, kept, ranking.least(min_per_layer)))
        if start is not None:
            masks = {layer: mask & start[layer] for layer, mask in masks.items()}
        del ranked
        yield Step(scores, masks)
        del scores  # free their memory before the next iteration


def _scores_at(
    chosen: Criterion,
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    how: Mapping[str, Any],
    masks: Masks | None,
    batches: Iterable[Batch],
) -> Scores:
    return score([chosen], model, weights, masks, batches, **how)[chosen.name]


def _check_pruning(
    iterations: int | None,
    schedule: str,
    min_per_layer: int,
    scope: Scope,
    target: Literal["kept", "effective"],
    structure: str,
) -> None:
    """Raise `ValueError` if arguments of `prune` are not among those that it takes."""
    if iterations is not None and iterations < 1:
        raise ValueError(f"iterations {iterations}: at least 1")
    one_of("schedule", schedule, SCHEDULES)
    if not isinstance(scope, Mapping):
        one_of("scope", scope, (*SCOPES, *PATTERNS, *BUDGETS))
        if scope in BUDGETS and (why := STRUCTURES[structure].refusal(scope)):
            raise ValueError(why)
    patterned = isinstance(scope, str) and (scope == "rowwise" or scope in PATTERNS)
    if min_per_layer < 0 or (min_per_layer and patterned):
        named = scope if patterned else "rowwise"
        raise ValueError(f"min_per_layer {min_per_layer}: at least 0, and not with scope {named}")
    counting.check(target, structure, scope)


def _effective(
    model: nn.Module,
    batches: Iterable[Batch],
    example_input: Tensor | None,
    scope: Scope,
    sparsity: Sparsity,
    weights: Mapping[str, Tensor],
) -> Callable[..., Masks]:
    """As `select`, so that the sparsity counts effective weights."""
    shapes = {layer: tuple(weight.shape) for layer, weight in weights.items()}
    wanted = kept_count(sum(weight.numel() for weight in weights.values()), sparsity)
    groups_of = partial(divided, scope, shapes)
    return counting.EffectiveCount(model, batches, example_input, groups_of, wanted).select


def _units(
    structure: str,
    model: nn.Module,
    batches: Iterable[Batch],
    exclude: Iterable[str],
    given: Units | None,
) -> Units:
    """The units that are given, or those of the network."""
    if given is not None:
        return given
    traced = STRUCTURES[one_of("structure", structure, STRUCTURES)].traced
    first = next(iter(batches), None) if traced else None
    return find_units(structure, model, None if first is None else first[0], exclude)


class _Ranking:
    """What is ranked: units, or single weights.

    Attributes:
        sizes: name of a group → its units, or the weights of these; or name of a layer → its weights.
    """

    def __init__(
        self, structure: str, unit_score: str, units: Units, weights: Mapping[str, Tensor], chosen: Criterion
    ) -> None:
        """Check the names.

        Raises:
            ValueError: no structure has this name, or its units are not ranked so.
        """
        self._structure = STRUCTURES[one_of("structure", structure, STRUCTURES)]
        if self._structure.unit_scores:
            one_of(f"unit_score with structure {structure}", unit_score, self._structure.unit_scores)
        self._unit_score = "first" if chosen.draws and self._structure.drawn else unit_score
        self._units, self._weights, self._reads = units, weights, chosen.reads
        single = {layer: weight.numel() for layer, weight in weights.items()}
        self._each = dict.fromkeys((group.name for group in units), 1)
        if self._structure.weighed:
            self._each = weights_of_units(units, {name: tuple(w.shape) for name, w in weights.items()})
        self.sizes = {group.name: group.size * self._each[group.name] for group in units} if units else single

    def groups(
        self, scope: Scope, sparsity: Sparsity, min_per_layer: int, start: Masks | None
    ) -> list[Group]:
        """How many are kept of which groups or layers together.

        Args:
            start: masks of the weights that units have left; None: all.
        """
        name, weights = self._structure.name, self._weights
        groups = spread(name, self._units, weights, scope, sparsity, min_per_layer)
        if start is None or not self._units:
            return groups
        left = kept_units(self._units, start)
        return within(
            groups, {name: int(kept.count_nonzero()) * self._each[name] for name, kept in left.items()}
        )

    def least(self, min_per_layer: int) -> int:
        """How many each group or layer keeps at least."""
        return max(min_per_layer, self._structure.least)

    def ranked(self, scores: Scores, alive: Masks | None, invert: bool) -> Scores:
        """The numbers to rank by, −∞ for what is pruned already.

        Args:
            alive: masks of the weights that may be kept; None: all are ranked.
        """
        ranked = {layer: -s for layer, s in scores.items()} if invert else scores
        if self._units:
            return ranked_units(
                self._structure.name, self._units, ranked, self._unit_score, alive, self._reads
            )
        if alive is None:
            return ranked
        return {layer: s.masked_fill(~alive[layer], -torch.inf) for layer, s in ranked.items()}

    def chosen(
        self,
        alive: Masks | None,
        invert: bool,
        min_per_layer: int,
        scores: Scores,
        groups: Sequence[Group],
        kept: Sequence[int],
    ) -> Masks:
        """The masks of some layers."""
        return select(self.ranked(scores, alive, invert), groups, kept, self.least(min_per_layer))

    def masks(self, kept: Masks) -> Masks:
        """Masks of the weights, of what is kept."""
        return unit_masks(self._units, kept, self._weights) if self._units else kept
