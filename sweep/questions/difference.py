"""By how much two arms differ at a sparsity, or which of them is better: as many seeds as it takes."""

import math
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

import numpy as np

from sweep.questions.evidence import FEWEST, WIDTHS, half_width, moments, quantile
from sweep.questions.pairs import Pairs, chosen, missing, paired, runs
from sweep.questions.planner import ALPHA, Answer, Decision, Expected, Measure, Measured, Wanted
from sweep.questions.signs import Place, look
from sweep.questions.simulation import Draw, expected
from sweep.questions.words import caveats, counted, joined, left_out, number

# With the rule to stop at the first narrow interval, one of level .05 from these many seeds on holds the mean less
# often than 95 %: a rule for .04 holds it.
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

    `Answer.numbers`: `mean`, `interval` [low, high] of 95 % or null, `always_valid`: whether the interval holds at
    every look, `sign`: 1, −1, or 0 if it is not certain; `seeds`: pairs that count; `arms`, `trials`.
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
        place = self._look(measured)
        narrow = self._narrow(measured) if self.within is not None else None
        found = narrow or place.pairs
        if narrow or (self.within is None and place.sign):
            return Decision((), self._answer("answered", found, place), self._progress(found, place))
        wanted = chosen(self._trials(measured, place, workers), running, workers, budget)
        if wanted or running:
            return Decision(wanted, None, self._progress(found, place))
        status = "open" if place.capped else "spent"
        return Decision((), self._answer(status, found, place), self._progress(found, place))

    def expected(self, measured: Measured, workers: int, draws: int = 50) -> Expected:
        """How many more trials the question will take; see `Planner`.

        Without results a standard deviation of one to three times `within` is assumed, or if the sign is asked for,
        a mean of half to three standard deviations.
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
        for seeds in range(_STOP_FROM, len(first) + 1):
            found = paired(first[:seeds], second[:seeds], self.measure)
            if len(found.differences) >= _STOP_FROM and self._half(found) <= (self.within or 0.0):
                return found
        return None

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
        return max(1, math.ceil(place.count * ((self._half(place.pairs) / self.within) ** 2 - 1)))

    def _interval(self, found: Pairs) -> tuple[float, float, float, bool]:
        """Mean and ends of the interval, and whether it holds at every look."""
        mean = fmean(found.differences) if found.differences else math.nan
        stopped = self.within is not None and len(found.differences) >= _STOP_FROM and self._half(found) <= self.within
        half = half_width(found.differences, ALPHA, WIDTHS, self.measure.grain)
        if stopped and self.within is not None:
            half = self.within
        return mean, mean - half, mean + half, not stopped

    def _progress(self, found: Pairs, place: Place) -> str:
        mean, low, high, _ = self._interval(found)
        if math.isnan(mean):
            return f"{self.first} − {self.second} at {self.place:g}: nothing finished yet"
        line = f"{self.first} − {self.second} at {self.place:g}: {number(mean, (high - low) / 2 or None)}"
        if math.isfinite(high):
            line += f" [{number(low, high - low)}, {number(high, high - low)}]"
        return f"{line} after {counted(len(found.differences), 'seed')}"

    def _answer(self, status: Status, found: Pairs, place: Place) -> Answer:
        mean, low, high, always = self._interval(found)
        sentence = self._sentence(status, found, place)
        counts = {
            arm: (found.seeds, found.lost[side], found.collapsed[side])
            for side, arm in enumerate((self.first, self.second))
        }
        finite = math.isfinite(high)
        numbers = {
            "mean": mean if found.differences else None,
            "interval": [low, high] if finite else None,
            "always_valid": always,
            "sign": place.sign,
            "seeds": len(found.differences),
            "arms": left_out(counts),
            "trials": 2 * found.seeds,
        }
        return Answer(status, joined(sentence, caveats(counts)), numbers)
