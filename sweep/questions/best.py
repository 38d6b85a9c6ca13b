"""Which of several arms is the best: a race in which what is certainly worse gets no more seeds."""

import math
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.special import stdtrit

from sweep.questions.evidence import FEWEST
from sweep.questions.pairs import Runs, chosen, collapses, missing, runs
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
from sweep.questions.race import Race, ran
from sweep.questions.simulation import Draw, expected, pooled
from sweep.questions.words import ENDS, Counts, added, caveats, counted, joined, left_out, number

# From so many workers on, so many seeds of the remaining arms are started at once.
_MANY, _AT_ONCE = 8, 4
# Seeds beyond which no grid is given.
_MOST = 200


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best of several arms at each place.

    Attributes:
        arms: labels, at least two.
        places: sparsities; a race at each.
        within: how much better than the leader another one may be that remains, in the unit of the measure.
        cap: the most seeds at a place.

    `Answer.numbers`: `best`: {sparsity: labels that remain, the leader first}; `behind`: {sparsity: {label:
    [low, high] of how far it is behind the leader, or null}}; `arms`: {label: its runs, those lost and
    collapsed}; `trials`.
    """

    arms: tuple[str, ...]
    places: tuple[float, ...]
    within: float
    cap: int = 100
    measure: Measure = ACCURACY

    def plan(
        self, measured: Measured, running: AbstractSet[Wanted], workers: int, budget: int | None = None
    ) -> Decision:
        """Which trials to run now, or the answer; see `Planner`."""
        races = self._races(measured)
        progress = "; ".join(self._progress(place, race) for place, race in races.items())
        if all(race.over for race in races.values()):
            return Decision((), self._answer("answered", races, measured), progress)
        wanted = chosen(self._trials(measured, races, workers), running, workers, budget)
        if wanted or running:
            return Decision(wanted, None, progress)
        more = next(self._trials(measured, races, workers), None)
        return Decision((), self._answer("spent" if more else "open", races, measured), progress)

    def expected(self, measured: Measured, workers: int, draws: int = 50) -> Expected:
        """How many more trials the question will take; see `Planner`.

        Without results, the arms are assumed to be spread over up to five standard deviations, and these to
        be half to twice `within`.
        """
        pilot = {place: self._columns(measured, place) for place in self.places}
        known = all(sum(value is not None for value in run) > 1 for own in pilot.values() for run in own)
        trials = sum(len(run) for own in pilot.values() for run in own)
        basis = f"the results of {trials} trials" if known else "no results: arms up to five deviations apart"
        truths = {}
        for count in range(draws):
            random = np.random.default_rng([3, count])
            means, spread = self._estimated(random, pilot) if known else self._assumed(random)
            truths[count] = self._truth(random, means, spread), self._grid(means, spread)
        return expected(self, measured, workers, truths, basis)

    def _columns(self, measured: Measured, place: float) -> tuple[Runs, ...]:
        """The unbroken run of each arm by itself: those that drop out have fewer seeds."""
        return tuple(runs(measured, (arm,), place)[0][: self.cap] for arm in self.arms)

    def _races(self, measured: Measured) -> dict[float, Race]:
        level = ALPHA / len(self.places)
        return {
            place: ran(self._columns(measured, place), self.measure, level, self.within)
            for place in self.places
        }

    def _trials(self, measured: Measured, races: dict[float, Race], workers: int) -> Iterator[Wanted]:
        """The next seeds of all that remain, the places with the fewest first."""
        waiting = sorted(
            (race.seeds, place) for place, race in races.items() if not race.over and race.seeds < self.cap
        )
        at_once = _AT_ONCE if workers >= _MANY else 1
        for ahead in range(FEWEST):
            for seeds, place in waiting:
                seed = seeds + ahead
                # Nothing is decided before there are the fewest seeds.
                if ahead < at_once or seed < FEWEST:
                    arms = [self.arms[arm] for arm in sorted(races[place].remaining)]
                    yield from missing(measured, arms, place, range(seed, min(self.cap, seed + 1)))

    def _progress(self, place: float, race: Race) -> str:
        leader = self.arms[race.remaining[0]]
        if race.over:
            equal = len(race.remaining) - 1
            return f"{place:g}: {leader}" + (f" and {equal} within {self.within:g}" if equal else "")
        return (
            f"{place:g}: {len(race.remaining)} of {len(self.arms)} remain after {counted(race.seeds, 'seed')}"
        )

    def _answer(self, status: Status, races: dict[float, Race], measured: Measured) -> Answer:
        counts: dict[str, list[Counts]] = {arm: [] for arm in self.arms}
        for place in self.places:
            columns = self._columns(measured, place)
            fallen = collapses(columns, self.measure)
            for arm, run, falls in zip(self.arms, columns, fallen, strict=True):
                counts[arm].append((len(run), run.count(None), sum(falls)))
        totals = {arm: added(own) for arm, own in counts.items()}
        numbers = {
            "best": {place: [self.arms[arm] for arm in race.remaining] for place, race in races.items()},
            "behind": {place: self._behind(race) for place, race in races.items()},
            "arms": left_out(totals),
            "trials": sum(seeds for seeds, _, _ in totals.values()),
        }
        sentence = " ".join(self._sentence(place, race) for place, race in races.items())
        return Answer(status, joined(ENDS[status], sentence, caveats(totals)), numbers)

    def _behind(self, race: Race) -> dict[str, list[float] | None]:
        return {
            self.arms[arm]: list(ends) if math.isfinite(ends[0]) else None
            for arm, ends in race.behind.items()
        }

    def _sentence(self, place: float, race: Race) -> str:
        leader, *others = (self.arms[arm] for arm in race.remaining)
        seeds = counted(race.seeds, "seed")
        if not others:
            best = f"certainly the best of {len(self.arms)}"
            return f"At {place:g} {leader} is {best} (95 %, all looks counted; {seeds})."
        those = ", ".join(others)
        if race.over:
            rest = "; the others are certainly worse" if len(race.remaining) < len(self.arms) else ""
            return (
                f"At {place:g} {leader} leads, and none of {those} is better by more than {self.within:g} "
                f"(95 %, all looks counted; {seeds}){rest}."
            )
        worst = max((-low for low, _ in race.behind.values()), default=math.inf)
        bound = f" by up to {number(worst, worst)}" if math.isfinite(worst) else ""
        return f"At {place:g} {leader} leads after {seeds}, but {those} may be better{bound}."

    def _estimated(
        self, random: np.random.Generator, pilot: dict[float, tuple[Runs, ...]]
    ) -> tuple[dict[tuple[str, float], float], float]:
        """Means that the results may come from, and their standard deviation."""
        values = {
            (arm, place): [value for value in run if value is not None]
            for place, columns in pilot.items()
            for arm, run in zip(self.arms, columns, strict=True)
        }
        spread, freedom = pooled(list(values.values()))
        spread *= math.sqrt(freedom / random.chisquare(freedom))
        means = {
            cell: random.normal(fmean(own), spread / math.sqrt(len(own))) for cell, own in values.items()
        }
        return means, spread

    def _assumed(self, random: np.random.Generator) -> tuple[dict[tuple[str, float], float], float]:
        spread = self.within * float(random.uniform(0.5, 2))
        return {
            (arm, place): 0.5 - spread * float(random.uniform(0, 5))
            for arm in self.arms
            for place in self.places
        }, spread

    def _truth(
        self, random: np.random.Generator, means: dict[tuple[str, float], float], spread: float
    ) -> Draw[float]:
        def draw(trial: Wanted) -> float:
            return means[trial.arm, trial.place] + spread * float(random.standard_normal())

        return draw

    def _grid(self, means: dict[tuple[str, float], float], spread: float) -> int | None:
        """Trials of equal seeds after which each arm is certainly worse than the best or close."""
        gaps = []
        for place in self.places:
            *rivals, best = sorted(
                means[arm, place] * (1 if self.measure.higher else -1) for arm in self.arms
            )
            gaps += [max(best - rival, self.within - (best - rival)) for rival in rivals]
        level = 2 * ALPHA / (len(self.arms) - 1) / len(self.places)
        for seeds in range(3, _MOST):
            error = math.sqrt(2 / seeds) * spread
            if (float(stdtrit(seeds - 1, 1 - level / 2)) + 1.645) * error <= min(gaps):
                return seeds * len(self.arms) * len(self.places)
        return None
