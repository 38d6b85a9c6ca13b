"""Planted truths of two arms between sparsities 0.8 and 0.998: two decades of density.

Places are decades of density above 0.8. Differences, first − second, and their standard deviations are in points of
accuracy. The crossing is a third of an eighth of a decade above 0.98, unless it is said to be elsewhere: 0.98 and
0.985 are places of the bisection and of the grid, and the nearer of them is hard to tell.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sweep.questions.places import decades
from sweep.questions.planner import Wanted

LOW, HIGH = 0.8, 0.998
WIDTH = 0.125
CROSSING = 1 + WIDTH / 3
Curve = Callable[[float], float]


def step(points: float, crossing: float = CROSSING) -> Curve:
    """Nearly a step: ± so many points half an eighth of a decade from the crossing, and beyond."""
    return lambda at: points * math.tanh((crossing - at) / (WIDTH / 8))


def root(points: float, crossing: float = CROSSING) -> Curve:
    """± so many points half an eighth of a decade from the crossing, and more beyond: as the square root."""
    return lambda at: points * math.copysign(math.sqrt(abs(crossing - at) / (WIDTH / 2)), crossing - at)


def line(slope: float, crossing: float = CROSSING) -> Curve:
    """So many points a decade."""
    return lambda at: slope * (crossing - at)


def constant(points: float) -> Curve:
    """The same everywhere."""
    return lambda at: points


def valley(at: float) -> float:
    """Above, below, above: 12 points a decade at both crossings."""
    half = CROSSING - 0.75
    return 6 / half * ((at - 0.75) ** 2 - half**2)


def below(at: float) -> float:
    """Below everywhere, at first by a tenth of a point."""
    return -float(np.interp(at, [0, 0.3, 0.6, 1, 1.3, 1.6], [0.1, 0.1, 0.1, 1, 3, 6]))


def swelling(at: float) -> float:
    """A standard deviation of 0.5, and of 3 where the first arm collapses."""
    return 0.5 * (1 + 5 * math.exp(-(((at - CROSSING) / 0.25) ** 2)))


def sigmoids(random: np.random.Generator) -> tuple[Curve, Curve]:
    """Difference and standard deviation of two arms whose accuracies fall as sigmoids of the log density."""
    tops, middles = random.uniform(82, 90, 2), random.uniform(0.5, 2, 2)
    widths, spread = np.exp(random.uniform(math.log(0.05), math.log(0.4), 2)), random.uniform(0.3, 3)

    def difference(at: float) -> float:
        first, second = tops / (1 + np.exp((at - middles) / widths))
        return float(first - second)

    return difference, constant(float(spread))


@dataclass(frozen=True)
class Truth:
    """What a study measures.

    Attributes:
        heavy: differences have Student's t with 3 degrees of freedom instead of a normal distribution.
        shared: the share of the variance of a run that is its seed's, the same at all places.
        anywhere: the crossing is drawn anew for each study, away from the ends by a tenth of the range.
        drawn: curve and spread are drawn anew for each study.
        collapse: this share of the runs of the first arm falls by 30 points.
        known: trials with 2 workers and the ratio to the grid as they were planned.
    """

    name: str
    curve: Curve
    spread: Curve
    heavy: bool = False
    shared: float = 0.0
    anywhere: bool = False
    drawn: Callable[[np.random.Generator], tuple[Curve, Curve]] | None = None
    collapse: float = 0.0
    known: str = "–"


@dataclass
class Study:
    """The results of one simulated study; equal numbers have equal results, whatever is asked for first."""

    truth: Truth
    number: int
    measured: dict[tuple[str, float], dict[int, float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        widest = decades(LOW, HIGH)
        random = np.random.default_rng([7, self.number])
        self.shift = (
            float(random.uniform(-0.4, 0.4) * widest) + widest / 2 - CROSSING if self.truth.anywhere else 0.0
        )
        self.curve, self.spread = (
            self.truth.drawn(random) if self.truth.drawn else (self.truth.curve, self.truth.spread)
        )

    def difference(self, place: float) -> float:
        """The true mean of first − second, in points, of runs that do not collapse."""
        return self.curve(decades(LOW, place) - self.shift)

    def __call__(self, trial: Wanted) -> float:
        """The accuracy that a trial ends with."""
        at = decades(LOW, trial.place)
        place, first = round(trial.place * 1e12), trial.arm == "first"
        own = self._noise(self.number, trial.seed, first, place)
        of_seed = self._noise(self.number, trial.seed, first) if self.truth.shared else 0.0
        noise = math.sqrt(1 - self.truth.shared) * own + math.sqrt(self.truth.shared) * of_seed
        points = self.spread(at - self.shift) / math.sqrt(2) * noise + first * self.difference(trial.place)
        fate = np.random.default_rng([9, self.number, trial.seed, place])
        if first and self.truth.collapse and fate.random() < self.truth.collapse:
            points -= 30
        return 0.6 + points / 100

    def _noise(self, *key: int) -> float:
        random = np.random.default_rng(key)
        return float(random.standard_t(3) / math.sqrt(3) if self.truth.heavy else random.standard_normal())


BRACKETED = (
    Truth("steep, sd .3", step(6), constant(0.3), known="48, .47"),
    Truth("steep, sd 1", step(6), constant(1), known="50, .37"),
    Truth("steep, sd 3", step(6), constant(3), known="75, .28"),
    Truth("early, sd 1", step(4, WIDTH * 4 / 3), constant(1), known="52, .38"),
    Truth("usual, sd 1", root(2), constant(1), known="71, .19"),
    Truth("usual, t3, sd 1", root(2), constant(1), heavy=True, known="65, .11"),
    Truth("usual, sd 3", root(2), constant(3), known="303, < .22"),
    Truth("usual, sd .5 to 3", root(2), swelling, known="241, < .18"),
    Truth("15 points a decade, sd .5", line(15), constant(0.5), known="97, .14"),
    Truth("15 points a decade, sd 1", line(15), constant(1), known="228, < .17"),
    Truth("above, below, above, sd .3", valley, constant(0.3), known="96, .26"),
)
OTHERS = (
    Truth("usual, anywhere, sd 1", root(2), constant(1), anywhere=True),
    Truth("usual, seeds shared, sd 1", root(2), constant(1), shared=0.6),
    Truth("random sigmoids, sd .3 to 3", constant(0), constant(1), shared=0.6, drawn=sigmoids),
    Truth("6 points a decade, sd 1", line(6), constant(1), known="374"),
    Truth("above everywhere, sd 1", constant(5), constant(1), known="50, .71"),
    Truth("touches 0, sd 1", lambda at: abs(8 * (at - 1)), constant(1), known="119"),
    Truth("below everywhere, sd 1", below, constant(1), known="247"),
    Truth("equal, sd 1", constant(0), constant(1), known="240"),
    Truth("equal, t3", constant(0), constant(1), heavy=True, known="240"),
    Truth("equal, seeds shared", constant(0), constant(1), shared=0.6),
)
COLLAPSING = (
    # Of all runs the means are equal.
    Truth("equal means, 1 in 5 collapses", constant(6), constant(1), collapse=0.2),
    Truth("equal means, 1 in 20 collapses", constant(1.5), constant(1), collapse=0.05),
    Truth("usual, 1 in 5 collapses", root(2), constant(1), collapse=0.2),
)
