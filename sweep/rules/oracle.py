"""`oracle`: combinations of filters, one a trial. 'Is Oracle Pruning the True Oracle?', Feng et al. 2024."""

import math
import random
from collections.abc import Iterator

from torch import nn

import pruners
from sweep.config import Config, with_role
from sweep.errors import BadInput
from sweep.roles import Role
from sweep.rules.at_once import AtOnce
from sweep.rules.moments import MOMENTS
from sweep.rules.run import Run
from sweep.seeds import derive


class Oracle(AtOnce):
    """Removes one combination of filters: as many of each chosen layer as the sparsity says."""

    name = "oracle"
    draws = True
    compensates = False  # it looks at no data

    def reads(self, config: Config) -> frozenset[str]:
        """The combination, the layers, and what comes after the pruning."""
        # The scope changes no mask of the oracle's; the ids of trials on disk have it.
        fields = {"combination", "structure", "layers", "prune_epoch", "prune_when", "scope"}
        if config.prune_when:
            fields |= {"prune_threshold"}
        return frozenset({*fields, *with_role(Role.RETRAINING)})

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """Single weights, a least number of weights, scores of one moment."""
        yield from super().inconsistencies(config)
        if config.min_per_layer > 0:
            yield (
                "min_per_layer",
                "min_per_layer does not apply to oracle, which keeps as many of each layer as the "
                "sparsity says",
            )
        if config.prune_when and MOMENTS[config.prune_when].of_masks:
            yield (
                "prune_when",
                f"prune_when {config.prune_when} watches masks, and those of oracle are drawn: take stable",
            )
        if config.structure != "filter":
            yield "criterion", "oracle removes filters: give it structure: filter"

    def check(self, config: Config, model: nn.Module, exclude: list[str], units: pruners.Units) -> None:
        """See that there is a combination of that number."""
        combination(config, model, exclude)

    def choose(self, run: Run) -> pruners.Step:
        """The masks of the combination; there are no scores."""
        return pruners.Step({}, combination(run.config, run.model, run.exclude))


def combination(config: Config, model: nn.Module, exclude: list[str]) -> pruners.Masks:
    """The masks of one way to remove filters.

    `combination` numbers the ways in a random order, without repetition, by `split_seed` (by 0 where that
    follows the seed): the same filters for every seed.

    Raises:
        BadInput: there are not so many ways.
    """
    layers = pruners.prunable(model, exclude)
    sizes = {name: len(weight) for name, weight in layers.items()}
    removed = {name: size - pruners.kept_count(size, config.sparsity) for name, size in sizes.items()}
    ways = [math.comb(sizes[name], removed[name]) for name in layers]
    total = math.prod(ways)
    if config.combination >= total:
        raise BadInput(f"combination {config.combination}: there are {total} ways, counted from 0")
    root = 0 if config.split_seed == "seed" else config.split_seed
    number = distinct(total, config.combination, derive(root, "combination"))
    chosen: dict[str, list[int]] = {}
    for name, way in zip(layers, ways, strict=True):
        number, rank = divmod(number, way)
        chosen[name] = unranked(rank, sizes[name], removed[name])
    masks = pruners.filter_masks(model, chosen)
    return {name: masks[name] for name in layers}


def distinct(total: int, index: int, seed: int) -> int:
    """The index-th of the numbers below a total, in a random order without repetition."""
    drawn: dict[int, None] = {}
    numbers = random.Random(seed)
    while len(drawn) <= index:
        drawn.setdefault(numbers.randrange(total))
    return list(drawn)[index]


def unranked(rank: int, size: int, taken: int) -> list[int]:
    """The rank-th way, in lexicographic order, to take some of the numbers below a size.

    Args:
        taken: how many are taken.
    """
    found: list[int] = []
    for number in range(size):
        with_it = math.comb(size - number - 1, taken - len(found) - 1) if len(found) < taken else 0
        if rank < with_it:
            found.append(number)
        else:
            rank -= with_it
    return found


ORACLE = Oracle()
