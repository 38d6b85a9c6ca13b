"""Scopes: how the kept weights spread over the layers.

A scope turns the layers' shapes and the number of weights to keep into groups: sets of layers ranked
together, each with the number of weights it keeps. The numbers always add up to the number asked for.
All arithmetic is exact (fractions), so every machine gets the same counts.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import prod
from typing import NamedTuple

Shapes = Mapping[str, tuple[int, ...]]


class Group(NamedTuple):
    """Layers whose weights are ranked together, and how many of those weights are kept."""

    layers: tuple[str, ...]
    kept: int


def global_scope(shapes: Shapes, kept: int) -> list[Group]:
    """Rank all weights of the network together."""
    return [Group(tuple(shapes), kept)]


def uniform(shapes: Shapes, kept: int) -> list[Group]:
    """Give every layer the density of the whole network."""
    density = Fraction(kept, sum(map(prod, shapes.values())))
    return _layerwise(shapes, {name: density * prod(shape) for name, shape in shapes.items()})


def erk(shapes: Shapes, kept: int) -> list[Group]:
    """Erdős–Rényi-Kernel: layer density proportional to Σ shape / Π shape.

    Layers that would exceed density 1 are kept whole and the rest is rescaled, until all fit
    (Evci et al. 2020, 'Rigging the Lottery', section 3; Mocanu et al. 2018 without the kernel).
    """
    quotas = {name: Fraction(prod(shape)) for name, shape in shapes.items()}
    free = dict(shapes)
    while free:
        budget = kept - sum(prod(shape) for name, shape in shapes.items() if name not in free)
        epsilon = Fraction(budget, sum(sum(shape) for shape in free.values()))
        density = {name: epsilon * sum(shape) / prod(shape) for name, shape in free.items()}
        highest = max(density.values())
        if highest <= 1:
            quotas |= {name: epsilon * sum(shape) for name, shape in free.items()}
            break
        free = {name: shape for name, shape in free.items() if density[name] < highest}
    return _layerwise(shapes, quotas)


SCOPES: dict[str, Callable[[Shapes, int], list[Group]]] = {
    "global": global_scope,
    "uniform": uniform,
    "erk": erk,
}


def _layerwise(shapes: Shapes, quotas: Mapping[str, Fraction]) -> list[Group]:
    """Whole numbers closest to the quotas with the same sum: largest remainders, ties to earlier layers."""
    counts = {name: int(quotas[name]) for name in shapes}
    missing = int(sum(quotas.values())) - sum(counts.values())
    by_remainder = sorted(shapes, key=lambda name: counts[name] - quotas[name])
    for name in by_remainder[:missing]:
        counts[name] += 1
    return [Group((name,), counts[name]) for name in shapes]
