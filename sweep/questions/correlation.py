"""How well a number before retraining predicts one after it: as many seeds of all arms as it takes."""

import math
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from sweep.questions.evidence import WIDTHS, quantile
from sweep.questions.pairs import chosen, missing, runs
from sweep.questions.planner import ALPHA, Answer, Decision, Expected, Results, Status, Wanted
from sweep.questions.simulation import Draw, expected
from sweep.questions.words import ENDS, Counts, caveats, counted, joined, left_out, number

# What Correlation is given of a trial: the number before retraining and the one after it.
Both = tuple[float, float]
Array = npt.NDArray[np.float64]
# The rule to stop of `Difference`; jackknifed standard errors need a few seeds more.
_STOP_LEVEL, _STOP_FROM = 0.04, 10
_MANY, _AT_ONCE = 8, 4


@dataclass(frozen=True)
class Tau:
    """Kendall's τ-b of the arms and the first so many seeds.

    Attributes:
        value: over all pairs of masks with different seeds; NaN if there is none.
        error: its standard error, by a jackknife over seeds; infinite if it is undefined.
    """

    value: float
    error: float
    seeds: int

    def half(self, level: float) -> float:
        """Half the width of Student's interval."""
        return float(stdtrit(self.seeds - 1, 1 - level / 2)) * self.error


@lru_cache(maxsize=1_000)
def taus(columns: tuple[tuple[Both | None, ...], ...]) -> tuple[Tau, ...]:
    """τ of the first 2, 3, … seeds, of arms with as many seeds each. A lost trial is in no pair."""
    both = np.array([[(math.nan, math.nan) if one is None else one for one in run] for run in columns])
    arms, seeds = both.shape[:2]
    signs = [_signs(both[:, :, which].T.ravel()) for which in (0, 1)]
    # Sums over the arms, for each two seeds: concordance, and pairs that are tied in neither number.
    product, first, second = (
        pairs.reshape(seeds, arms, seeds, arms).sum((1, 3))
        for pairs in (signs[0] * signs[1], np.abs(signs[0]), np.abs(signs[1]))
    )
    return tuple(_tau(product[:n, :n], first[:n, :n], second[:n, :n]) for n in range(2, seeds + 1))


def _signs(values: Array) -> Array:
    return np.nan_to_num(np.sign(values[:, None] - values))


