"""Scoring data: the batches that one scoring uses."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from torch import Tensor

from pruners.forward import differentiable

Batch = tuple[Tensor, Tensor]
# (outputs, targets) -> mean loss over the samples, a tensor of one number.
Loss = Callable[[Tensor, Tensor], Tensor]


class Sources:
    """Batches of a domain to score with, and batches of general data, with which `gaprune` compares them.

    It is given where batches are given; what looks at one kind of batches sees those of the domain.
    """

    def __init__(self, domain: Iterable[Batch], general: Iterable[Batch]) -> None:
        """Both kinds of batches (inputs, targets); each `__iter__` may draw fresh ones."""
        self.domain, self.general = domain, general

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.domain)


class ScoringBatches:
    """Batches drawn from their source when first needed, and only once: every pass of a scoring sees them."""

    def __init__(self, source: Iterable[Batch]) -> None:
        self._source = source

    @cached_property
    def general(self) -> "ScoringBatches":
        """The batches of general data, if the source has any; else these."""
        given = getattr(self._source, "general", None)
        return self if given is None else ScoringBatches(given)

    @cached_property
    def drawn(self) -> list[Batch]:
        """The batches (inputs, targets), in the order of the source; possibly none.

        Raises:
            ValueError: an item is no pair of tensors, or has no samples.
        """
        pairs = list(self._source)
        if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
            raise ValueError("batches is a list of pairs: give batches=[(inputs, targets)]")
        for number, pair in enumerate(pairs):
            for each in pair:
                if not isinstance(each, Tensor):
                    raise ValueError(f"batch {number} has a {type(each).__name__}: give tensors")
                if not each.numel():
                    raise ValueError(f"batch {number} has no samples: leave it out")
        return [(differentiable(inputs), differentiable(targets)) for inputs, targets in pairs]

    def required(self) -> list[Batch]:
        """The batches, for criteria that need data.

        Raises:
            ValueError: as `drawn`, or there are none.
        """
        if not self.drawn:
            raise ValueError(
                "there are no batches to score with; an iterator is used up after one pass: give a list"
            )
        return self.drawn
