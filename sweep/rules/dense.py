"""`dense`: nothing is pruned. What every pruned network of its setting is compared with."""

import math
from collections.abc import Iterator

import pruners
from sweep.config import DENSE as NAME
from sweep.config import Config
from sweep.rules.rule import Rule, Run, length


class Dense(Rule):
    """Dense training to the end."""

    name = NAME
    prunes = False
    last_phase = "dense"

    def reads(self, config: Config) -> frozenset[str]:
        """None: no field of pruning matters."""
        return frozenset()

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

    def dense_until(self, config: Config) -> float:
        """The end of training."""
        return math.inf

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of all training."""
        return length(config, epoch)

    def run(self, run: Run) -> None:
        """Train; the network is measured at first, as one is that is pruned before training."""
        run.prune(pruners.Step({}, run.full_masks()))
        run.dense(run.end)


DENSE = Dense()
