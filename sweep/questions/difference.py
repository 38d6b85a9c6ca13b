"""By how much two arms differ at a sparsity, or which of them is better: as many seeds as it takes."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sweep.questions.planner import Decision, Expected, Measure, Measured, Wanted


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference first − second at one place.

    Attributes:
        first, second: labels of the arms.
        place: the sparsity.
        within: half the width of the interval, in the unit of the measure; None: the sign alone is asked for.
        cap: the most seeds.

    `Answer.numbers`: `mean`, `interval` [low, high] of 95 %, `always_valid`: whether the interval holds at every
    look, `sign`: 1, −1, or 0 if it is not certain; `seeds`, `trials`, `lost`, `collapsed`.
    """

    first: str
    second: str
    place: float
    within: float | None = None
    cap: int = 200
    measure: Measure = Measure()

    def plan(
        self, measured: Measured, running: AbstractSet[Wanted], workers: int, budget: int | None = None
    ) -> Decision:
        """Which trials to run now, or the answer; see `Planner`."""
        raise NotImplementedError

    def expected(self, measured: Measured, workers: int, draws: int = 100) -> Expected:
        """How many more trials the question will take; see `Planner`."""
        raise NotImplementedError
