"""Scopes that ask the network: densities of layers by scores, by blocks or by losses on data."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from zlib import crc32

import torch
from torch import Tensor, nn

from pruners.batches import Batch, Loss, ScoringBatches
from pruners.context import scoring_context
from pruners.forward import full_precision, run
from pruners.masks import Sparsity
from pruners.probe import Scores
from pruners.residual import block_of, by_block, cosines, passing_blocks
from pruners.scoring import score
from pruners.unit_saliency import CRITERIA

# OWL: a score is an outlier above this many times the mean; half the range of the densities.
_OUTLIER, _LAMBDA = 5.0, 0.08
# Adapt-Pruner: how far the sparsity of the block of the largest influence lies below that of the network.
_AMPLITUDE = 0.03
# ECoFLaP: the size of a perturbation; the least share of its weights that a matrix keeps, of the network's.
_EPSILON, _FLOOR = 1e-3, 0.5


@dataclass(frozen=True)
class Asked:
    """What a scope may ask.

    Attributes:
        model: the network, in eval mode.
        weights: name → prunable weights.
        batches: those that score.
        loss: (outputs, targets) → mean loss.
        seed: of what the scope draws.
        density: of the network.
        last: the density of the network at the last prune, and those of its parameters; none before a prune.
        wanda: the scores of Wanda, when they are asked for.
    """

    model: nn.Module
    weights: Mapping[str, Tensor]
    batches: Sequence[Batch]
    loss: Loss
    seed: int
    density: float
    last: tuple[float, Mapping[str, float]]
    wanda: Callable[[], Scores]

    @property
    def blocks(self) -> list[str]:
        """The residual blocks of the network; see `pruners.residual.passing_blocks`."""
        return passing_blocks(self.model, self.batches[0][0])


def owl(asked: Asked) -> dict[str, float]:
    """Outlier-weighed layerwise sparsity (Yin et al. 2024, OWL): blocks of more outliers are denser.

    D is the share of a block's Wanda scores above 5 times their mean. D is scaled to a range of 2 · 0.08,
    centred, and the density of the network is added. A layer outside of blocks is a block of its own.
    """
    blocks, scores = asked.blocks, asked.wanda()
    together: dict[str, list[str]] = defaultdict(list)
    for name in asked.weights:
        together[block_of(name, blocks) or name].append(name)
    shares = {}
    for block, names in together.items():
        values = torch.cat([scores[name].double().flatten() for name in names])
        shares[block] = float((values > _OUTLIER * values.mean()).double().mean())
    low, high = min(shares.values()), max(shares.values())
    scaled = {b: (d - low) * 2 * _LAMBDA / (high - low) if high > low else 0.0 for b, d in shares.items()}
    mean = sum(scaled.values()) / len(scaled)
    densities = {block: _within(d - mean + asked.density) for block, d in scaled.items()}
    return {name: densities[block] for block, names in together.items() for name in names}


def block_influence(asked: Asked) -> dict[str, float]:
    """Sparsities by what blocks change (Adapt-Pruner): blocks that change their inputs more are denser.

    I_b is minus the mean cosine of a block's inputs and outputs, centred, over its largest size. The sparsity
    of a block is the network's less 0.03 · I_b, within 0 and 0.99. Parameters outside of blocks have the
    network's. Of a network that was pruned before, a block's sparsity rises by as much as the network's does,
    less 0.03 · I_b.
    """
    model, state = asked.model, _state(asked.model)
    found = cosines(model, [x for x, _ in asked.batches], lambda x: run(model, state, full_precision(x)))
    if not found:
        raise ValueError(f"{type(model).__name__} has no residual blocks that add to their own inputs")
    mean = sum(found.values()) / len(found)
    influence = {block: mean - cosine for block, cosine in found.items()}
    largest = max(map(abs, influence.values())) or 1.0
    names, (whole, known) = dict(model.named_parameters()), asked.last
    less = by_block(names, {b: _AMPLITUDE * each / largest for b, each in influence.items()})
    sparsities = {name: 1 - known.get(name, whole) + whole - asked.density - x for name, x in less.items()}
    densities = {name: 1 - min(0.99, max(0.0, each)) for name, each in sparsities.items()}
    return dict.fromkeys(names, asked.density) | densities


def ecoflap(asked: Asked) -> dict[str, float]:
    """Sparsities by losses around each matrix, without gradients (Sung et al. 2024, ECoFLaP).

    The importance of a matrix w is Σ over batches of |L(w + εz) − L(w − εz)| / 2ε, with ε = 0.001 and one
    normal z a matrix. The kept weights are dealt out in proportion, above a floor of half the density of the
    network and below the size of the matrix.
    """
    importance = {}
    for name, weight in asked.weights.items():
        generator = torch.Generator().manual_seed(crc32(f"{asked.seed}/{name}".encode()))
        z = torch.randn(weight.shape, generator=generator, device="cpu").to(weight.device)
        above, below = (list(_losses(asked, name, sign * _EPSILON * z)) for sign in (1, -1))
        importance[name] = sum(abs(a - b) for a, b in zip(above, below, strict=True)) / (2 * _EPSILON)
    sizes = {name: weight.numel() for name, weight in asked.weights.items()}
    kept = dealt(importance, sizes, asked.density * sum(sizes.values()), _FLOOR * asked.density)
    return {name: kept[name] / sizes[name] for name in sizes}


def dealt(
    shares: Mapping[str, float], sizes: Mapping[str, int], total: float, floor: float
) -> dict[str, float]:
    """A number dealt out in proportion to shares, above a floor for each and below its size.

    Args:
        floor: the least that one gets, as a part of its size.
    """
    kept = {name: floor * size for name, size in sizes.items()}
    free, left = list(sizes), total - sum(kept.values())
    while free and left > 0:
        sum_of = sum(shares[name] for name in free)
        even = sum(sizes[name] for name in free)
        more = {name: left * (shares[name] / sum_of if sum_of > 0 else sizes[name] / even) for name in free}
        full = [name for name in free if kept[name] + more[name] >= sizes[name]]
        if not full:
            return kept | {name: kept[name] + more[name] for name in free}
        for name in full:
            left -= sizes[name] - kept[name]
            kept[name] = float(sizes[name])
        free = [name for name in free if name not in full]
    return kept


def _losses(asked: Asked, name: str, change: Tensor) -> Iterator[float]:
    """The loss of each batch with one matrix changed."""
    model, state = asked.model, _state(asked.model)
    state[name] = state[name] + change
    with torch.no_grad():
        for inputs, targets in asked.batches:
            yield float(asked.loss(run(model, state, full_precision(inputs)), targets).double())


def _state(model: nn.Module) -> dict[str, Tensor]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: full_precision(tensor.detach().clone()) for name, tensor in tensors}


def _within(density: float) -> float:
    return min(1.0, max(0.0, density))


# Name of a scope → what it asks for, in densities of parameters by name.
BUDGETS: dict[str, Callable[[Asked], dict[str, float]]] = {
    "owl": owl,
    "block-influence": block_influence,
    "ecoflap": ecoflap,
}


def asked_densities(
    scope: str,
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    batches: Iterable[Batch],
    *,
    loss: Loss,
    seed: int,
    sparsity: Sparsity,
    last: tuple[float, Mapping[str, float]] = (1.0, {}),
) -> dict[str, float]:
    """What a scope of `BUDGETS` asks for: name of a parameter → density, for all prunable weights at least.

    The model is not changed.

    Args:
        weights: those that may be pruned.
        sparsity: of the network.
        last: the density of the network at the last prune, and of its parameters by name.

    Raises:
        ValueError: there are no batches, or the network has no residual blocks and the scope asks for them.
    """
    drawn = ScoringBatches(batches).required()

    def wanda() -> Scores:
        return score([CRITERIA["wanda"]], model, weights, None, drawn, loss=loss, seed=seed)["wanda"]

    density = float(1 - Fraction(str(sparsity)))
    with scoring_context(model, False, next(iter(weights.values())).device):
        return BUDGETS[scope](Asked(model, weights, drawn, loss, seed, density, last, wanda))
