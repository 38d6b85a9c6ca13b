"""Saliency and pruning: criterion × scope × schedule, any with any."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from math import prod
from typing import Any, Literal, NamedTuple
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruners.masks import Sparsity, kept_count, prunable, select
from pruners.probe import Batch, Loss, Scores
from pruners.saliency import CRITERIA, Criterion, Mode, score
from pruners.schedules import SCHEDULES, kept_counts
from pruners.scopes import SCOPES, Group, Shapes, proportional
from pruners.structured import expanded, filter_scores, filter_shapes

Masks = dict[str, Tensor]
Scope = str | Mapping[str, float]


def names() -> list[str]:
    """Names of all criteria."""
    return list(CRITERIA)


def find(name: str) -> Criterion:
    """The criterion of that name, with its source and what it needs.

    Raises:
        ValueError: there is none; the message gives the nearest name.
    """
    return CRITERIA[_known("criterion", name, CRITERIA)]


def saliency(
    name: str,
    model: nn.Module,
    batches: Iterable[Batch] = (),
    *,
    loss: Loss = F.cross_entropy,
    seed: int = 0,
    exclude: Iterable[str] = (),
    score_mode: Mode | None = None,
    **options: object,
) -> Scores:
    """Score every prunable weight of `model` as it is; the model is left as it was.

    Args:
        name: one of `names()`.
        batches: (inputs, targets) on the model's device; criteria without data ignore them, but for
            SynFlow, which takes the shape of an input from the first.
        loss: mean loss of (outputs, targets) over the samples. Criteria of single samples refuse one that is
            another mean, such as one by class weights; see docs/criteria.md.
        seed: of whatever the criterion or the model's layers draw.
        exclude: patterns of parameter names to leave out.
        score_mode: `train` or `eval`: BatchNorm's and dropout's mode, where not the criterion's own.
        options: of the criterion.

    Returns:
        Parameter name → score of the parameter's shape; higher means keep.

    Raises:
        ValueError: unknown name, no batches, a network, batches or a loss that the criterion cannot use, or
            scores that are not finite (names criterion and layer).
    """
    chosen = find(name)
    weights = prunable(model, exclude)
    return score([chosen], model, weights, None, batches, loss, seed, score_mode, **options)[chosen.name]


def saliencies(
    names: Sequence[str],
    model: nn.Module,
    batches: Sequence[Batch] = (),
    *,
    loss: Loss = F.cross_entropy,
    seed: int = 0,
    exclude: Iterable[str] = (),
    score_mode: Mode | None = None,
) -> dict[str, Scores]:
    """Scores of several criteria for the same batches: criterion → what `saliency` gives.

    Gradients and curvature that several of them need are computed once.

    Raises:
        ValueError: as `saliency` does.
    """
    chosen = [find(name) for name in names]
    return score(chosen, model, prunable(model, exclude), None, batches, loss, seed, score_mode)


class Step(NamedTuple):
    """One pruning iteration: the scores it ranked, and the masks that came of them."""

    scores: Scores
    masks: Masks


def prune(
    name: str,
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
    **options: Any,
) -> Masks:
    """Masks that keep exactly max(1, round(N·(1 − sparsity))) of the N prunable weights.

    The model is left as it was: put the masks on with `apply_masks`. With several iterations the network is
    scored anew at each mask; pruned weights stay pruned, but for criteria that rank all again (FORCE).

    Args:
        name: one of `names()`.
        batches: (inputs, targets), gone through once an iteration: a list gives every iteration the same
            data, an object whose `__iter__` draws gives fresh data.
        sparsity: share of weights to remove, in [0, 1); a decimal is taken exactly.
        scope: how the kept weights spread over the layers: a name of `SCOPES`, or layer name → density, to
            which the layers' densities will be proportional.
        iterations: steps from dense to the sparsity; None is the criterion's own default.
        schedule: `exponential`, `linear`, `cubic`, or `one-shot` (all at the first step).
        loss: as for `saliency`.
        seed: of whatever the criterion or the model's layers draw.
        exclude: patterns of parameter names to leave dense; they do not count in N.
        invert: keep the lowest scores instead, an ablation (Frankle et al. 2021).
        score_mode: `train` or `eval`: BatchNorm's and dropout's mode, where not the criterion's own.
        min_per_layer: keep at least so many weights of each layer (Gupta et al. 2022, Minimum Threshold).
        structure: `filter` removes whole filters (of a linear layer: units), ranked by the sum of their
            weights' scores; N, `sparsity` and `min_per_layer` then count filters. Scope `global`, `uniform`
            or layer densities.
        options: of the criterion.

    Returns:
        Parameter name → boolean mask of the parameter's shape, on its device; True is kept.

    Raises:
        ValueError: an unknown name, an impossible sparsity, no batches, or scores that are not finite.
    """
    steps = trajectory(
        name,
        model,
        batches,
        sparsity=sparsity,
        scope=scope,
        iterations=iterations,
        schedule=schedule,
        loss=loss,
        seed=seed,
        exclude=exclude,
        invert=invert,
        score_mode=score_mode,
        min_per_layer=min_per_layer,
        structure=structure,
        **options,
    )
    return final(steps, iterations or find(name).iterations).masks


def final(steps: Iterator[Step], iterations: int) -> Step:
    """The last step of a trajectory of so many; those before it are let go of before the next is made."""
    deque(islice(steps, iterations - 1), maxlen=0)
    return next(steps)


def trajectory(
    name: str,
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
    first: Scores | None = None,
    **options: object,
) -> Iterator[Step]:
    """What `prune` does, step by step: the scores and masks of each of its iterations.

    Args:
        first: the scores of the first iteration, where `saliency` has given them already.
    """
    chosen = find(name)
    if iterations is not None and iterations < 1:
        raise ValueError(f"iterations {iterations}: at least 1")
    _known("schedule", schedule, SCHEDULES)
    _known("structure", structure, ("weight", "filter"))
    if min_per_layer < 0 or (min_per_layer and scope == "rowwise"):
        raise ValueError(f"min_per_layer {min_per_layer}: at least 0, and not with scope rowwise")
    total_steps = iterations or chosen.iterations
    weights = prunable(model, exclude)
    shapes = {layer: tuple(weight.shape) for layer, weight in weights.items()}
    if structure == "filter":
        shapes = filter_shapes(model, shapes)
        if scope not in ("global", "uniform") and isinstance(scope, str):
            raise ValueError(f"scope {scope} with filters: take global, uniform or layer densities")
    sizes = {layer: prod(shape) for layer, shape in shapes.items()}
    groups = _groups(scope, shapes, kept_count(sum(sizes.values()), sparsity))
    # Each group follows the schedule to its own final count.
    counts = [
        kept_counts(schedule, sum(sizes[layer] for layer in group.layers), group.kept, total_steps)
        for group in groups
    ]
    masks: Masks | None = None
    for step, kept in enumerate(zip(*counts, strict=True)):
        # Each iteration has its own draws.
        draw = crc32(f"{seed}/{step}".encode()) if step else seed
        if first is not None and not step:
            scores = first
        else:
            scores = score([chosen], model, weights, masks, batches, loss, draw, score_mode, **options)[name]
        ranked = {layer: -s for layer, s in scores.items()} if invert else scores
        if structure == "filter":
            ranked = filter_scores(ranked)
        if masks is not None and not chosen.revives:
            alive = (
                masks if structure == "weight" else {layer: m.flatten(1).any(1) for layer, m in masks.items()}
            )
            ranked = {layer: s.masked_fill(~alive[layer], -torch.inf) for layer, s in ranked.items()}
        masks = select(ranked, groups, kept, min_per_layer)
        if structure == "filter":
            masks = expanded(masks, weights)
        del ranked
        yield Step(scores, masks)
        del scores  # not needed while the next are made


def _groups(scope: Scope, shapes: Shapes, kept: int) -> list[Group]:
    if isinstance(scope, Mapping):
        return proportional(shapes, kept, scope)
    return SCOPES[_known("scope", scope, SCOPES)](shapes, kept)


def _known(kind: str, name: str, table: Iterable[str]) -> str:
    if name not in table:
        near = get_close_matches(str(name), table, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(table)}"
        raise ValueError(f"unknown {kind} {name!r}: {hint}")
    return name
