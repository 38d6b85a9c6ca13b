"""Where one arm overtakes another: bisection on log density, with seeds where the sign is open."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from sweep.questions import crossover_answer, crossover_pilot
from sweep.questions.bisection import AHEAD, LEVEL, Bisection
from sweep.questions.evidence import FEWEST
from sweep.questions.pairs import chosen, missing
from sweep.questions.places import Width
from sweep.questions.planner import ACCURACY, Answer, Decision, Expected, Measure, Measured, Status, Wanted
from sweep.questions.signs import Place, look
from sweep.questions.simulation import expected

__all__ = ["Crossover", "Width"]

# The most pairs that are started at once at a place, with few and with many workers.
_AT_ONCE = 1, 4
# So many places that are slow get seeds at once.
_SLOW = 2


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """Where the first arm is overtaken by the second, or overtakes it.

    Attributes:
        first, second: labels of the arms.
        low, high: the range of sparsities; the two ends are tested.
        within: how narrow the bracket is to be.
        monotone: the difference is known to cross at most once: equal signs at both ends are then no
            crossover.
        cap: the most seeds at a place.

    `Answer.numbers`: `bracket` [low, high] of sparsities with certain, opposite signs, or null; `decades`:
    its width; `falls`: the first arm is above at the lower one; `certain`: {sparsity: 1 or −1}; `open`:
    {sparsity: pairs that are missing}; `arms`: {label: its runs, those lost and collapsed}; `trials`.
    """

    first: str
    second: str
    low: float
    high: float
    within: Width
    monotone: bool = False
    cap: int = 60
    measure: Measure = ACCURACY

    def plan(
        self, measured: Measured, running: AbstractSet[Wanted], workers: int, budget: int | None = None
    ) -> Decision:
        """Which trials to run now, or the answer; see `Planner`."""
        state = self.state(measured)
        progress = crossover_answer.progress(state, self.first)
        if state.narrow or state.uncrossed:
            return Decision(
                (), self._answer(state, measured, "answered" if state.narrow else "none"), progress
            )
        wanted = chosen(self._trials(measured, state, workers), running, workers, budget)
        if wanted or running:
            return Decision(wanted, None, progress)
        more = next(self._trials(measured, state, workers), None)
        return Decision((), self._answer(state, measured, "spent" if more else "open"), progress)

    def expected(self, measured: Measured, workers: int, draws: int = 50) -> Expected:
        """How many more trials the question will take; see `Planner`."""
        truths, basis = crossover_pilot.draws(
            measured, (self.first, self.second), (self.low, self.high), self.within, draws
        )
        return expected(self, measured, workers, truths, basis)

    def state(self, measured: Measured) -> Bisection:
        """The places that count, and what is certain at each."""
        at = partial(self._look, measured)
        return Bisection.of(self.low, self.high, self.within, self.monotone, at)

    def _look(self, measured: Measured, sparsity: float) -> Place:
        return look(measured, (self.first, self.second), sparsity, self.measure, LEVEL, self.cap)

    def _trials(self, measured: Measured, state: Bisection, workers: int) -> Iterator[Wanted]:
        """All that is worth running, the most important first."""
        waiting = [place for place in state.places.values() if place.waiting and state.counts(place)]
        waiting.sort(key=lambda place: (place.count, place.sparsity))
        most = _AT_ONCE[workers >= AHEAD]
        new = [place for place in waiting if place.count < FEWEST]
        for place in new:
            yield from self._seeds(measured, place, FEWEST - place.count)
        quick = [place for place in waiting if place.count >= FEWEST and not place.slow]
        for more in range(1, most + 1):
            for place in quick:
                if more == 1 or more <= place.missing:
                    yield from self._seeds(measured, place, more)
        for sparsity in state.ahead(workers):
            place = self._look(measured, sparsity)
            if place.open and sparsity not in state.places:
                yield from self._seeds(measured, place, FEWEST - place.count)
        if not new and not quick:
            slow = sorted(waiting, key=lambda place: (place.hopeful, place.count, place.sparsity))[:_SLOW]
            for more in range(1, most + 1):
                for place in slow:
                    yield from self._seeds(measured, place, more)

    def _seeds(self, measured: Measured, place: Place, more: int) -> Iterator[Wanted]:
        start = place.pairs.seeds
        seeds = range(start, min(self.cap, start + more))
        return missing(measured, (self.first, self.second), place.sparsity, seeds)

    def _answer(self, state: Bisection, measured: Measured, status: Status) -> Answer:
        return crossover_answer.answer(state, status, (self.first, self.second), measured, self.measure)
