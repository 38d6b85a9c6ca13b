"""`imp`: iterative magnitude pruning, with weight rewinding. Frankle & Carbin 2019, Frankle et al. 2020."""

import math
from collections.abc import Hashable, Iterator
from fractions import Fraction

import pruners
from sweep.config import Config, values_of
from sweep.roles import DENSE_TRAINING
from sweep.rules import ap
from sweep.rules.levels import Levels
from sweep.rules.rule import Run

# A level removes a fifth of the weights that are left, unless the study gives the number of levels.
_KEPT = 0.8


class IterativeMagnitude(Levels):
    """Train to the end, remove the smallest weights, rewind, and again, once for each level.

    `iterations` is the number of levels. Each level keeps the same share of the weights that are left. With
    a second ranking a share of the removed weights of each level is chosen by that ranking.
    """

    name = "imp"

    def reads(self, config: Config) -> frozenset[str]:
        """The fields of one level, and how many levels there are."""
        second = {"second", "second_share"} if config.second else set[str]()
        return super().reads(config) | {"scope", "min_per_layer"} | second

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """As those of all rules with levels; and of a second ranking."""
        yield from super().inconsistencies(config)
        if config.second:
            yield from ap.inconsistencies(config)

    def iterations(self, config: Config) -> int:
        """Levels that remove a fifth each, to the nearest number of them."""
        return max(1, round(math.log(1 - config.sparsity) / math.log(_KEPT)))

    def levels(self, config: Config) -> Hashable:
        """All that the levels depend on, however many there are.

        Levels keep an equal share each, so that the first levels of many are those of few. The share is
        rounded, so that 0.8² and 0.8³ are levels of one chain.
        """
        roots = config.roots
        fields = values_of(config, DENSE_TRAINING, "scope", "layers", "min_per_layer")
        if config.second:
            fields = fields, config.second, config.second_share
        levels = fields, float(config.rewind_epoch or 0), _density(config)
        return levels, roots.init, roots.order, roots.split

    def run(self, run: Run) -> None:
        """Train and prune, level by level."""
        config = run.config
        counts = _counts(config, run.total)
        done = run.load_levels(counts)
        if not done:
            run.dense(run.end)
        for level in range(done + 1, config.iterations + 1):
            with run.scoring():
                steps = pruners.trajectory(
                    "magnitude",
                    run.model,
                    sparsity=1 - Fraction(counts[level - 1], run.total),
                    scope=config.scope,
                    exclude=run.exclude,
                    min_per_layer=config.min_per_layer,
                )
                chosen = next(steps)
                if config.second:
                    chosen = chosen._replace(masks=ap.replaced(run, chosen.masks))
            self.train_level(run, chosen, level, last=level == config.iterations)
        run.save_levels(counts)


def _density(config: Config) -> float:
    """Share of the weights that one level keeps."""
    return round(float((1 - config.sparsity) ** (1 / config.iterations)), 9)


def _counts(config: Config, total: int) -> list[int]:
    """Weights that are kept after each level; after the last one as many as the sparsity says exactly."""
    kept = pruners.kept_count(total, config.sparsity)
    density = _density(config)
    return [*(max(kept, round(total * density**level)) for level in range(1, config.iterations)), kept]


IMP = IterativeMagnitude()
