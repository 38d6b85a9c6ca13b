"""What a study asks: the `question:` mapping of a study file, read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sweep.questions.asked import Asked
from sweep.questions.best import Best
from sweep.questions.correlation import Correlation
from sweep.questions.crossover import Crossover
from sweep.questions.planner import Measure, Wanted
from sweep.study import axes
from sweep.study.document import Document, Item
from sweep.study.identity import Trial

# The values of the fields of an arm.
Items = Mapping[str, Item]


@dataclass(frozen=True)
class Question:
    """What a study asks.

    Attributes:
        document: the study file, for errors.
        origin: of the question in it.
        asked: the question itself, as results know it.
        arms: label → the values of its fields, without sparsity and seed.
        trials: the most that the study runs, over all its launches; None: as many as it takes.
        max_hours: the most hours of a launch; None: as many as it takes.
    """

    document: Document
    origin: str
    asked: Asked
    arms: Mapping[str, Items]
    trials: int | None = None
    max_hours: float | None = None

    def trial(self, wanted: Wanted) -> Trial:
        """The trial that a planner wants.

        Raises:
            BadInput: the fields of the arm do not go together at this sparsity.
        """
        seed = self.asked.seed + wanted.seed
        return trial(self.document, self.arms[wanted.arm], wanted.place, seed, self.origin)

    def examples(self) -> list[Trial]:
        """A trial of each arm at each sparsity that the question names, with the first seed."""
        return [self.trial(Wanted(arm, place, 0)) for arm in self.arms for place in self.places]

    @property
    def places(self) -> tuple[float, ...]:
        """The sparsities that the question names, rising."""
        planner = self.asked.planner
        if isinstance(planner, Crossover):
            return planner.low, planner.high
        return planner.places if isinstance(planner, Best) else (planner.place,)

    def measuring(self, measure: Measure) -> "Question":
        """The same question, which knows what its numbers are."""
        planner = self.asked.planner
        if isinstance(planner, Correlation):  # it goes by ranks
            return self
        return replace(self, asked=replace(self.asked, planner=replace(planner, measure=measure)))


def trial(document: Document, items: Items, place: float, seed: int, origin: str) -> Trial:
    """The trial of an arm at a sparsity with a seed.

    Args:
        document: the study file, for errors.
        items: the values of the other fields of the arm.
        origin: that an error names if no field is to correct.

    Raises:
        BadInput: a required field is missing, or the fields do not go together.
    """
    chosen = {**items, "sparsity": Item(place, origin), "seed": Item(seed, origin)}
    [config] = axes.configs(document, {name: [item] for name, item in chosen.items()}, origin)
    return Trial.of(config)
