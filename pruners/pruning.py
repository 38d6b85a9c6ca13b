"""Saliency and pruning: criterion × scope × schedule, any with any."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruners.masks import Sparsity, keep_top, kept_count, prunable
from pruners.probe import Batch, Loss, Scores
from pruners.saliency import CRITERIA, Criterion, score
from pruners.schedules import SCHEDULES, kept_counts
from pruners.scopes import SCOPES, Group

Masks = dict[str, Tensor]


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
    **options: object,
) -> Scores:
    """Score every prunable weight of `model` as it is; the model is left as it was.

    Args:
        name: one of `names()`.
        batches: (inputs, targets) on the model's device; criteria without data ignore them, but for
            SynFlow, which takes the shape of an input from the first.
        loss: mean loss of (outputs, targets).
        seed: of whatever the criterion or the model's layers draw.
        exclude: patterns of parameter names to leave out.
        options: of the criterion.

    Returns:
        Parameter name → score of the parameter's shape; higher means keep.

    Raises:
        ValueError: unknown name, no batches, or scores that are not finite (names criterion and layer).
    """
    chosen = find(name)
    return score([chosen], model, prunable(model, exclude), None, batches, loss, seed, **options)[chosen.name]


def saliencies(
    names: Sequence[str],
    model: nn.Module,
    batches: Sequence[Batch] = (),
    *,
    loss: Loss = F.cross_entropy,
    seed: int = 0,
    exclude: Iterable[str] = (),
) -> dict[str, Scores]:
    """Scores of several criteria for the same batches: criterion → what `saliency` gives.

    Gradients and curvature that several of them need are computed once.

    Raises:
        ValueError: as `saliency` does.
    """
    chosen = [find(name) for name in names]
    return score(chosen, model, prunable(model, exclude), None, batches, loss, seed)


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
    scope: str = "global",
    iterations: int | None = None,
    schedule: str = "exponential",
    loss: Loss = F.cross_entropy,
    seed: int = 0,
    exclude: Iterable[str] = (),
    invert: bool = False,
    **options: object,
) -> Masks:
    """Masks that keep exactly max(1, round(N·(1 − sparsity))) of the N prunable weights.

    The model is left as it was: put the masks on with `apply_masks`. With several iterations the network is
    scored anew at each mask; pruned weights stay pruned, but for criteria that rank all again (FORCE).

    Args:
        name: one of `names()`.
        batches: (inputs, targets), gone through once an iteration: a list gives every iteration the same
            data, an object whose `__iter__` draws gives fresh data.
        sparsity: share of weights to remove, in [0, 1); a decimal is taken exactly.
        scope: `global`, `uniform`, `uniform-plus`, `er` or `erk`.
        iterations: steps from dense to the sparsity; None is the criterion's own default.
        schedule: `exponential`, `linear`, `cubic`, or `one-shot` (all at the first step).
        loss: mean loss of (outputs, targets).
        seed: of whatever the criterion or the model's layers draw.
        exclude: patterns of parameter names to leave dense; they do not count in N.
        invert: keep the lowest scores instead, an ablation (Frankle et al. 2021).
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
        **options,
    )
    return final(steps).masks


def final(steps: Iterable[Step]) -> Step:
    """The last step of a trajectory; those before it are let go of as they pass."""
    return deque(steps, maxlen=1).pop()


def trajectory(
    name: str,
    model: nn.Module,
    batches: Iterable[Batch] = (),
    *,
    sparsity: Sparsity,
    scope: str = "global",
    iterations: int | None = None,
    schedule: str = "exponential",
    loss: Loss = F.cross_entropy,
    seed: int = 0,
    exclude: Iterable[str] = (),
    invert: bool = False,
    **options: object,
) -> Iterator[Step]:
    """What `prune` does, step by step: the scores and masks of each of its iterations."""
    chosen = find(name)
    _known("scope", scope, SCOPES)
    _known("schedule", schedule, SCHEDULES)
    total_steps = chosen.iterations if iterations is None else iterations
    if total_steps < 1:
        raise ValueError(f"iterations {total_steps}: at least 1")
    weights = prunable(model, exclude)
    shapes = {layer: tuple(weight.shape) for layer, weight in weights.items()}
    groups = SCOPES[scope](shapes, kept_count(sum(w.numel() for w in weights.values()), sparsity))
    # Each group follows the schedule to its own final count.
    counts = [
        kept_counts(schedule, sum(weights[layer].numel() for layer in group.layers), group.kept, total_steps)
        for group in groups
    ]
    masks: Masks | None = None
    for kept in zip(*counts, strict=True):
        scores = score([chosen], model, weights, masks, batches, loss, seed, **options)[chosen.name]
        ranked = {layer: -s for layer, s in scores.items()} if invert else scores
        if masks is not None and not chosen.revives:
            ranked = {layer: s.masked_fill(~masks[layer], -torch.inf) for layer, s in ranked.items()}
        masks = _select(ranked, groups, kept)
        yield Step(scores, masks)


def _select(scores: Scores, groups: Sequence[Group], kept: Sequence[int]) -> Masks:
    masks: Masks = {}
    for group, count in zip(groups, kept, strict=True):
        together = torch.cat([scores[layer].flatten() for layer in group.layers])
        sizes = [scores[layer].numel() for layer in group.layers]
        parts = keep_top(together, count).split(sizes)
        masks |= {
            layer: part.view(scores[layer].shape) for layer, part in zip(group.layers, parts, strict=True)
        }
    return {layer: masks[layer] for layer in scores}


def _known(kind: str, name: str, table: Iterable[str]) -> str:
    if name not in table:
        near = get_close_matches(name, table, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(table)}"
        raise ValueError(f"unknown {kind} {name!r}: {hint}")
    return name
