"""A rule of one's own: a function that a study names."""

from collections.abc import Callable
from functools import cache
from typing import Any

from sweep import parts
from sweep.config import AFTER_DENSE, Config
from sweep.parts import Part
from sweep.rules.rule import Rule, Run, length

# The fields that matter to every rule.
_ALWAYS = {"criterion", "sparsity"}


class Own(Rule):
    """Trains and prunes as a function of the moves of `Run` does. It shares no state with other trials."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self.name = part.name
        self.last_phase = part.option("phase", "retrain")

    def reads(self, config: Config) -> frozenset[str]:
        """The fields that its decorator says; by default all fields of pruning."""
        said = self._part.option("reads")
        return frozenset(AFTER_DENSE if said is None else said) - _ALWAYS

    def dense_until(self, config: Config) -> float:
        """The start: nobody knows when it prunes first."""
        return 0

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of all training."""
        return length(config, epoch)

    def run(self, run: Run) -> None:
        """Train and prune."""
        function: Callable[..., Any] = parts.bind(self._part, run.config.arguments("criterion"))
        function(run)


@cache
def own(name: str) -> Own:
    """The rule of a part."""
    return Own(parts.need(name))
