"""Scores of several criteria at once, which share gradients and curvature."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import Parameter, signature

from torch import Tensor, nn

from pruners.batches import Batch, Loss, ScoringBatches
from pruners.context import scoring_context
from pruners.criteria import Criterion, Mode
from pruners.own import BadFunction
from pruners.probe import Probe, Scores


def score(
    chosen: Sequence[Criterion],
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    masks: Mapping[str, Tensor] | None,
    batches: Iterable[Batch],
    *,
    loss: Loss,
    seed: int,
    score_mode: Mode | None = None,
    **options: object,
) -> dict[str, Scores]:
    """Name of each criterion → its scores of `weights` at `masks` (None: dense).

    Criteria with the same mode share gradients and curvature.

    Args:
        score_mode: overrides the modes of the criteria.
        options: passed to every criterion.

    Raises:
        ValueError: as `pruners.saliency` does.
    """
    if score_mode not in (None, "train", "eval"):
        raise ValueError(f"score_mode {score_mode!r}: train, eval or None")
    for criterion in chosen:
        _check_options(criterion, options)
        if not criterion.static and (odd := [n for n, w in weights.items() if not w.is_floating_point()]):
            raise ValueError(f"{criterion.name}: layer {odd[0]} is of {weights[odd[0]].dtype}: exclude it")
    device = next(iter(weights.values())).device
    all_scores: dict[str, Scores] = {}
    drawn = ScoringBatches(batches)
    modes = [criterion.train_mode if score_mode is None else score_mode == "train" for criterion in chosen]
    for train_mode in sorted(set(modes)):
        with scoring_context(model, train_mode, device):
            probe = Probe(model, weights, masks, drawn, loss=loss, seed=seed)
            for criterion, mode in zip(chosen, modes, strict=True):
                if mode == train_mode:
                    try:
                        all_scores[criterion.name] = criterion.score(probe, **options)
                    except BadFunction:
                        raise
                    except ValueError as error:
                        raise ValueError(f"{criterion.name}: {error}") from error
    for name, scores in all_scores.items():
        for layer, values in scores.items():
            # Minimum and maximum are NaN if any score is; much faster than a test of every score.
            if not all(extreme.isfinite() for extreme in values.aminmax()):
                raise ValueError(
                    f"{name} gives NaN or infinite scores in layer {layer}: check the loss and the weights"
                )
    return all_scores


def _check_options(criterion: Criterion, options: Iterable[str]) -> None:
    """Raise `ValueError` if the criterion has not all of these options."""
    _, *parameters = signature(criterion.score).parameters.values()
    own = [each.name for each in parameters if each.kind != Parameter.VAR_KEYWORD]
    unknown = [name for name in options if name not in own]
    if unknown and len(own) == len(parameters):
        raise ValueError(f"{criterion.name} has no option {unknown[0]!r}; it has {', '.join(own) or 'none'}")