def _tau(*sums: Array) -> Tau:
    """τ of these seeds, from sums over the arms of each two seeds."""
    count = len(sums[0])
    # Masks of the same seed are not independent.
    apart = [own * (1 - np.eye(count)) for own in sums]
    totals = [own.sum() for own in apart]
    without = [total - 2 * own.sum(1) for total, own in zip(totals, apart, strict=True)]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = totals[0] / np.sqrt(totals[1] * totals[2])
        left = without[0] / np.sqrt(without[1] * without[2])
    error = math.sqrt((count - 1) / count * float(((left - left.mean()) ** 2).sum()))
    return Tau(float(value), error if error > 1e-9 else math.inf, count)


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Kendall's τ of two numbers of a trial over the arms and all seeds, at one place.

    Attributes:
        arms: labels; τ is over these arms, each as often as any other.
        place: the sparsity.
        within: half the width of the interval.
        cap: the most seeds.

    `Answer.numbers`: `tau` and `interval` [low, high] of 95 %, or null; `always_valid`: whether the interval
    holds at every look, for many seeds; `seeds`, `arms`, `trials`.
    """

    arms: tuple[str, ...]
    place: float
    within: float
    cap: int = 200

    def plan(
        self, measured: Results[Both], running: AbstractSet[Wanted], workers: int, budget: int | None = None
    ) -> Decision:
        """Which trials to run now, or the answer; see `Planner`."""
        columns = self._columns(measured)
        found = taus(columns) if len(columns[0]) > 1 else ()
        narrow = next((tau for tau in found if self._is_narrow(tau)), None)
        tau = narrow or (found[-1] if found else Tau(math.nan, math.inf, len(columns[0])))
        progress = f"τ at {self.place:g}: {self._text(tau)}"
        if narrow:
            return Decision((), self._answer("answered", tau, columns), progress)
        wanted = chosen(self._trials(measured, tau, workers), running, workers, budget)
        if wanted or running:
            return Decision(wanted, None, progress)
        status: Status = "open" if len(columns[0]) >= self.cap else "spent"
        return Decision((), self._answer(status, tau, columns), progress)

    def expected(self, measured: Results[Both], workers: int, draws: int = 50) -> Expected:
        """How many more trials the question will take; see `Planner`.

        Trials are drawn from those that are there, by seeds; without any, with correlations up to 0.9 of
        normal numbers.
        """
        known = list(zip(*self._columns(measured), strict=True))
        enough = len(known) >= _STOP_FROM // 2
        basis = f"the results of {len(known) * len(self.arms)} trials"
        truths: dict[int, tuple[Draw[Both], int | None]] = {}
        for count in range(draws):
            random = np.random.default_rng([4, count])
            draw = self._again(random, known) if enough else self._assumed(random)
            truths[count] = draw, None
        return expected(self, measured, workers, truths, basis if enough else "no results: τ of −0.7 to 0.7")

    def _columns(self, measured: Results[Both]) -> tuple[tuple[Both | None, ...], ...]:
        return tuple(run[: self.cap] for run in runs(measured, self.arms, self.place))

    def _is_narrow(self, tau: Tau) -> bool:
        return tau.seeds >= _STOP_FROM and tau.half(_STOP_LEVEL) <= self.within

    def _trials(self, measured: Results[Both], tau: Tau, workers: int) -> Iterator[Wanted]:
        more = _STOP_FROM - tau.seeds
        if more <= 0:
            widths = tau.half(_STOP_LEVEL) / self.within
            lacking = math.ceil(tau.seeds * (widths**2 - 1)) if math.isfinite(widths) else _AT_ONCE
            more = max(1, min(_AT_ONCE, lacking)) if workers >= _MANY else 1
        return missing(measured, self.arms, self.place, range(tau.seeds, min(self.cap, tau.seeds + more)))

    def _interval(self, tau: Tau) -> tuple[float, bool]:
        """Half the width of the interval, and whether it holds at every look."""
        if self._is_narrow(tau):
            return self.within, False
        return (quantile(tau.seeds, ALPHA, WIDTHS) * tau.error if tau.seeds > 1 else math.inf), True

    def _text(self, tau: Tau) -> str:
        half, _ = self._interval(tau)
        seeds = counted(tau.seeds, "seed")
        if not math.isfinite(half):
            return f"nothing certain after {seeds}"
        low, high = max(-1.0, tau.value - half), min(1.0, tau.value + half)
        return f"{number(tau.value, half)} [{number(low, half)}, {number(high, half)}] after {seeds}"

    def _answer(self, status: Status, tau: Tau, columns: Sequence[tuple[Both | None, ...]]) -> Answer:
        half, always = self._interval(tau)
        counts: dict[str, Counts] = {
            arm: (len(run), run.count(None), 0) for arm, run in zip(self.arms, columns, strict=True)
        }
        numbers = {
            "tau": tau.value if math.isfinite(tau.value) else None,
            "interval": [max(-1.0, tau.value - half), min(1.0, tau.value + half)]
            if math.isfinite(half)
            else None,
            "always_valid": always,
            "seeds": tau.seeds,
            "arms": left_out(counts),
            "trials": len(self.arms) * tau.seeds,
        }
        over = f"{counted(len(self.arms), 'arm')} and their seeds"
        sentence = f"Kendall's τ at {self.place:g} over {over} is {self._text(tau)} (95 %)."
        return Answer(status, joined(ENDS[status], sentence, caveats(counts)), numbers)

    def _again(self, random: np.random.Generator, known: list[tuple[Both | None, ...]]) -> Draw[Both]:
        which: dict[int, int] = {}

        def draw(trial: Wanted) -> Both | None:
            seed = which.setdefault(trial.seed, int(random.integers(len(known))))
            return known[seed][self.arms.index(trial.arm)]

        return draw

    def _assumed(self, random: np.random.Generator) -> Draw[Both]:
        correlation = random.uniform(-0.9, 0.9)

        def draw(trial: Wanted) -> Both:
            one, other = random.standard_normal(2)
            return float(one), float(correlation * one + math.sqrt(1 - correlation**2) * other)

        return draw
