"""The masks that a criterion chooses: its scores of a trial's network on a trial's batches."""

from collections.abc import Iterator
from itertools import chain, count, islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pruners
from sweep.config import Config
from sweep.data import Data
from sweep.seeds import derive, generator
from sweep.trial import masking, network
from sweep.trial.masking import Masks

_LOSSES = {
    "cross-entropy": F.cross_entropy,
    # The negative mean of the true class's output: what the code of de Jorge et al. 2021 scores with.
    "logit": F.nll_loss,
}


# What they depend on -> the scores of an unpruned network, and the passes over the scoring data they took.
Memory = dict[str, tuple[dict[str, Tensor], int]]


def choose(config: Config, model: nn.Module, data: Data, memory: Memory | None = None) -> pruners.Step:
    """The masks that the config's criterion chooses, and the scores of the last iteration.

    Args:
        memory: where scores of the unpruned network are looked for, and left for the next: those of one
            network serve every sparsity and scope.
    """
    scored = (
        network.built(config, data, config.roots.mask, "score-init")
        if config.score_init == "fresh"
        else model
    )
    batches, memory = _ScoringData(config, data), {} if memory is None else memory
    # Of these very weights: two trainings alike to the last digit of a CPU are not on a GPU.
    key = f"{config.scoring} {sum(float(weight.detach().sum()) for weight in scored.parameters())!r}"
    known = memory.get(key)
    if known:
        batches.passes = known[1]
    steps = pruners.trajectory(
        config.criterion,
        scored,
        batches,
        sparsity=config.sparsity,
        scope=config.scope,
        iterations=config.iterations,
        schedule=config.schedule,
        loss=_LOSSES[config.score_loss],
        seed=derive(config.roots.mask, "mask"),
        exclude=masking.left_out(config, model),
        invert=config.ablation == "invert",
        score_mode=None if config.score_mode == "own" else config.score_mode,
        min_per_layer=config.min_per_layer,
        structure=config.structure,
        first=known[0] if known else None,
    )
    last = next(steps)
    if not known:
        memory.clear()
        memory[key] = last.scores, batches.passes
    if config.iterations > 1:
        del last
        last = pruners.final(steps, config.iterations - 1)
    return last._replace(masks=_shuffled(config, last.masks))


def _shuffled(config: Config, masks: Masks) -> Masks:
    if config.ablation != "shuffle":
        return masks
    return pruners.shuffle(masks, derive(config.roots.mask, "shuffle"))


class _ScoringData:
    """Training batches to score with; every pass draws fresh ones, in the same order in every run."""

    def __init__(self, config: Config, data: Data) -> None:
        self.config, self.data, self.passes = config, data, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = generator(self.config.roots.mask, "scoring", self.passes)
        self.passes += 1
        scoring, config = self.data.scoring, self.config
        drawn: Iterator[tuple[Tensor, Tensor]]
        if config.balanced:
            drawn = ((split.images, split.labels) for split in map(scoring.take, self._balanced(order)))
        else:
            # Shuffled again where more batches are asked for than one pass over the images holds.
            passes = (scoring.batches(config.score_batch_size, order) for _ in count())
            drawn = chain.from_iterable(passes)
        for images, labels in islice(drawn, config.score_batches):
            yield self.data.inputs(images), labels

    def _balanced(self, order: torch.Generator) -> Iterator[Tensor]:
        """Rows of batches with as many images of each class."""
        labels, classes = self.data.scoring.labels.cpu(), self.data.classes
        each = max(1, self.config.score_batch_size // classes)
        while True:
            shuffled = torch.randperm(len(labels), generator=order)
            by_class = [shuffled[labels[shuffled] == label] for label in range(classes)]
            for start in range(0, max(1, min(map(len, by_class)) - each + 1), each):
                yield torch.cat([rows[start : start + each] for rows in by_class])
