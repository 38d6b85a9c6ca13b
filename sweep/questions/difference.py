"""By how much two arms differ at a sparsity, or which of them is better: as many seeds as it takes."""

import math
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.special import stdtrit

from sweep.questions.evidence import FEWEST, SIGNS, WIDTHS, half_width, moments
from sweep.questions.pairs import Pairs, chosen, missing, paired, runs
from sweep.questions.planner import (
    ACCURACY,
    ALPHA,
    Answer,
    Decision,
    Expected,
    Measure,
    Measured,
    Status,
    Wanted,
)
from sweep.questions.signs import Place, look
from sweep.questions.simulation import Draw, expected
from sweep.questions.words import ENDS, caveats, counted, joined, left_out, number

# With the rule to stop at the first narrow interval, one of level .05 from these many seeds on holds the
# mean less often than 95 %: a rule for .04 holds it.
_STOP_LEVEL, _STOP_FROM = 0.04, 8
# From so many workers on, several pairs are started at once.
_MANY, _AT_ONCE = 8, 4


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference first − second at one place.

    Attributes:
        first, second: labels of the arms.
        place: the sparsity.
        within: half the width of the interval, in the unit of the measure; None: the sign alone is asked for.
        cap: the most seeds.

    `Answer.numbers`: `mean`, `interval` [low, high] of 95 % or null, `always_valid`: whether the interval
    holds at every look, `sign`: 1, −1, or 0 if it is not certain; `seeds`: pairs that count; `arms`,
    `trials`.
    """

    first: str
    second: str
    place: float
    within: float | None = None
    cap: int = 200
    measure: Measure = ACCURACY

    def plan(
        self, measured: Measured, running: AbstractSet[Wanted], workers: int, budget: int | None = None
    ) -> Decision:
        """Which trials to run now, or the answer; see `Planner`."""
        place = self._look(measured)
        narrow = self._narrow(measured)
        found = narrow or place.pairs
        if narrow or (self.within is None and place.sign):
            return Decision((), self._answer("answered", found, place), self._progress(found))
        wanted = chosen(self._trials(measured, place, workers), running, workers, budget)
        if wanted or running:
            return Decision(wanted, None, self._progress(found))
        status: Status = "open" if place.capped else "spent"
        return Decision((), self._answer(status, found, place), self._progress(found))

    def expected(self, measured: Measured, workers: int, draws: int = 50) -> Expected:
        """How many more trials the question will take; see `Planner`.

        Without results a standard deviation of one to three times `within` is assumed, or if the sign is
        asked for, a mean of half to three standard deviations.
        """
        known = self._look(measured).pairs.differences
        basis = f"the results of {2 * len(known)} trials"
        if len(known) < 2 and self.within is not None:
            basis = "no results: a standard deviation of one to three times the width"
        elif len(known) < 2:
            basis = "no results: means of half to three standard deviations"
        truths = {}
        for count in range(draws):
            random = np.random.default_rng([2, count])
            mean, spread = self._drawn(random, known)
            truths[count] = self._truth(random, mean, spread), self._grid(mean, spread)
        return expected(self, measured, workers, truths, basis)

    def _look(self, measured: Measured) -> Place:
        return look(measured, (self.first, self.second), self.place, self.measure, ALPHA, self.cap)

    def _narrow(self, measured: Measured) -> Pairs | None:
        """The pairs at the first number of seeds at which the interval is as narrow as asked for."""
        first, second = (run[: self.cap] for run in runs(measured, (self.first, self.second), self.place))
        cut = (
            paired(first[:seeds], second[:seeds], self.measure) for seeds in range(_STOP_FROM, len(first) + 1)
        )
        return next((found for found in cut if self._is_narrow(found)), None)

    def _is_narrow(self, found: Pairs) -> bool:
        enough = len(found.differences) >= _STOP_FROM
        return self.within is not None and enough and self._half(found) <= self.within

    def _half(self, found: Pairs) -> float:
        """Half the width of Student's interval at the level of the rule to stop."""
        count = len(found.differences)
        _, spread = moments(found.differences, self.measure.grain)
        return _student(count, 1 - _STOP_LEVEL / 2) * spread / math.sqrt(count) if spread else math.inf

    def _trials(self, measured: Measured, place: Place, workers: int) -> Iterator[Wanted]:
        fewest = FEWEST if self.within is None else _STOP_FROM
        more = fewest - place.count
        if more <= 0:
            more = min(_AT_ONCE, self._missing(place)) if workers >= _MANY else 1
        start = place.pairs.seeds
        seeds = range(start, min(self.cap, start + more))
        return missing(measured, (self.first, self.second), self.place, seeds)

    def _missing(self, place: Place) -> int:
        if self.within is None:
            return max(1, place.missing)
        widths = self._half(place.pairs) / self.within
        return max(1, math.ceil(place.count * (widths**2 - 1))) if math.isfinite(widths) else _AT_ONCE

    def _interval(self, found: Pairs) -> tuple[float, float, bool]:
        """Mean and half the width of the interval, and whether it holds at every look.

        Where the sign was asked for, the interval is that of the evidence that decides the sign.
        """
        mean = fmean(found.differences) if found.differences else math.nan
        if self._is_narrow(found):
            return mean, self.within or 0.0, False
        tau = SIGNS if self.within is None else WIDTHS
        return mean, half_width(found.differences, ALPHA, tau, self.measure.grain), True

    def _progress(self, found: Pairs) -> str:
        mean, half, _ = self._interval(found)
        return f"{self.first} − {self.second} at {self.place:g}: {_text(mean, half, len(found.differences))}"

    def _answer(self, status: Status, found: Pairs, place: Place) -> Answer:
        mean, half, always = self._interval(found)
        # The sign from the first seed at which it was certain, or that of the interval.
        sign = place.sign if self.within is None else (mean > half) - (mean < -half)
        counts = {
            arm: (found.seeds, found.lost[side], found.collapsed[side])
            for side, arm in enumerate((self.first, self.second))
        }
        numbers = {
            "mean": mean if found.differences else None,
            "interval": [mean - half, mean + half] if math.isfinite(half) else None,
            "always_valid": always,
            "sign": sign,
            "seeds": len(found.differences),
            "arms": left_out(counts),
            "trials": 2 * found.seeds,
        }
        side = {1: "certainly above", -1: "certainly below", 0: "not told apart from"}[sign]
        sentence = (
            f"{self.first} is {side} {self.second} at {self.place:g}: "
            f"{_text(mean, half, len(found.differences))} (95 %{', all looks counted' if always else ''})."
        )
        return Answer(status, joined(ENDS[status], sentence, caveats(counts)), numbers)

    def _drawn(self, random: np.random.Generator, known: tuple[float, ...]) -> tuple[float, float]:
        """A mean and a standard deviation that the results may come from, or that are assumed."""
        if len(known) > 1:
            mean, spread = moments(known, self.measure.grain)
            spread *= math.sqrt((len(known) - 1) / random.chisquare(len(known) - 1))
            return float(random.normal(mean, spread / math.sqrt(len(known)))), spread
        if self.within is not None:
            return 0.0, self.within * float(random.uniform(1, 3))
        return math.exp(random.uniform(math.log(0.5), math.log(3))), 1.0

    def _truth(self, random: np.random.Generator, mean: float, spread: float) -> Draw[float]:
        def draw(trial: Wanted) -> float:
            return mean * (trial.arm == self.first) + spread / math.sqrt(2) * float(random.standard_normal())

        return draw

    def _grid(self, mean: float, spread: float) -> int | None:
        """Trials of a fixed number of seeds that would do if mean and standard deviation were known."""
        for seeds in range(3, self.cap + 1):
            bound = _student(seeds, 1 - ALPHA / 2) * spread / math.sqrt(seeds)
            # A sign is to be certain in 95 % of studies.
            spare = 1.645 * spread / math.sqrt(seeds)
            if bound <= self.within if self.within is not None else bound + spare <= abs(mean):
                return 2 * seeds
        return None


def _text(mean: float, half: float, seeds: int) -> str:
    if not math.isfinite(half):
        return f"{'nothing' if math.isnan(mean) else number(mean)} after {counted(seeds, 'pair')}"
    return f"{number(mean, half)} ± {number(half, half)} after {counted(seeds, 'pair')}"


def _student(count: int, quantile: float) -> float:
    return float(stdtrit(count - 1, quantile))
