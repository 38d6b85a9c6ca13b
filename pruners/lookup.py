"""Criteria by name, and the saliency of all weights of a network."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any

import torch.nn.functional as F
from torch import nn

from pruners.batches import Batch, Loss
from pruners.criteria import Criterion, Mode, checked, of_function
from pruners.masks import prunable
from pruners.own import BadFunction, place
from pruners.probe import Scores
from pruners.scoring import score
from pruners.unit_saliency import CRITERIA

# A criterion: its name, a function of one's own, or the object itself.
Chosen = str | Criterion | Callable[..., Any]
# The arguments of `prune` and `trajectory`; a test compares.
_TAKEN = frozenset(
    (
        "criterion",
        "model",
        "batches",
        "sparsity",
        "scope",
        "iterations",
        "schedule",
        "loss",
        "seed",
        "exclude",
        "invert",
        "score_mode",
        "min_per_layer",
        "structure",
        "unit_score",
        "units",
        "target",
        "example_input",
        "score_order",
        "first",
        "start",
    )
)


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
        return CRITERIA[one_of("criterion", criterion, CRITERIA)]
    chosen = of_function(criterion)
    _, *options = signature(chosen.score).parameters
    # An option of such a name could not be given.
    if clash := [name for name in options if name in _TAKEN]:
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


def one_of(kind: str, name: str, table: Iterable[str]) -> str:
    """The name, if the table has it; otherwise `ValueError` with the nearest name."""
    if name not in table:
        near = get_close_matches(str(name), table, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(table)}"
        raise ValueError(f"unknown {kind} {name!r}: {hint}")
    return name
