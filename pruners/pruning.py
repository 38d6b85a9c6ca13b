"""Saliency and pruning: any criterion with any scope and any schedule."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from inspect import signature
from itertools import islice
from math import prod
from typing import Any, Literal, NamedTuple
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruners import counting
from pruners.batches import Batch, Loss
from pruners.criteria import Criterion, Mode, checked, of_function
from pruners.masks import Masks, Sparsity, kept_count, prunable
from pruners.own import BadFunction, place
from pruners.probe import Scores
from pruners.ranking import select
from pruners.saliency import CRITERIA
from pruners.schedules import SCHEDULES, group_counts
from pruners.scopes import PATTERNS, SCOPES, Scope, Shapes, divided
from pruners.scoring import score
from pruners.structured import expanded, filter_scores, filter_shapes

# A criterion: its name, a function of one's own, or the object itself.
Chosen = str | Criterion | Callable[..., Any]


def names() -> list[str]:
    """Names of all criteria."""
    return list(CRITERIA)


def find(criterion: Chosen) -> Criterion:
    """The criterion of a name, or that a function is, with its source and its needs.

    A function of one's own is `(probe, *, …) -> scores` or `(model, batches, loss, *, …) -> scores`. The
    first form sees the network through a `Probe`. The second gets a copy of the network with its pruned
    weights at 0, the list of batches, and the loss; the last inputs may be left out.

    Raises:
        ValueError: no criterion has this name; the message suggests the nearest one. Or the function has
            neither form, or an option with the name of an argument of `prune`.
    """
    if isinstance(criterion, Criterion):
        return checked(criterion)
    if not callable(criterion):
        return CRITERIA[_checked("criterion", criterion, CRITERIA)]
    chosen = of_function(criterion)
    _, *options = signature(chosen.score).parameters
    # An option of such a name could not be given.
    taken = {*signature(prune).parameters, *signature(trajectory).parameters} - {"options"}
    if clash := [name for name in options if name in taken]:
        raise BadFunction(
            f"{place(criterion)}: parameter {clash[0]} has the name of an argument of prune: rename it"
        )
    return chosen


def saliency(
    criterion: Chosen,
    model: nn.Module,
    batches: Iterable[Batch] = (),
    *,
    loss: Loss = F.cross_entropy,
    seed: int = 0,
    exclude: Iterable[str] = (),
    score_mode: Mode | None = None,
    **options: object,
) -> Scores:
    """Score every prunable weight of `model`; the model is not changed.

    Args:
        criterion: one of `names()`, or a function of one's own; see `find`.
        batches: (inputs, targets) on the model's device. Criteria that need only a shape take it from the
            inputs; criteria that need nothing ignore the batches.
        loss: (outputs, targets) → mean loss over the samples. Criteria that score with single samples refuse
            other means, such as one by class weights; see docs/criteria.md.
        seed: of the random numbers that the criterion and the model's layers draw.
        exclude: patterns of parameter names to leave out.
        score_mode: `train` or `eval`: the mode of BatchNorm and dropout; None is the criterion's own.
        options: of the criterion.

    Returns:
        Parameter name → scores of the parameter's shape; weights of higher score are kept.

    Raises:
        ValueError: an unknown name, no batches, a network, batches or a loss that the criterion cannot use,
            or scores that are not finite; the message names the criterion and the layer. Or the scores of a
            function of one's own are not as they should be; the message names its file and line.
    """
    chosen = find(criterion)
    weights = prunable(model, exclude)
    return score(
        [chosen], model, weights, None, batches, loss=loss, seed=seed, score_mode=score_mode, **options
    )[chosen.name]


def saliencies(
    criteria: Sequence[Chosen],
    model: nn.Module,
    batches: Sequence[Batch] = (),
    *,
    loss: Loss = F.cross_entropy,
    seed: int = 0,
    exclude: Iterable[str] = (),
    score_mode: Mode | None = None,
) -> dict[str, Scores]:
    """Scores of several criteria for the same batches: name of the criterion → as `saliency` returns.

    Gradients and curvature that several built-in criteria need are computed once.

    Raises:
        ValueError: as `saliency` does, or two criteria have one name.
    """
    chosen = [find(criterion) for criterion in criteria]
    by_name = {each.name: each for each in chosen}
    if odd := [each.name for each in chosen if each != by_name[each.name]]:
        raise ValueError(f"two criteria are named {odd[0]}: rename one")
    weights = prunable(model, exclude)
    return score(chosen, model, weights, None, batches, loss=loss, seed=seed, score_mode=score_mode)


class Step(NamedTuple):
    """One pruning iteration: its scores, and the masks chosen by them."""

    scores: Scores
    masks: Masks


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
    structure: Literal["weight", "filter"] = "weight",
    target: Literal["kept", "effective"] = "kept",
    example_input: Tensor | None = None,
    **options: Any,
) -> Masks:
    """Masks that keep exactly max(1, round(N·(1 − sparsity))) of the N prunable weights.

    The model is not changed: apply the masks with `apply_masks`. With several iterations the network is
    scored anew at each mask. Pruned weights stay pruned, except with criteria that rank them again (FORCE).

    Args:
        criterion: one of `names()`, or a function of one's own; see `find`.
        batches: (inputs, targets), iterated over once in each pruning iteration: a list gives every iteration
            the same data, an object whose `__iter__` draws gives fresh data.
        sparsity: share of weights to remove, in [0, 1); a decimal is taken exactly.
        scope: how the kept weights spread over the layers: a name of `SCOPES` or `PATTERNS`, or layer name →
            density; the densities of the layers are then proportional to these.
        iterations: pruning iterations from dense to the sparsity; None is the criterion's default.
        schedule: `exponential`, `linear`, `cubic`, or `one-shot` (all in the first iteration).
        loss, seed, score_mode: as for `saliency`.
        exclude: patterns of parameter names to leave dense; these weights do not count in N.
        invert: keep the lowest scores instead, an ablation (Frankle et al. 2021).
        min_per_layer: least number of weights to keep of each layer (Gupta et al. 2022, Minimum Threshold).
        structure: `filter` removes whole filters (of a linear layer: units), ranked by the sum of their
            weights' scores; N, `sparsity` and `min_per_layer` then count filters. Scope `global`, `uniform`
            or layer densities.
        target: `effective` keeps as few weights as leave max(1, round(N·(1 − sparsity))) effective ones, or
            more by those on paths that the last weight closes; see `effective_masks`. Of several iterations
            only the last counts so.
        example_input: inputs of which `target` needs the shape; None: those of the first batch.
        options: of the criterion.

    Returns:
        Parameter name → boolean mask of the parameter's shape, on its device; True is kept.

    Raises:
        ValueError: an unknown name, an impossible sparsity, no batches, or scores that are not finite.
    """
    steps = trajectory(
        criterion, model, batches, sparsity=sparsity, scope=scope, iterations=iterations, schedule=schedule,
        loss=loss, seed=seed, exclude=exclude, invert=invert, score_mode=score_mode,
        min_per_layer=min_per_layer, structure=structure, target=target, example_input=example_input,
        **options,
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
    structure: Literal["weight", "filter"] = "weight",
    target: Literal["kept", "effective"] = "kept",
    example_input: Tensor | None = None,
    first: Scores | None = None,
    start: Masks | None = None,
    **options: object,
) -> Iterator[Step]:
    """The scores and masks of each iteration of `prune`, one by one.

    Args:
        first: scores of the first iteration, if `saliency` has computed them already.
        start: masks of weights pruned before, which stay pruned. All weights count in the sparsity. Where a
            scope leaves a layer more weights than `start` keeps, the layer keeps fewer than the scope says.
    """
    chosen = find(criterion)
    _check_pruning(iterations, schedule, structure, min_per_layer, scope)
    counting.check(target, structure, scope)
    weights = prunable(model, exclude)
    shapes = _shapes(model, weights, scope, structure)
    sizes = {layer: prod(shape) for layer, shape in shapes.items()}
    wanted, groups_of = kept_count(sum(sizes.values()), sparsity), partial(divided, scope, shapes)
    groups, total_steps = groups_of(wanted), iterations or chosen.iterations
    effective = counting.EffectiveCount(model, batches, example_input, groups_of, wanted)
    masks = start
    for step, kept in enumerate(group_counts(schedule, groups, sizes, total_steps)):
        # Each iteration has random numbers of its own.
        draw = crc32(f"{seed}/{step}".encode()) if step else seed
        if first is not None and not step:
            scores = first
        else:
            scores = score(
                [chosen], model, weights, masks, batches,
                loss=loss, seed=draw, score_mode=score_mode, **options,
            )[chosen.name]  # fmt: skip
        ranked = _ranked(scores, start if chosen.revives else masks, invert, structure)
        choose = effective.select if target == "effective" and step + 1 == total_steps else select
        masks = choose(ranked, groups, kept, min_per_layer)
        if structure == "filter":
            masks = expanded(masks, weights)
        if start is not None:
            masks = {layer: mask & start[layer] for layer, mask in masks.items()}
        del ranked
        yield Step(scores, masks)
        del scores  # free their memory before the next iteration


def _check_pruning(
    iterations: int | None, schedule: str, structure: str, min_per_layer: int, scope: Scope
) -> None:
    """Raise `ValueError` if arguments of `prune` are not among those that it takes."""
    if iterations is not None and iterations < 1:
        raise ValueError(f"iterations {iterations}: at least 1")
    _checked("schedule", schedule, SCHEDULES)
    _checked("structure", structure, ("weight", "filter"))
    if not isinstance(scope, Mapping):
        _checked("scope", scope, (*SCOPES, *PATTERNS))
    patterned = isinstance(scope, str) and (scope == "rowwise" or scope in PATTERNS)
    if min_per_layer < 0 or (min_per_layer and patterned):
        named = scope if patterned else "rowwise"
        raise ValueError(f"min_per_layer {min_per_layer}: at least 0, and not with scope {named}")


def _shapes(
    model: nn.Module, weights: Mapping[str, Tensor], scope: Scope, structure: Literal["weight", "filter"]
) -> Shapes:
    """Shapes of what is counted in each layer: its weights, or its filters."""
    shapes = {layer: tuple(weight.shape) for layer, weight in weights.items()}
    if structure == "weight":
        return shapes
    shapes = filter_shapes(model, shapes)
    if scope not in ("global", "uniform") and isinstance(scope, str):
        raise ValueError(f"scope {scope} with filters: take global, uniform or layer densities")
    return shapes


def _ranked(
    scores: Scores, alive: Masks | None, invert: bool, structure: Literal["weight", "filter"]
) -> Scores:
    """The numbers to rank by: scores of weights or filters, −∞ for those pruned already.

    Args:
        alive: masks of the weights that may be kept; None: all weights are ranked.
    """
    ranked = {layer: -s for layer, s in scores.items()} if invert else scores
    if structure == "filter":
        ranked = filter_scores(ranked)
    if alive is None:
        return ranked
    if structure == "filter":
        alive = {layer: mask.flatten(1).any(1) for layer, mask in alive.items()}
    return {layer: s.masked_fill(~alive[layer], -torch.inf) for layer, s in ranked.items()}


def _checked(kind: str, name: str, table: Iterable[str]) -> str:
    """The name, if the table has it; otherwise `ValueError` with the nearest name."""
    if name not in table:
        near = get_close_matches(str(name), table, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(table)}"
        raise ValueError(f"unknown {kind} {name!r}: {hint}")
    return name
