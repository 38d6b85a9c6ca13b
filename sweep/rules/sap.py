"""`sap`: sparsity-informed adaptive pruning, whose levels choose their own counts. Diao et al. 2023."""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor, nn

import pruners
from pruners.masks import total_kept
from sweep.config import Config, values_of
from sweep.roles import DENSE_TRAINING
from sweep.rules.levels import Levels, joined
from sweep.rules.rule import single_weights_alone
from sweep.rules.run import Run

# Levels where a study gives no number: as many as the paper takes for small networks.
_LEVELS = 30
# Rounding errors below this share of a count add no weight to it.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Options:
    """How a level chooses its count.

    Attributes:
        p: exponent of the smaller norm of the PQ index.
        q: exponent of the larger norm, above p.
        eta: how far the kept weights may be from the whole: more keeps fewer weights.
        gamma: share of the weights above the least number to keep that a level removes.
        beta: the largest share of a group that a level removes.
        group: the weights that are ranked together, and that have one index.
    """

    p: float = 0.5
    q: float = 1.0
    eta: float = 0.0
    gamma: float = 1.0
    beta: float = 0.9
    group: Literal["global", "layer", "neuron"] = "global"


class Adaptive(Levels):
    """Train to the end, remove as many of the smallest weights as the PQ index says, rewind, and again.

    The levels end when as many weights as the sparsity says are removed, when a level finds nothing to
    remove, or after `iterations` levels. So the density is an outcome.
    """

    name = "sap"
    options = Options

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """As those of all rules with levels; and numbers with which the formula has no meaning."""
        yield from super().inconsistencies(config)
        yield from single_weights_alone(config)
        options = self.chosen(config)
        if not 0 < options.p < options.q < math.inf:
            yield (
                "criterion",
                f"criterion.p {options.p:g} and criterion.q {options.q:g}: give 0 < p < q, such as 0.5 and 1",
            )
        for name in ("eta", "gamma"):
            value = getattr(options, name)
            if not 0 <= value < math.inf:
                yield "criterion", f"criterion.{name} {value:g}: give a number from 0 on"
        if not 0 < options.beta <= 1:
            yield "criterion", f"criterion.beta {options.beta:g}: give a share above 0, up to 1"

    def iterations(self, config: Config) -> int:
        """The most levels."""
        return _LEVELS

    def levels(self, config: Config) -> Hashable:
        """All that the levels depend on; the sparsity too, which may end them."""
        fields = values_of(config, DENSE_TRAINING, "layers", "sparsity")
        roots = config.roots
        levels = self.name, fields, self.chosen(config), float(config.rewind_epoch or 0)
        return levels, roots.init, roots.order, roots.split

    def run(self, run: Run) -> None:
        """Train and prune, level by level."""
        config, options = run.config, self.chosen(run.config)
        asked, done = pruners.kept_count(run.total, config.sparsity), run.load_levels([])
        if not done:
            run.dense(run.end)
        before = run.decide(total_kept((run.masks or run.full_masks()).values()))
        for level in range(done + 1, config.iterations + 1):
            with run.scoring():
                weights = pruners.prunable(run.model, run.exclude)
                masks = chosen(weights, run.masks or run.full_masks(), options)
                scores = {name: weight.detach().abs() for name, weight in weights.items()}
            kept = run.decide(total_kept(masks.values()))
            # A level that removes nothing would be followed by the same level for ever.
            ended = kept <= asked or kept == before
            self.train_level(
                run, pruners.Step(scores, masks), level, last=ended or level == config.iterations
            )
            if ended:
                return
            before = kept
        run.save_levels([])


@torch.no_grad()
def chosen(
    weights: Mapping[str, nn.Parameter | Tensor], masks: Mapping[str, Tensor], options: Options
) -> pruners.Masks:
    """The masks after a level.

    Args:
        weights: name of each layer → its trained weights.
        masks: the masks before the level: of these layers, and maybe of others.
    """
    groups = zip(
        _grouped({name: weight.detach() for name, weight in weights.items()}, options.group),
        _grouped({name: masks[name] for name in weights}, options.group),
        strict=True,
    )
    return joined([_stays(weight, mask, options) for weight, mask in groups], weights)


def _stays(weights: Tensor, mask: Tensor, options: Options) -> Tensor:
    """Which weights of a group stay."""
    alive = int(mask.count_nonzero())
    kept = alive - removed(weights[mask], options)
    return pruners.keep_top(weights.abs().masked_fill(~mask, -1), kept)


def removed(weights: Tensor, options: Options) -> int:
    """How many of the surviving weights of a group a level removes.

    With the PQ index I of the d weights, r = ⌈d (1 + η)^(−q/(q−p)) (1 − I)^(qp/(q−p))⌉ are kept at least, and
    ⌊d min(γ (1 − r/d), β)⌋ are removed. The index of weights of one size is 0: with η = 0 none is removed,
    nor is one where all are 0.
    """
    count, p, q = weights.numel(), options.p, options.q
    size = weights.abs().double()
    if not count or not size.any():
        return 0
    size /= size.max()
    # The logarithm of 1 − I, which is the p-mean of the sizes over their q-mean.
    means = (math.log(float(size.pow(power).mean())) / power for power in (p, q))
    spread = next(means) - next(means)
    share = math.exp(q / (q - p) * (p * spread - math.log1p(options.eta)))
    least = min(count, max(1, math.ceil(count * share * (1 - _ROUNDING))))
    # Of the decimals that the study writes: 0.29 of 100 weights are 29, not 28.
    spared, most = Fraction(str(options.gamma)) * (count - least), Fraction(str(options.beta)) * count
    return math.floor(min(spared, most))


def _grouped(layers: Mapping[str, Tensor], group: str) -> list[Tensor]:
    """The entries of each group, in one dimension; the groups in the order of the layers' entries."""
    flat = [layer.flatten() for layer in layers.values()]
    if group == "global":
        return [torch.cat(flat)]
    if group == "layer":
        return flat
    return [row for layer in layers.values() for row in layer.flatten(1)]


SAP = Adaptive()
