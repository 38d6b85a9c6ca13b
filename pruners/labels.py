"""Labels of channels: their classes, and the lines of parameters that they belong to."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The label of what can never be removed: inputs, outputs, constants. All other labels are above it.
FIXED = 0


class Labels(Tensor):
    """A tensor whose numbers are labels: float64, so that functions that move numbers take it."""


def raw(labels: Tensor) -> Tensor:
    """The labels as a plain tensor."""
    return labels.as_subclass(Tensor)


class _Even(NamedTuple):
    """Labels whose dimensions `dims` were one: the classes may differ along one of them alone."""

    labels: Tensor
    dims: tuple[int, ...]


class _Same(NamedTuple):
    """Labels whose classes may not differ along the dimensions `dims`, or else can never be removed."""

    labels: Tensor
    dims: tuple[int, ...]


class Classes:
    """Classes of labels: a label that is removed is removed with its whole class."""

    def __init__(self) -> None:
        # Label → the smallest label of its class.
        self._root = torch.tensor([FIXED])
        self._demands: list[_Even | _Same] = []

    def new(self, count: int) -> Tensor:
        """Labels that are in no class yet, (count,)."""
        fresh = torch.arange(len(self._root), len(self._root) + count)
        self._root = torch.cat([self._root, fresh])
        return fresh.double()

    def roots(self, labels: Tensor) -> Tensor:
        """One number for each class, int64: the smallest of its labels; `FIXED` if it cannot be removed."""
        return self._root[labels.long()]

    def varies(self, labels: Tensor, dim: int) -> bool:
        """Whether the classes differ along a dimension."""
        return self._differ(self.roots(labels), dim)

    def unite(self, first: Tensor, second: Tensor) -> bool:
        """Make one class of each pair of labels, broadcast; returns whether any classes changed."""
        one, other = torch.broadcast_tensors(self.roots(first), self.roots(second))
        different = one != other
        if not different.any():
            return False
        count = len(self._root)
        pairs = torch.unique(one[different] * count + other[different])  # one number for each pair
        root = self._root.numpy()
        for pair in pairs.tolist():
            low, high = sorted(_find(root, label) for label in divmod(pair, count))
            root[high] = low
        while not torch.equal(flat := self._root[self._root], self._root):
            self._root = flat
        return True

    def fix(self, labels: Tensor) -> bool:
        """Let the classes of the labels never be removed; returns whether one could be before."""
        return self.unite(labels, torch.tensor(float(FIXED)))

    def demand_same(self, labels: Tensor, dims: Iterable[int]) -> None:
        """In the end, fix the labels if their classes differ along the dimensions.

        Labels may still get into one class by what follows in the network, as the heads of queries and keys.
        """
        self._demand(_Same, labels, dims)

    def demand_even(self, labels: Tensor, dims: Iterable[int]) -> None:
        """In the end, unite labels so that their classes differ along one of the dimensions alone.

        For a dimension that was cut into several, as into groups and channels of a group: what is removed is
        then the same in each group.
        """
        self._demand(_Even, labels, dims)

    def settle(self) -> None:
        """Unite and fix what the demands say, until all are met."""
        changed = True
        while changed:
            evened = [self._even(demand) for demand in self._demands if isinstance(demand, _Even)]
            fixed = [self._same(demand) for demand in self._demands if isinstance(demand, _Same)]
            changed = any(evened) or any(fixed)

    def _demand(self, kind: type[_Even | _Same], labels: Tensor, dims: Iterable[int]) -> None:
        dims = sorted({dim % labels.dim() for dim in dims} if labels.dim() else ())
        roots = self.roots(labels)
        varying = [dim for dim in dims if self._differ(roots, dim)]
        if len(varying) <= (kind is _Even):
            return
        for dim in range(labels.dim()):
            # Classes only grow: what is of one class now stays so.
            if dim not in varying and not self._differ(self.roots(labels), dim):
                labels = labels.narrow(dim, 0, 1)
        self._demands.append(kind(labels.clone(), tuple(varying)))

    def _even(self, demand: _Even) -> bool:
        varying = [dim for dim in demand.dims if self.varies(demand.labels, dim)]
        changed = [self.unite(demand.labels, demand.labels.narrow(dim, 0, 1)) for dim in varying[:-1]]
        return any(changed)

    def _same(self, demand: _Same) -> bool:
        return any(self.varies(demand.labels, dim) for dim in demand.dims) and self.fix(demand.labels)

    @staticmethod
    def _differ(roots: Tensor, dim: int) -> bool:
        return bool(roots.shape[dim] > 1 and (roots != roots.narrow(dim, 0, 1)).any())


def _find(root: NDArray[np.int64], label: int) -> int:
    while root[label] != label:
        label = int(root[label])
    return label


class Line(NamedTuple):
    """All entries of a parameter or buffer at the positions of one dimension."""

    parameter: str
    dim: int


class Lines:
    """The labels of the lines of parameters and buffers, which are known by their memory.

    Attributes:
        labels: the labels of the positions of each dimension that a label was asked for.
        made: the lines that outputs are made by, such as the rows of a weight.
    """

    def __init__(self, classes: Classes, tensors: Mapping[str, Tensor]) -> None:
        self.labels: dict[Line, Tensor] = {}
        self.made: set[Line] = set()
        self._classes = classes
        self._elements: dict[str, Tensor] = {}
        self._tensors = tensors
        self._of_storage: dict[int, list[str]] = {}
        for name, tensor in tensors.items():
            self._of_storage.setdefault(_storage(tensor), []).append(name)

    def name(self, view: Tensor) -> str | None:
        """Name of the parameter or buffer that a tensor is, or is a view of."""
        if isinstance(view, Labels) or not view.numel():
            return None
        for name in self._of_storage.get(_storage(view), ()):
            tensor = self._tensors[name]
            if 0 <= view.storage_offset() - tensor.storage_offset() < _extent(tensor):
                return name
        return None

    def along(self, view: Tensor, dim: int, made: bool = False) -> Tensor:
        """Labels of a parameter, or of a view of it, along a dimension of the view: (size,).

        Args:
            made: whether these lines make outputs.
        """
        name = self.name(view)
        size = view.shape[dim]
        if name is None or size == 1:
            return torch.zeros(size, dtype=torch.float64)  # one channel alone is never removed
        tensor = self._tensors[name]
        offset = int(view.storage_offset() - tensor.storage_offset())
        places = _unravelled(offset + torch.arange(size) * view.stride(dim), tensor)
        varying = [axis for axis, along in enumerate(places) if (along != along[0]).any()]
        line = Line(name, varying[0])
        if made:
            self.made.add(line)
        return self.line(line)[places[line.dim]]

    def line(self, line: Line) -> Tensor:
        """Labels of all positions of a dimension of a parameter."""
        if line not in self.labels:
            self.labels[line] = self._classes.new(self._tensors[line.parameter].shape[line.dim])
        return self.labels[line]

    def elements(self, view: Tensor) -> Tensor:
        """Labels of the single entries of a parameter, or of a view of it: of the shape of the view."""
        name = self.name(view)
        assert name is not None
        tensor = self._tensors[name]
        if name not in self._elements:
            alone = tensor.dim() == 1 and len(tensor) > 1
            labels = torch.empty(_extent(tensor), dtype=torch.float64)
            fresh = self.line(Line(name, 0)) if alone else self._classes.new(_extent(tensor))
            labels[torch.arange(len(fresh)) * (tensor.stride(0) if alone else 1)] = fresh
            self._elements[name] = labels
        offset = view.storage_offset() - tensor.storage_offset()
        return self._elements[name].as_strided(view.shape, view.stride(), offset)

    def gather(self) -> None:
        """Make lines of the parameters whose entries have labels of their own, and settle the classes.

        Entries make a line where all at one position of a dimension are in one class. Entries that make none,
        or of a weight whose lines are used too, are never removed.
        """
        own = {name: self.elements(self._tensors[name]) for name in self._elements}
        own = {name: entries for name, entries in own.items() if entries.dim() != 1}
        settled = False
        while not settled:
            self._classes.settle()
            settled = True
            for name, entries in own.items():
                lines = [line for line in self.labels if line.parameter == name]
                if len(self._varying(entries)) > 1 or lines:
                    fixed = [
                        self._classes.fix(entries),
                        *(self._classes.fix(self.labels[line]) for line in lines),
                    ]
                    settled = settled and not any(fixed)
        for name, entries in own.items():
            for dim in self._varying(entries):
                self.labels[Line(name, dim)] = entries.movedim(dim, 0).flatten(1)[:, 0]

    def _varying(self, labels: Tensor) -> list[int]:
        return [dim for dim in range(labels.dim()) if self._classes.varies(labels, dim)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _extent(tensor: Tensor) -> int:
    """Number of places in memory from the first entry of a tensor to its last."""
    return 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))


def _unravelled(offsets: Tensor, tensor: Tensor) -> list[Tensor]:
    """For each dimension of a tensor, the positions of the entries at these offsets in its memory."""
    places = [torch.zeros_like(offsets) for _ in tensor.shape]
    for dim in sorted(range(tensor.dim()), key=tensor.stride, reverse=True):
        if tensor.shape[dim] > 1:
            places[dim] = offsets // tensor.stride(dim)
            offsets = offsets % tensor.stride(dim)
    return places
