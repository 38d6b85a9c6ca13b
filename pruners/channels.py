"""What the rules of labels work with: arguments as labels, and labels that are computed with each other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pruners.labels import Classes, Labels, Lines, raw

# A function of torch, as a network calls it.
Function = Callable[..., Any]


class Channels:
    """The classes of labels and the lines of parameters of one pass through a network.

    Args:
        tensors: the parameters and buffers of the network, by name.
        positions: whether numbers of `forward` that a channel meets ask only that it is of one unit with the
            others that they meet, as the turns of rotary positions ask of the features of a head; otherwise
            such a channel can never be removed.
    """

    def __init__(self, tensors: Mapping[str, Tensor], positions: bool = False) -> None:
        self.positions = positions
        self.classes = Classes()
        self.lines = Lines(self.classes, tensors)

    def labelled(self, argument: Any) -> bool:
        """Whether an argument has labels, or is a parameter, whose entries can get them."""
        return isinstance(argument, Labels) or (
            isinstance(argument, Tensor) and self.lines.name(argument) is not None
        )

    def found(self, argument: Any) -> Tensor | None:
        """The labels of an argument: its own, those of a parameter's entries, `FIXED` for another tensor.

        None for what is no tensor.
        """
        if isinstance(argument, Labels):
            return raw(argument)
        if not isinstance(argument, Tensor):
            return None
        if self.lines.name(argument) is None:
            return torch.zeros(argument.shape, dtype=torch.float64)
        return self.lines.elements(argument)

    def labels(self, tensor: Any) -> Tensor:
        """The labels of an argument that must be a tensor."""
        found = self.found(tensor)
        assert found is not None, "a tensor is expected here"
        return found

    def joined(self, first: Tensor, second: Tensor) -> Tensor:
        """Labels of what is computed element by element from two tensors that are broadcast."""
        shape = torch.broadcast_shapes(first.shape, second.shape)
        if first.shape != second.shape:
            for one, other in ((first, second), (second, first)):
                if self._spreads(one, other.expand(shape)):
                    self.classes.fix(one)
                    return other.expand(shape).clone()
        self.classes.unite(first, second)
        return first.expand(shape).clone()

    def along(self, vector: Tensor | None, channels: Tensor, made: bool = False) -> None:
        """Unite the positions of a vector of parameters with channels, both (size,); None is no vector."""
        if vector is None:
            return
        if self.lines.name(vector) is None:
            self.classes.fix(channels)  # numbers that are computed, or that `forward` holds itself
            self.classes.fix(self.labels(vector))
        else:
            self.classes.unite(self.lines.along(vector, 0, made), channels)

    def _spreads(self, one: Tensor, other: Tensor) -> bool:
        """Whether one channel meets all channels of another tensor, as a gate of positions does."""
        if any(self.classes.varies(one, dim) for dim in range(one.dim())):
            return False
        own = range(other.dim() - one.dim(), other.dim())
        return not any(
            size > 1 and self.classes.varies(other, dim) for dim, size in zip(own, one.shape, strict=True)
        )


def given(names: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The values of the parameters of these names, in order; None for those that are not given."""
    values = dict(zip(names.split(), args, strict=False)) | dict(kwargs)
    return [values.get(name) for name in names.split()]


def first_of(labels: Tensor, dim: int) -> Tensor:
    """The labels along one dimension, (size,), at the first position of all others."""
    return labels.movedim(dim, 0).flatten(1)[:, 0] if labels.dim() > 1 else labels
