"""`dense`: nothing is pruned. What every pruned network of its setting is compared with."""

import math
from collections.abc import Iterator

import pruners
from sweep.config import DENSE as NAME
from sweep.config import Config
from sweep.rules.rule import Rule, length
from sweep.rules.run import Run


class Dense(Rule):
    """Dense training to the end."""

    name = NAME
    prunes = False
    last_phase = "dense"
    twins = True

    def reads(self, config: Config) -> frozenset[str]:
        """None but those of a twin: no field of pruning matters to dense training."""
        if config.twin_seed is None:
            return frozenset()
        # A twin from epoch 0 is the same whichever field says so.
        parts = "prune_epoch" if config.rewind_epoch is None else "rewind_epoch"
        return frozenset({"twin_seed", parts} if self.parts_at(config) else {"twin_seed"})

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """A sparsity."""
        if config.sparsity > 0:
            yield "criterion", "criterion dense prunes nothing: give it sparsity 0"

    def takes_iterations(self, config: Config) -> bool:
        """Whether the number of iterations may be above 1: without pruning it does not matter."""
        return True

    def iterations(self, config: Config) -> int:
        """As many as the config has."""
        return config.iterations

    def last_prune(self, config: Config) -> float:
        """The prune epoch; with a twin, which may part anywhere, the end of training."""
        if config.twin_seed is None:
            return super().last_prune(config)
        return math.inf if config.epochs is None else config.epochs

    def rewinds_to(self, config: Config) -> None:
        """None: training never goes back; a twin goes on from a state of its own."""

    def dense_until(self, config: Config) -> float:
        """The end of training; where a twin parts, it needs the state there and none of later."""
        parts = self.parts_at(config)
        return math.inf if parts is None else parts

    def parts_at(self, config: Config) -> float | None:
        """The epoch at which a pruned trial of these fields would begin to retrain; None without a twin."""
        if config.twin_seed is None:
            return None
        return config.prune_epoch if config.rewind_epoch is None else config.rewind_epoch

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of all training."""
        return length(config, epoch)

    def repeated(self, config: Config, epoch: int) -> int:
        """Steps from where the twin parts to the end of training."""
        return length(config, epoch) - round((self.parts_at(config) or 0) * epoch)

    def run(self, run: Run) -> None:
        """Train; the network is measured at first, as one is that is pruned before training."""
        run.prune(pruners.Step({}, run.full_masks()))
        run.dense(run.end)


DENSE = Dense()
