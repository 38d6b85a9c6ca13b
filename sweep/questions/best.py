"""Which of several arms is the best: a race in which what is certainly worse gets no more seeds."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sweep.questions.planner import Decision, Expected, Measure, Measured, Wanted


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best of several arms at each place.

    Attributes:
        arms: labels, at least two.
        places: sparsities; a race at each.
        within: the arms that remain may differ by this much, in the unit of the measure.
        cap: the most seeds at a place.

    `Answer.numbers`: `best`: {sparsity: labels that remain, the highest mean first}; `behind`: {sparsity: {label:
    [low, high] of how far it is behind the leader}}; `trials`, `lost`, `collapsed`.
    """

    arms: tuple[str, ...]
    places: tuple[float, ...]
    within: float
    cap: int = 100
    measure: Measure = Measure()

    def plan(
        self, measured: Measured, running: AbstractSet[Wanted], workers: int, budget: int | None = None
    ) -> Decision:
        """Which trials to run now, or the answer; see `Planner`."""
        raise NotImplementedError

    def expected(self, measured: Measured, workers: int, draws: int = 50) -> Expected:
        """How many more trials the question will take; see `Planner`."""
        raise NotImplementedError
