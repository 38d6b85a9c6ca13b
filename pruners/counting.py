"""Sparsity that counts effective weights instead of kept ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from pruners.batches import Batch
from pruners.effective import effective_masks
from pruners.masks import Masks, total_kept
from pruners.ranking import select
from pruners.scopes import PATTERNS, Group, Scope


class EffectiveCount:
    """Masks that keep as few weights as they can, so that a given number of weights is effective.

    The number of kept weights is found by bisection. One ranking gives masks within each other, and so do
    their effective masks (Vysogorets & Kempe 2023): with one kept weight less, fewer weights than the given
    number are effective. The number is exceeded only by weights on paths that the last weight closes.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        example_input: Tensor | None,
        divided: Callable[[int], Sequence[Group]],
        wanted: int,
    ) -> None:
        """Note what is counted.

        Args:
            batches: whose first one is the example, if there is no `example_input`.
            example_input: one batch of inputs, of which only the shape matters.
            divided: number of kept weights → the groups that keep them.
            wanted: number of effective weights.
        """
        self._model, self._batches, self._example = model, batches, example_input
        self._divided, self._wanted = divided, wanted

    def select(
        self, scores: Mapping[str, Tensor], groups: object, kept: object, min_per_layer: int = 0
    ) -> Masks:
        """As `pruners.ranking.select`, with groups and counts of its own.

        Args:
            scores: of the weights; −∞ for those that were pruned before, which stay pruned.
            groups, kept: not used: they are of the kept weights.
            min_per_layer: least number of kept weights of each layer.

        Raises:
            ValueError: all weights together have fewer effective ones, effective masks are not worked out for
                the network, or there is no example.
        """
        example = self._example
        if example is None:
            batch = next(iter(self._batches), None)
            if batch is None:
                raise ValueError(
                    "target effective: give batches or an example_input, of which the shape counts"
                )
            example = batch[0]

        def effective(masks: Masks) -> int:
            return total_kept(effective_masks(self._model, masks, example).values())

        alive = {layer: score > -torch.inf for layer, score in scores.items()}

        def choose(count: int) -> Masks:
            groups = self._divided(count)
            masks = select(scores, groups, [group.kept for group in groups], min_per_layer)
            return {layer: mask & alive[layer] for layer, mask in masks.items()}

        most = total_kept(alive.values())
        masks = choose(most)
        if (there := effective(masks)) < self._wanted:
            raise ValueError(
                f"target effective: {there} of the {most} weights to choose from are effective, and the "
                f"sparsity asks for {self._wanted}: take a lower sparsity, or fewer iterations"
            )
        too_few, enough = self._wanted - 1, most
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            tried = choose(middle)
            if effective(tried) < self._wanted:
                too_few = middle
            else:
                enough, masks = middle, tried
        return masks


def check(target: str, structure: str, scope: Scope) -> None:
    """Raise `ValueError` if there is no such target, or if it does not go with the structure or scope."""
    if target == "kept":
        return
    if target != "effective":
        raise ValueError(f"target {target}: kept or effective")
    if structure != "weight":
        raise ValueError(f"target effective counts single weights: leave out structure {structure}")
    if isinstance(scope, str) and scope in PATTERNS and PATTERNS[scope].sparsity is not None:
        raise ValueError(f"target effective: scope {scope} says how many weights are kept: leave one out")
