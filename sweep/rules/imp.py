"""`imp`: iterative magnitude pruning, with weight rewinding. Frankle & Carbin 2019, Frankle et al. 2020."""

import math
from collections.abc import Hashable, Iterator
from fractions import Fraction

import pruners
from sweep.config import Config, values_of
from sweep.roles import DENSE_TRAINING
from sweep.rules import ap
from sweep.rules.levels import Levels
from sweep.rules.rule import removes_units, sparse_start, starts_alike
from sweep.rules.run import Run

# A level removes a fifth of the weights that are left, unless the study gives the number of levels.
_KEPT = 0.8


class IterativeMagnitude(Levels):
    """Train to the end, remove the smallest weights, rewind, and again, once for each level.

    `iterations` is the number of levels. Each level keeps the same share of the weights that are left. With
    a second ranking a share of the removed weights of each level is chosen by that ranking.
    """

    name = "imp"
    counts_effective = True
    twins = True

    def reads(self, config: Config) -> frozenset[str]:
        """The fields of one level, and how many levels there are."""
        fields = {"scope", "densities", "target", "structure", "min_per_layer"}
        fields |= {"unit_score"} if removes_units(config) else set()
        fields |= {"second", "second_share"} if config.second else set()
        return super().reads(config) | fields | sparse_start(config)

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """As those of all rules with levels; of a sparse start and of a second ranking."""
        yield from super().inconsistencies(config)
        yield from starts_alike(config)
        if config.second:
            yield from ap.inconsistencies(config)

    def iterations(self, config: Config) -> int:
        """Levels that remove a fifth each, to the nearest number of them."""
        return max(1, round(math.log(_left(config)) / math.log(_KEPT)))

    def dense_until(self, config: Config) -> float:
        """The end of training: the first level prunes a trained network."""
        return 0 if config.initial_sparsity else super().dense_until(config)

    def levels(self, config: Config) -> Hashable | None:
        """All that the levels depend on, however many there are.

        Levels keep an equal share each, so that the first levels of many are those of few. The share is
        rounded, so that 0.8² and 0.8³ are levels of one chain. A sparse start is no one else's.
        """
        if config.initial_sparsity:
            return None
        roots = config.roots
        masks = ("scope", "layers", "min_per_layer", "structure", "unit_score")
        fields = values_of(config, DENSE_TRAINING, *masks)
        if config.second:
            fields = fields, config.second, config.second_share
        levels = fields, float(config.rewind_epoch or 0), _density(config)
        counted = (config.densities, config.target)
        of_counts = () if counted == (None, "kept") else (counted,)
        return levels, roots.init, roots.order, roots.split, *of_counts

    def run(self, run: Run) -> None:
        """Train and prune, level by level."""
        config = run.config
        total = sum(group.size for group in run.units) or run.total
        counts = _counts(config, total)
        done = run.load_levels(counts)
        if not done:
            run.dense(run.end)
        for level in range(done + 1, config.iterations + 1):
            with run.scoring():
                steps = pruners.trajectory(
                    "magnitude",
                    run.model,
                    sparsity=1 - Fraction(counts[level - 1], total),
                    scope=run.scope,
                    exclude=run.exclude,
                    min_per_layer=config.min_per_layer,
                    structure=config.structure,
                    unit_score=config.unit_score,
                    units=run.units,
                    target=config.target,
                    example_input=run.example,
                )
                chosen = next(steps)
                if config.second:
                    chosen = chosen._replace(masks=ap.replaced(run, chosen.masks))
            self.train_level(run, chosen, level, last=level == config.iterations)
        run.save_levels(counts)


def _density(config: Config) -> float:
    """Share of the weights that one level keeps."""
    return round(float(_left(config) ** (1 / config.iterations)), 9)


def _left(config: Config) -> float:
    """Share of the weights of the start that the last level keeps."""
    return (1 - config.sparsity) / (1 - config.initial_sparsity)


def _counts(config: Config, total: int) -> list[int]:
    """Weights, or units, that each level keeps; the last one keeps as many as the sparsity says exactly."""
    kept = pruners.kept_count(total, config.sparsity)
    density, start = _density(config), pruners.kept_count(total, config.initial_sparsity)
    return [*(max(kept, round(start * density**level)) for level in range(1, config.iterations)), kept]


IMP = IterativeMagnitude()
