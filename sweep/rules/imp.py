"""`imp`: iterative magnitude pruning, with weight rewinding. Frankle & Carbin 2019, Frankle et al. 2020."""

import math
from collections.abc import Hashable, Iterator
from fractions import Fraction

import pruners
from sweep.config import Config, values_of, with_role
from sweep.roles import DENSE_TRAINING, Role
from sweep.rules.rule import Rule, Run, length, removes_units, starts_alike

# A level removes a fifth of the weights that are left, unless the study gives the number of levels.
_KEPT = 0.8


class IterativeMagnitude(Rule):
    """Train to the end, remove the smallest weights, rewind, and again, once for each level.

    `iterations` is the number of levels. Each level keeps the same share of the weights that are left.
    """

    name = "imp"
    iterative = True
    counts_effective = True
    twins = True

    def reads(self, config: Config) -> frozenset[str]:
        """The fields of one level, and how many levels there are."""
        fields = {
            "scope",
            "densities",
            "target",
            "iterations",
            "structure",
            "layers",
            "min_per_layer",
            *with_role(Role.RETRAINING),
        }
        fields |= {"unit_score"} if removes_units(config) else set()
        fields |= {"initial_sparsity", "initial_scope", *(["mask_seed"] if config.initial_sparsity else [])}
        # To rewind to epoch 0 is the rule.
        return frozenset(fields if config.rewind_epoch else fields - {"rewind_epoch"})

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """Parameters that are not trained, a schedule of its own, scores of one moment."""
        yield from super().inconsistencies(config)
        if config.retrain_epochs is not None or config.retrain != "all":
            yield (
                "criterion",
                f"{config.criterion} trains all weights after each level: leave out retrain, retrain_epochs",
            )
        if config.ablation == "shuffle":
            yield "ablation", f"ablation {config.ablation} does not apply to imp, whose masks change"
        yield from starts_alike(config)

    def iterations(self, config: Config) -> int:
        """Levels that remove a fifth each, to the nearest number of them."""
        return max(1, round(math.log(_left(config)) / math.log(_KEPT)))

    def last_prune(self, config: Config) -> float:
        """The end of training; infinite where only the data say which epoch that is."""
        return math.inf if config.epochs is None else config.epochs

    def rewinds_to(self, config: Config) -> float:
        """The epoch that the config says; by default the beginning."""
        return config.rewind_epoch or 0

    def dense_until(self, config: Config) -> float:
        """The end of training: the first level prunes a trained network."""
        return 0 if config.initial_sparsity else math.inf

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
        levels = fields, float(config.rewind_epoch or 0), _density(config)
        counted = (config.densities, config.target)
        of_counts = () if counted == (None, "kept") else (counted,)
        return levels, roots.init, roots.order, roots.split, *of_counts

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
            last = level == config.iterations
            run.prune(chosen)
            run.resume(reinit=last and config.ablation == "reinit")
            run.train("retrain" if last else f"level {level}", run.end)
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
