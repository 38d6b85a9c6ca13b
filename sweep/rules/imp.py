"""`imp`: iterative magnitude pruning, with weight rewinding. Frankle & Carbin 2019, Frankle et al. 2020."""

import math
from collections.abc import Hashable, Iterator
from fractions import Fraction

import pruners
from sweep.config import Config, values_of, with_role
from sweep.roles import DENSE_TRAINING, Role
from sweep.rules.rule import Rule, Run, length, single_weights_alone

# A level removes a fifth of the weights that are left, unless the study gives the number of levels.
_KEPT = 0.8


class IterativeMagnitude(Rule):
    """Train to the end, remove the smallest weights, rewind, and again, once for each level.

    `iterations` is the number of levels. Each level keeps the same share of the weights that are left.
    """

    name = "imp"
    iterative = True
    twins = True

    def reads(self, config: Config) -> frozenset[str]:
        """The fields of one level, and how many levels there are."""
        fields = {"scope", "iterations", "structure", "layers", "min_per_layer", *with_role(Role.RETRAINING)}
        # To rewind to epoch 0 is the rule.
        return frozenset(fields if config.rewind_epoch else fields - {"rewind_epoch"})

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """Filters, parameters that are not trained, scores of one moment."""
        yield from super().inconsistencies(config)
        yield from single_weights_alone(config)
        if config.ablation == "shuffle":
            yield "ablation", f"ablation {config.ablation} does not apply to imp, whose masks change"

    def iterations(self, config: Config) -> int:
        """Levels that remove a fifth each, to the nearest number of them."""
        return max(1, round(math.log(1 - config.sparsity) / math.log(_KEPT)))

    def last_prune(self, config: Config) -> float:
        """The end of training; infinite where only the data say which epoch that is."""
        return math.inf if config.epochs is None else config.epochs

    def rewinds_to(self, config: Config) -> float:
        """The epoch that the config says; by default the beginning."""
        return config.rewind_epoch or 0

    def dense_until(self, config: Config) -> float:
        """The end of training: the first level prunes a trained network."""
        return math.inf

    def levels(self, config: Config) -> Hashable:
        """All that the levels depend on, however many there are.

        Levels keep an equal share each, so that the first levels of many are those of few. The share is
        rounded, so that 0.8² and 0.8³ are levels of one chain.
        """
        roots = config.roots
        fields = values_of(config, DENSE_TRAINING, "scope", "layers", "min_per_layer")
        levels = fields, float(config.rewind_epoch or 0), _density(config)
        return levels, roots.init, roots.order, roots.split

    def leads(self, config: Config) -> bool:
        """Whether the weights after the last level are trained ones: new weights lead nowhere."""
        return config.ablation != "reinit"

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of dense training, and of the training after each level."""
        return length(config, epoch) + config.iterations * self.repeated(config, epoch)

    def repeated(self, config: Config, epoch: int) -> int:
        """Steps of one level: a twin repeats the training after the last."""
        return length(config, epoch) - round((config.rewind_epoch or 0) * epoch)

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
            last = level == config.iterations
            run.prune(chosen)
            run.resume(reinit=last and config.ablation == "reinit")
            run.train("retrain" if last else f"level {level}", run.end)
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
