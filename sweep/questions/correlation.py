"""How well a number before retraining predicts one after it: as many seeds of all arms as it takes."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sweep.questions.planner import Decision, Expected, Results, Wanted

# What Correlation is given of a trial: the number before retraining and the one after it.
Both = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Kendall's τ of two numbers of a trial over the arms and all seeds, at one place.

    Attributes:
        arms: labels; τ is over these arms, each as often as any other.
        place: the sparsity.
        within: half the width of the interval.
        cap: the most seeds.

    `Answer.numbers`: `tau`, `interval` [low, high] of 95 %, `always_valid`, `seeds`, `trials`, `lost`.
    """

    arms: tuple[str, ...]
    place: float
    within: float
    cap: int = 200

    def plan(
        self, measured: Results[Both], running: AbstractSet[Wanted], workers: int, budget: int | None = None
    ) -> Decision:
        """Which trials to run now, or the answer; see `Planner`."""
        raise NotImplementedError

    def expected(self, measured: Results[Both], workers: int, draws: int = 50) -> Expected:
        """How many more trials the question will take; see `Planner`."""
        raise NotImplementedError
