"""Scopes: how the kept weights spread over the layers.

A scope turns the layers' shapes and the number of weights to keep into groups: sets of layers ranked
together, each with the number of weights it keeps. The numbers always add up to the number asked for.
All arithmetic is exact (fractions), so every machine gets the same counts.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import inf, prod
from typing import NamedTuple

Shapes = Mapping[str, tuple[int, ...]]


class Group(NamedTuple):
    """Layers whose weights are ranked together, and how many of those weights are kept.

    Attributes:
        rowwise: weights are ranked within the row of their output, and every row keeps as many.
    """

    layers: tuple[str, ...]
    kept: int
    rowwise: bool = False


def global_scope(shapes: Shapes, kept: int) -> list[Group]:
    """Rank all weights of the network together."""
    return [Group(tuple(shapes), kept)]


def uniform(shapes: Shapes, kept: int) -> list[Group]:
    """Give every layer the density of the whole network."""
    density = Fraction(kept, sum(map(prod, shapes.values())))
    return _layerwise(shapes, {name: density * prod(shape) for name, shape in shapes.items()})


def er(shapes: Shapes, kept: int) -> list[Group]:
    """Erdős–Rényi: layer density proportional to (inputs + outputs) / (inputs · outputs), kernels left out.

    Mocanu et al. 2018; of a convolution the first two dimensions count.
    """
    return proportional(
        shapes, kept, {name: Fraction(sum(shape[:2]), prod(shape[:2])) for name, shape in shapes.items()}
    )


def erk(shapes: Shapes, kept: int) -> list[Group]:
    """Erdős–Rényi-Kernel: layer density proportional to Σ shape / Π shape.

    Evci et al. 2020, 'Rigging the Lottery'.
    """
    return proportional(
        shapes, kept, {name: Fraction(sum(shape), prod(shape)) for name, shape in shapes.items()}
    )


def uniform_plus(shapes: Shapes, kept: int) -> list[Group]:
    """Uniform, but the first layer whole if it is a convolution, and the last at least 20 % dense.

    Gale et al. 2019; the densities add up to the one asked for, which published code misses.

    Raises:
        ValueError: the first and last layer alone would keep more.
    """
    first, last = next(iter(shapes)), list(shapes)[-1]
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    quotas = {first: Fraction(sizes[first])} if len(shapes[first]) > 2 and len(shapes) > 1 else {}
    rest = [name for name in shapes if name not in quotas]
    density = (kept - sum(quotas.values(), Fraction())) / sum(sizes[name] for name in rest)
    if density < Fraction(1, 5) and len(rest) > 1:
        quotas[last] = Fraction(sizes[last], 5)
        rest.remove(last)
        density = (kept - sum(quotas.values(), Fraction())) / sum(sizes[name] for name in rest)
    if density < 0:
        raise ValueError(
            f"scope uniform-plus: {kept} weights are fewer than its first and last layer keep; "
            "take a lower sparsity or another scope"
        )
    return _layerwise(shapes, quotas | {name: density * sizes[name] for name in rest})


def balanced(shapes: Shapes, kept: int) -> list[Group]:
    """Every layer keeps as many weights as every other, or all it has if they are fewer.

    Of all layer densities with that total, these have the largest product, to which the expected synaptic
    flow of a network without skip connections is proportional: PreCrop's allocation (Cai et al. 2022).
    """
    return proportional(shapes, kept, {name: Fraction(1, prod(shape)) for name, shape in shapes.items()})


def rowwise(shapes: Shapes, kept: int) -> list[Group]:
    """Uniform over the layers and over the rows of each, a row being the weights of one output.

    (Of a transposed convolution, whose weights come input by input, of one input.)

    Sun et al. 2024 (Wanda). What is left when a layer's weights are dealt out evenly goes to the rows whose
    next weight scores highest.
    """
    return [group._replace(rowwise=True) for group in uniform(shapes, kept)]


SCOPES: dict[str, Callable[[Shapes, int], list[Group]]] = {
    "global": global_scope,
    "uniform": uniform,
    "uniform-plus": uniform_plus,
    "er": er,
    "erk": erk,
    "balanced": balanced,
    "rowwise": rowwise,
}


def proportional(shapes: Shapes, kept: int, densities: Mapping[str, Fraction | float]) -> list[Group]:
    """Layer densities proportional to the given ones.

    Layers that would exceed density 1 are kept whole and the rest is rescaled, until all fit.

    Raises:
        ValueError: a layer has no density, a negative one, or all that have one together keep too few.
    """
    if missing := [name for name in shapes if not 0 <= densities.get(name, -1) < inf]:
        raise ValueError(f"layer densities: {missing[0]} has none of at least 0; each layer needs one")
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    raw = {name: Fraction(densities[name]) for name in shapes}
    quotas = {name: Fraction(size) for name, size in sizes.items()}
    free = list(shapes)
    while free:
        budget = kept - sum(size for name, size in sizes.items() if name not in free)
        highest = max(raw[name] for name in free)
        if not highest:
            if budget:
                raise ValueError(f"layer densities: layers of density 0 would have to keep {budget} weights")
            quotas |= dict.fromkeys(free, Fraction())
            break
        epsilon = budget / sum((raw[name] * sizes[name] for name in free), Fraction())
        if epsilon * highest <= 1:
            quotas |= {name: epsilon * raw[name] * sizes[name] for name in free}
            break
        free = [name for name in free if raw[name] < highest]
    return _layerwise(shapes, quotas)


def _layerwise(shapes: Shapes, quotas: Mapping[str, Fraction]) -> list[Group]:
    """Whole numbers closest to the quotas with the same sum: largest remainders, ties to earlier layers."""
    counts = {name: int(quotas[name]) for name in shapes}
    missing = int(sum(quotas.values())) - sum(counts.values())
    by_remainder = sorted(shapes, key=lambda name: counts[name] - quotas[name])
    for name in by_remainder[:missing]:
        counts[name] += 1
    return [Group((name,), counts[name]) for name in shapes]
