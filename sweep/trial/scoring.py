"""The masks that a criterion chooses by its scores of a trial's network on a trial's batches."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain, count, islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pruners
from pruners.batches import Loss
from pruners.scopes import Scope
from sweep import parts
from sweep.config import Config
from sweep.data import Data, Split, domains
from sweep.errors import BadInput
from sweep.models import losses
from sweep.parts.guard import settings_kept
from sweep.rules import once, spread
from sweep.seeds import derive, generator
from sweep.trial import masking, network

# All that scores depend on -> the scores of an unpruned network, and how many passes over the scoring data
# they took. A cache holds one entry.
ScoreCache = dict[str, tuple[dict[str, Tensor], int]]


def choose(
    config: Config,
    model: nn.Module,
    data: Data,
    cache: ScoreCache | None = None,
    start: pruners.Masks | None = None,
    units: pruners.Units | None = None,
) -> pruners.Step:
    """The masks that the config's criterion chooses, and the scores of the last iteration.

    Args:
        cache: of the scores of the unpruned network, which serve every sparsity and scope. It is read, and
            filled if it has none of this network.
        start: masks of a sparse start, whose pruned weights stay pruned; None: the start is dense.
        units: of the config's structure; None: they are found in the network.

    Raises:
        BadInput: the scope leaves a layer more weights than the start has.
    """
    scored = _scored(config, model, data)
    batches, cache = ScoringData(config, data), {} if cache is None else cache
    # The sum of the weights belongs to the key: on a GPU two equal trainings differ in the last digits.
    key = f"{config.scoring} {sum(float(weight.detach().sum()) for weight in scored.parameters())!r}"
    # Behind pruned blocks, scores depend on the sparsity: they serve no other.
    cached = cache.get(key) if config.score_order == "whole" else None
    if cached:
        batches.passes = cached[1]
    criterion = config.criterion
    part = parts.need(criterion) if parts.is_name(criterion) else None
    exclude = masking.excluded(config, model)
    steps = pruners.trajectory(
        part.load() if part else criterion,
        scored,
        batches,
        scope=_scope(config, scored, data, exclude),
        loss=loss(config, data.task),
        exclude=exclude,
        units=units,
        example_input=network.example(data),
        first=cached[0] if cached else None,
        start=start,
        **_asked(config),
    )
    with settings_kept(part) if part else nullcontext():
        last = next(steps)
        if not cached and config.score_order == "whole":
            cache.clear()
            cache[key] = last.scores, batches.passes
        if config.iterations > 1:
            del last  # frees its scores and masks before the next iteration
            last = pruners.final(steps, config.iterations - 1)
    if start:
        masking.check_count(config, last.masks)
    return last._replace(masks=_shuffled(config, last.masks))


def _scope(config: Config, model: nn.Module, data: Data, exclude: list[str]) -> Scope:
    """The scope of a config, or the densities that it asks for by what it sees of the network.

    It sees the batches of the first scores, drawn for itself: what follows does not depend on it.
    """
    scope = spread.scope(config, model, exclude)
    if not isinstance(scope, str) or scope not in pruners.BUDGETS:
        return scope
    return pruners.asked_densities(
        scope,
        model,
        pruners.prunable(model, exclude),
        ScoringData(config, data),
        loss=loss(config, data.task),
        seed=derive(config.roots.mask, "scope"),
        sparsity=config.sparsity,
    )


def _asked(config: Config) -> dict[str, Any]:
    """The arguments of `pruners.trajectory` that the config alone says, options of the criterion included."""
    return {
        "sparsity": config.sparsity,
        "iterations": config.iterations,
        "schedule": config.schedule,
        "seed": derive(config.roots.mask, "mask"),
        "invert": config.ablation == "invert",
        "score_mode": None if config.score_mode == "own" else config.score_mode,
        "min_per_layer": config.min_per_layer,
        "structure": config.structure,
        "unit_score": config.unit_score,
        "score_order": config.score_order,
        "target": config.target,
        **parts.values(once.criterion(config.criterion).score, config.arguments("criterion")),
    }


def _scored(config: Config, model: nn.Module, data: Data) -> nn.Module:
    """The network whose weights are scored: the trial's, or one with another draw of them."""
    if config.score_init == "fresh":
        return network.built(config, data, config.roots.mask, "score-init")
    return model


def loss(config: Config, task: str) -> Loss:
    """The loss that scores: the loss that trains, without label smoothing, unless the config says logit."""
    if config.score_loss == "logit":
        # The negative mean of the true class's output, with which the code of de Jorge et al. 2021 scores.
        return F.nll_loss
    return losses.chosen(config.loss, task, config.arguments("loss")).compute


def _shuffled(config: Config, masks: pruners.Masks) -> pruners.Masks:
    """The masks, shuffled within each layer if that is the config's ablation."""
    if config.ablation != "shuffle":
        return masks
    return pruners.shuffle(masks, derive(config.roots.mask, "shuffle"))


def _of_domain(config: Config, data: Data) -> Split:
    """The training inputs with true targets that are of the config's domain.

    Raises:
        BadInput: there is no such domain, or all of it validates.
    """
    if config.score_domain == domains.ALL:
        return data.scoring
    chosen = domains.find(config.score_domain, config.dataset, config.arguments("dataset"))
    assert data.places is not None
    rows = ((data.places >= chosen.start) & (data.places < chosen.stop)).nonzero().flatten()
    if not len(rows):
        raise BadInput(
            f"score_domain {config.score_domain}: no window of it is left to train on: take another "
            "split_seed, or a smaller validation_fraction"
        )
    return data.scoring.part(rows)


class ScoringData:
    """Training batches to score with. Each pass draws new batches, the same ones in every run.

    Attributes:
        passes: how many passes have begun.
    """

    def __init__(self, config: Config, data: Data) -> None:
        """Batches of the config's domain.

        Raises:
            BadInput: there is no such domain, or all of it validates.
        """
        self.config, self.data, self.passes = config, data, 0
        self._split = _of_domain(config, data)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = generator(self.config.roots.mask, "scoring", self.passes)
        self.passes += 1
        return self._drawn(self._split, order)

    @property
    def general(self) -> Iterator[tuple[Tensor, Tensor]]:
        """As many batches of all domains, in draws of their own, which go with those of the latest pass."""
        order = generator(self.config.roots.mask, "general", max(0, self.passes - 1))
        return self._drawn(self.data.scoring, order)

    def _drawn(self, scoring: Split, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        config = self.config
        drawn: Iterator[tuple[Tensor, Tensor]]
        if config.balanced:
            drawn = ((split.images, split.labels) for split in map(scoring.take, self._balanced(order)))
        else:
            # If the config needs more batches than the images fill, the images are shuffled again.
            shuffles = (scoring.batches(config.score_batch_size, order) for _ in count())
            drawn = chain.from_iterable(shuffles)
        for images, labels in islice(drawn, config.score_batches):
            inputs = self.data.inputs(images)
            if config.score_length:
                inputs, labels = inputs[:, : config.score_length], labels[:, : config.score_length]
            yield inputs, labels

    def _balanced(self, order: torch.Generator) -> Iterator[Tensor]:
        """The indices of the images of batches, each with equally many images of each class."""
        labels, classes = self.data.scoring.labels.cpu(), self.data.classes
        per_class = max(1, self.config.score_batch_size // classes)
        while True:
            shuffled = torch.randperm(len(labels), generator=order)
            by_class = [shuffled[labels[shuffled] == label] for label in range(classes)]
            for start in range(0, max(1, min(map(len, by_class)) - per_class + 1), per_class):
                yield torch.cat([indices[start : start + per_class] for indices in by_class])
