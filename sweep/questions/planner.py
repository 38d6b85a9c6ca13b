"""What a planner of a question is given, and what it answers."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

# The share of studies that may say something wrong, over all looks, places and arms.
ALPHA = 0.05


@dataclass(frozen=True, order=True)
class Wanted:
    """A trial that a planner asks for.

    Attributes:
        arm: its label, as the planner was given it.
        place: the sparsity.
        seed: 0 for the first seed of the study, 1 for the second, …
    """

    arm: str
    place: float
    seed: int


# How a question ends; see `Answer`.
Status = Literal["answered", "none", "open", "spent"]
V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)
# Numbers of finished trials by (arm, place) and seed. None: the trial finished without a number (lost,
# diverged).
Results = Mapping[tuple[str, float], Mapping[int, V | None]]
# One number a trial: its accuracy.
Measured = Results[float]


@dataclass(frozen=True)
class Measure:
    """The number that trials are compared by.

    Attributes:
        name: as sentences call it.
        higher: higher is better. Of numbers of which lower is better, a difference is still first − second.
        grain: the least possible step, such as 1 / test images; 0: unknown. Differences are never taken to
            spread by less than rounding does.
        chance: the number that guessing has, which a lost run is taken to have in a second opinion; None:
            unknown.
    """

    name: str = "accuracy"
    higher: bool = True
    grain: float = 0.0
    chance: float | None = None


ACCURACY = Measure()


@dataclass(frozen=True)
class Answer:
    """The end of a question, or where it stands when its trials are spent.

    Attributes:
        status: `answered`: as exactly as asked. `none`: certainly no crossover at the places tested. `open`:
            all seeds that a question may have are spent, and it is still open. `spent`: the budget is spent
            before.
        sentence: one or more whole sentences, with the trials that were lost or collapsed.
        numbers: the same as plain values for JSON; which keys there are says each planner.
    """

    status: Status
    sentence: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What a planner says about the results so far.

    Attributes:
        wanted: the trials that are worth running now, the most important first, without those that have
            finished or are running. Empty: wait for running trials, or the question is over.
        answer: None: the question is not over.
        progress: the answer so far with its interval: one short line without a full stop.
    """

    wanted: tuple[Wanted, ...]
    answer: Answer | None
    progress: str


@dataclass(frozen=True)
class Expected:
    """How many more trials a question is expected to take, by simulation.

    Attributes:
        low, median, high: 5, 50 and 95 % of the simulated studies take no more than these.
        answered: the share of simulated studies with status `answered` or `none`.
        grid: trials, all of them, of the smallest grid of equal seeds that answers as exactly; None: there
            is no such grid, as the question is no narrower than one.
        basis: what the simulation draws from, as words: "the results of 60 trials", or what is assumed.
    """

    low: int
    median: int
    high: int
    answered: float
    grid: int | None
    basis: str


class Planner(Protocol[V_contra]):
    """A question. Equal arguments make equal decisions, whatever the order in which results arrived."""

    def plan(
        self,
        measured: Results[V_contra],
        running: AbstractSet[Wanted],
        workers: int,
        budget: int | None = None,
    ) -> Decision:
        """Which trials to run now, or the answer.

        Args:
            measured: all results; those at arms and places of no interest are ignored.
            running: trials that have been started and have not finished.
            workers: how many trials can run at once, those of `running` among them. No more than these are
                wanted and running together.
            budget: how many trials may still be started; None: any number. With 0 and nothing running the
                question is over: so a study that is out of time gets its answer.
        """
        ...

    def expected(self, measured: Results[V_contra], workers: int, draws: int = 50) -> Expected:
        """How many more trials the question will take; a simulation that starts from `measured`."""
        ...
