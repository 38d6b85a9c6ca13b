"""Where one arm overtakes another: bisection on log density, with seeds where the sign is open."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sweep.questions.planner import Decision, Expected, Measure, Measured, Wanted


@dataclass(frozen=True)
class Width:
    """How narrow a bracket is to be.

    Attributes:
        amount: decades of density, or a width in sparsity.
        decades: which of the two.
    """

    amount: float
    decades: bool = True


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """Where the first arm is overtaken by the second, or overtakes it.

    Attributes:
        first, second: labels of the arms.
        low, high: the range of sparsities; the two ends are tested.
        within: how narrow the bracket is to be.
        monotone: the difference is known to cross at most once: equal signs at both ends are then no crossover.
        cap: the most seeds at a place.

    `Answer.numbers`: `bracket` [low, high] of sparsities with certain, opposite signs, or null; `falls`: the first
    arm is above at the lower one; `certain`: {sparsity: 1 or −1}; `open`: {sparsity: pairs that are missing}; `trials`,
    `lost`, `collapsed`.
    """

    first: str
    second: str
    low: float
    high: float
    within: Width
    monotone: bool = False
    cap: int = 40
    measure: Measure = Measure()

    def plan(
        self, measured: Measured, running: AbstractSet[Wanted], workers: int, budget: int | None = None
    ) -> Decision:
        """Which trials to run now, or the answer; see `Planner`."""
        raise NotImplementedError

    def expected(self, measured: Measured, workers: int, draws: int = 100) -> Expected:
        """How many more trials the question will take; see `Planner`."""
        raise NotImplementedError
