"""Scopes: how the kept weights spread over the layers.

A scope divides the layers into groups. The weights of a group are ranked together, and the group keeps a
given number of them. These numbers add up to the number of weights to keep in the network. All arithmetic is
exact (fractions) or in decimals of a fixed length, so that every machine computes the same numbers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from math import inf, prod
from typing import ClassVar, Literal, NamedTuple

Shapes = Mapping[str, tuple[int, ...]]
# A name of `SCOPES` or `PATTERNS`, or layer name → density.
Scope = str | Mapping[str, float]
# Decimal digits of a root, and the bisections that find them all.
_DIGITS, _BISECTIONS = 50, 180


class Group(NamedTuple):
    """Layers whose weights are ranked together.

    Attributes:
        layers: names of the layers.
        kept: number of weights to keep in all of them together.
        pattern: which weights of a layer are ranked among each other; `rows`: those of one output, and every
            output keeps the same number; None: all of them.
    """

    layers: tuple[str, ...]
    kept: int
    pattern: "Literal['rows'] | OfInputs | Blocks | Weighed | None" = None


def global_scope(shapes: Shapes, kept: int) -> list[Group]:
    """Rank all weights of the network together."""
    return [Group(tuple(shapes), kept)]


def uniform(shapes: Shapes, kept: int) -> list[Group]:
    """Give every layer the density of the whole network."""
    density = Fraction(kept, sum(map(prod, shapes.values())))
    return _layerwise(shapes, {name: density * prod(shape) for name, shape in shapes.items()})


def er(shapes: Shapes, kept: int) -> list[Group]:
    """Erdős–Rényi: layer density proportional to (inputs + outputs) / (inputs · outputs), kernels left out.

    Mocanu et al. 2018. For a convolution, inputs and outputs are channels.
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
    """Uniform, but a first layer that is a convolution stays dense, and the last keeps at least 20 %.

    Gale et al. 2019. The layers together have the density of the network, which published code misses.

    Raises:
        ValueError: the first and last layer alone keep more than `kept` weights.
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
    """Every layer keeps the same number of weights, or all of its weights if it has fewer.

    Among all layer densities with the same total, these have the largest product. The expected synaptic flow
    of a network without skip connections is proportional to it: PreCrop's allocation (Cai et al. 2022).
    """
    return proportional(shapes, kept, {name: Fraction(1, prod(shape)) for name, shape in shapes.items()})


def per_filter(shapes: Shapes, kept: int) -> list[Group]:
    """Every layer keeps as many weights for each of its filters, or all of its weights if it has fewer.

    Price & Tanner 2021, 'Dense for the Price of Sparse'. A filter is a row: the weights of one output; in a
    transposed convolution, of one input.
    """
    return proportional(
        shapes, kept, {name: Fraction(shape[0], prod(shape)) for name, shape in shapes.items()}
    )


def igq(shapes: Shapes, kept: int) -> list[Group]:
    """Ideal gas quotas: a layer of n weights has the density 1 / (1 + f n), with one f for all layers.

    Vysogorets & Kempe 2023.
    """
    sizes = {name: Decimal(prod(shape)) for name, shape in shapes.items()}

    def quotas(share: Decimal) -> dict[str, Decimal]:
        # All layers together keep less than layers / f.
        f = (1 - share) * len(sizes) / kept
        return {name: size / (1 + f * size) for name, size in sizes.items()}

    return _solved(shapes, kept, quotas)


def pyramid(shapes: Shapes, kept: int) -> list[Group]:
    """The i-th layer has the density xⁱ, with one x in (0, 1) for all layers (Gadhikar et al. 2023)."""
    sizes = {name: Decimal(prod(shape)) for name, shape in shapes.items()}

    def quotas(x: Decimal) -> dict[str, Decimal]:
        return {name: size * x**i for i, (name, size) in enumerate(sizes.items(), 1)}

    return _solved(shapes, kept, quotas)


def rowwise(shapes: Shapes, kept: int) -> list[Group]:
    """Uniform over the layers, and within a layer over its rows (Wanda, Sun et al. 2024).

    A row is the weights of one output; in a transposed convolution, the weights of one input. If a layer's
    number of kept weights does not divide evenly, the remainder goes to the rows whose next weight scores
    highest.
    """
    return [group._replace(pattern="rows") for group in uniform(shapes, kept)]


@dataclass(frozen=True)
class OfInputs:
    """N:M sparsity: of every `of` consecutive inputs, the weights to an output keep `keeps`.

    Mishra et al. 2021, 'Accelerating Sparse Deep Neural Networks'. For a convolution the inputs are channels,
    at one position of the kernel. A layer whose inputs do not divide keeps the same share of the inputs left
    behind the last, to one weight. At a lower sparsity than the pattern's, every `of` consecutive inputs keep
    the same number to one weight, so that iterations can end at the pattern.
    """

    keeps: int
    of: int

    @property
    def sparsity(self) -> Fraction:
        """The sparsity at which masks have the pattern."""
        return 1 - Fraction(self.keeps, self.of)

    def __call__(self, shapes: Shapes, kept: int) -> list[Group]:
        """Uniform over the layers, and within a layer over its consecutive inputs.

        Raises:
            ValueError: the pattern keeps more than `kept` weights.
        """
        sizes = {name: prod(shape) for name, shape in shapes.items()}
        density = Fraction(self.keeps, self.of)
        least = round(sum(sizes.values()) * density)
        if kept < least:
            raise ValueError(
                f"scope {self.keeps}:{self.of} keeps {least} weights, and the sparsity {kept}: "
                f"take sparsity {float(self.sparsity):g}"
            )
        if kept > least:
            density = Fraction(kept, sum(sizes.values()))
        groups = _layerwise(shapes, {name: density * size for name, size in sizes.items()})
        return [group._replace(pattern=self) for group in groups]


@dataclass(frozen=True)
class Blocks:
    """Blocks of weights are kept or removed together, ranked over the network by the sums of their scores.

    A layer is a matrix of outputs by all that one output has (inputs × kernel); blocks at its edges have
    fewer weights. The network keeps exactly as many weights as it is to keep: of the last block that is kept,
    only the highest weights may be.
    """

    outputs: int
    inputs: int
    sparsity: ClassVar[None] = None

    def __call__(self, shapes: Shapes, kept: int) -> list[Group]:
        """Rank the blocks of the network together."""
        return [Group(tuple(shapes), kept, self)]


class Weighed(NamedTuple):
    """Units that differ in size: they are ranked alike, and as many are kept as come nearest to the count.

    Attributes:
        each: for each name of the group, how many weights one of its units has.
    """

    each: tuple[int, ...]


SCOPES: dict[str, Callable[[Shapes, int], list[Group]]] = {
    "global": global_scope,
    "uniform": uniform,
    "uniform-plus": uniform_plus,
    "er": er,
    "erk": erk,
    "balanced": balanced,
    "per-filter": per_filter,
    "igq": igq,
    "pyramid": pyramid,
    "rowwise": rowwise,
}
# Scopes of which masks have a pattern that hardware can use.
PATTERNS: dict[str, OfInputs | Blocks] = {
    "2:4": OfInputs(2, 4),
    "4:8": OfInputs(4, 8),
    "block:4x4": Blocks(4, 4),
}


def divided(scope: Scope, shapes: Shapes, kept: int) -> list[Group]:
    """The groups of a scope, which is a name or the densities of the layers."""
    if isinstance(scope, Mapping):
        return proportional(shapes, kept, scope)
    return PATTERNS[scope](shapes, kept) if scope in PATTERNS else SCOPES[scope](shapes, kept)


def within(groups: Iterable[Group], left: Mapping[str, int]) -> list[Group]:
    """Groups that keep no more than they have left; what one is short of, the first with more left keep.

    Where the network keeps less, the rounding of a scope may give a layer more.

    Args:
        left: layer name → how many it has left.
    """
    room = [(group, sum(left[layer] for layer in group.layers)) for group in groups]
    short, found = sum(max(0, group.kept - has) for group, has in room), []
    for group, has in room:
        kept = min(has, group.kept + short)
        short -= max(0, kept - group.kept)
        found.append(group._replace(kept=kept))
    return found


def proportional(shapes: Shapes, kept: int, densities: Mapping[str, Fraction | float]) -> list[Group]:
    """Layer densities proportional to the given ones.

    Layers that would exceed density 1 stay dense, and the densities of the others are rescaled, until none
    exceeds 1.

    Raises:
        ValueError: a layer has no density or a negative one, or the layers of density above 0 have fewer than
            `kept` weights.
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


def _solved(shapes: Shapes, kept: int, quotas: Callable[[Decimal], Mapping[str, Decimal]]) -> list[Group]:
    """Layers at the quotas that add up to `kept`.

    Args:
        quotas: a number in [0, 1] → a quota for each layer. They rise with the number, from a sum below
            `kept` to whole layers.
    """
    with localcontext(prec=_DIGITS):
        low, high = Decimal(0), Decimal(1)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if sum(quotas(middle).values()) >= kept else (middle, high)
        return _layerwise(shapes, {name: Fraction(quota) for name, quota in quotas(high).items()})


def _layerwise(shapes: Shapes, quotas: Mapping[str, Fraction]) -> list[Group]:
    """Round the quotas to whole numbers of the same sum: largest remainders first, ties to earlier layers.

    The sum is a whole number, or off it by the last digits of a root.
    """
    counts = {name: int(quotas[name]) for name in shapes}
    missing = round(sum(quotas.values())) - sum(counts.values())
    by_remainder = sorted(shapes, key=lambda name: counts[name] - quotas[name])
    for name in by_remainder[:missing]:
        counts[name] += 1
    return [Group((name,), counts[name]) for name in shapes]
