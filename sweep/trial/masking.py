"""Which weights a trial's config keeps, at the moment of pruning."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from itertools import chain, count, islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pruners
from sweep.data import Data
from sweep.errors import BadInput
from sweep.seeds import derive, generator
from sweep.study.config import Config
from sweep.trial import network

Masks = dict[str, Tensor]
_LOSSES = {
    "cross-entropy": F.cross_entropy,
    # The negative mean of the true class's output: what the code of de Jorge et al. 2021 scores with.
    "logit": F.nll_loss,
}


def left_out(config: Config, model: nn.Module) -> list[str]:
    """Names of the prunable weights that `layers` does not choose: its patterns, less those after a '!'.

    Raises:
        BadInput: it chooses none, or a pattern fits none.
    """
    names = list(pruners.prunable(model))
    words = config.layers.split()
    for word in words:
        if not any(fnmatch(name, word.lstrip("!")) for name in names):
            raise BadInput(
                f"layers {word}: {config.model} has no such prunable weight; it has {', '.join(names)}"
            )
    wanted = [word for word in words if not word.startswith("!")] or ["*"]
    unwanted = [word[1:] for word in words if word.startswith("!")]
    chosen = {
        name
        for name in names
        if any(fnmatch(name, word) for word in wanted) and not any(fnmatch(name, word) for word in unwanted)
    }
    if not chosen:
        raise BadInput(f"layers {config.layers}: this leaves nothing to prune in {config.model}")
    return [name for name in names if name not in chosen]


def whole(config: Config, model: nn.Module) -> Masks:
    """Masks that keep every weight that may be pruned."""
    weights = pruners.prunable(model, left_out(config, model))
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


# What they depend on -> the scores of an unpruned network, and the passes over the scoring data they took.
Memory = dict[str, tuple[dict[str, Tensor], int]]


def choose(config: Config, model: nn.Module, data: Data, memory: Memory | None = None) -> pruners.Step:
    """The masks the config asks for, and the scores of the last iteration (none for the oracle's).

    Args:
        memory: where scores of the unpruned network are looked for, and left for the next: those of one
            network serve every sparsity and scope.
    """
    exclude = left_out(config, model)
    if config.criterion == "oracle":
        return pruners.Step({}, _shuffled(config, combination(config, model, exclude)))
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
        exclude=exclude,
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


def combination(config: Config, model: nn.Module, exclude: Sequence[str]) -> Masks:
    """One way to remove filters: as many of each chosen layer as the sparsity says.

    One of the combinations of 'Is Oracle Pruning the True Oracle?' (Feng et al. 2024).
    `combination` numbers them in a random order, without repetition, by `split_seed` (by 0 where that follows
    the seed): the same filters for every seed.

    Raises:
        BadInput: there are not so many.
    """
    layers = pruners.prunable(model, exclude)
    sizes = {name: len(weight) for name, weight in layers.items()}
    removed = {name: size - pruners.kept_count(size, config.sparsity) for name, size in sizes.items()}
    ways = [math.comb(sizes[name], removed[name]) for name in layers]
    total = math.prod(ways)
    if config.combination >= total:
        raise BadInput(f"combination {config.combination}: there are {total} ways, counted from 0")
    root = 0 if config.split_seed == "seed" else config.split_seed
    number = _distinct(total, config.combination, derive(root, "combination"))
    chosen: dict[str, list[int]] = {}
    for name, way in zip(layers, ways, strict=True):
        number, rank = divmod(number, way)
        chosen[name] = _unranked(rank, sizes[name], removed[name])
    masks = pruners.filter_masks(model, chosen)
    return {name: masks[name] for name in layers}


def _distinct(total: int, index: int, seed: int) -> int:
    """The index-th of the numbers below total in a random order."""
    drawn: dict[int, None] = {}
    numbers = random.Random(seed)
    while len(drawn) <= index:
        drawn.setdefault(numbers.randrange(total))
    return list(drawn)[index]


def _unranked(rank: int, size: int, taken: int) -> list[int]:
    """The rank-th way, in lexicographic order, to take so many of the numbers below size."""
    found: list[int] = []
    for number in range(size):
        with_it = math.comb(size - number - 1, taken - len(found) - 1) if len(found) < taken else 0
        if rank < with_it:
            found.append(number)
        else:
            rank -= with_it
    return found


def biases(model: nn.Module, masks: Masks) -> Masks:
    """Masks of the biases of filters that are removed whole.

    A removed filter then adds nothing, but for what a BatchNorm behind it makes of zeros.
    """
    parameters = dict(model.named_parameters())
    found = {}
    for name, mask in masks.items():
        bias = parameters.get(f"{name.removesuffix('weight')}bias") if name.endswith("weight") else None
        if bias is not None and not (alive := mask.flatten(1).any(1)).all():
            found[f"{name.removesuffix('weight')}bias"] = alive
    return found


def retrained(config: Config, model: nn.Module) -> Callable[[str], bool] | None:
    """Which parameters are trained after pruning, as a test of their names; None: all.

    Zimmer et al. 2023 (PERP).

    Raises:
        BadInput: there are none such.
    """
    normalization = {
        f"{path}.{leaf}"
        for path, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
        for leaf, _ in module.named_parameters(recurse=False)
    }
    head = list(pruners.prunable(model))[-1].rpartition(".")[0]

    def bias(name: str) -> bool:
        leaf = name.rpartition(".")[2]
        return leaf.endswith("bias") or leaf.startswith("bias_")

    tests: dict[str, Callable[[str], bool] | None] = {
        "all": None,
        "bn": lambda name: name in normalization,
        "bias": bias,
        "bn+bias": lambda name: name in normalization or bias(name),
        "head": lambda name: name.startswith(f"{head}."),
    }
    test = tests[config.retrain]
    if test and not any(test(name) for name, p in model.named_parameters() if p.requires_grad):
        raise BadInput(f"retrain {config.retrain}: {config.model} has no such parameters")
    return test


def check(config: Config, model: nn.Module) -> None:
    """See that what the config says of the model's layers can be done.

    Raises:
        BadInput: it cannot.
    """
    exclude = left_out(config, model)
    retrained(config, model)
    if config.criterion == "oracle":
        combination(config, model, exclude)
    elif config.structure == "filter" or config.min_per_layer or config.scope == "uniform-plus":
        try:
            pruners.prune(
                "random",
                model,
                sparsity=config.sparsity,
                scope=config.scope,
                exclude=exclude,
                min_per_layer=config.min_per_layer,
                structure=config.structure,
            )
        except ValueError as error:
            raise BadInput(f"{config.model}: {error}") from None


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
