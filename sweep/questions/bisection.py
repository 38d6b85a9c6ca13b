"""A bisection of sparsities on log density: which places are open, and which are opened next.

Three places at most are open at once, each tested at a third of `ALPHA`. A place whose sign is certain
passes its level on to the place that is opened next, as in graphical procedures (Maurer & Bretz 2013,
'Multiple testing in group sequential trials using graphical approaches').
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from sweep.questions.evidence import FEWEST
from sweep.questions.places import Width, between, decades
from sweep.questions.planner import ALPHA
from sweep.questions.signs import Place

SLOTS = 3
LEVEL = ALPHA / SLOTS
# From so many workers on, places are measured before they are opened; from the second number on, on both
# sides.
AHEAD, _BOTH = 8, 48
# |t| from which the next place is likely on the side that the mean says.
_LEANS = 2.5
# A bracket up to this many times as wide as asked for is at its last halving.
_LAST = 2.02

Look = Callable[[float], Place]


@dataclass(frozen=True)
class Bisection:
    """A state of the bisection.

    Attributes:
        places: what counts, by sparsity, in rising order.
        within: how narrow the bracket is to be.
        monotone: equal signs at both ends are no crossover.
    """

    places: Mapping[float, Place]
    within: Width
    monotone: bool

    @classmethod
    def of(cls, low: float, high: float, within: Width, monotone: bool, look: Look) -> "Bisection":
        """The state that the results lead to, from the two ends on."""
        state = cls({end: look(end) for end in (low, high)}, within, monotone)
        while True:
            free = SLOTS - sum(place.open for place in state.places.values() if state.counts(place))
            new = [place for place in state.next() if place not in state.places][: max(0, free)]
            if not new:
                return state
            places = {**state.places, **{sparsity: look(sparsity) for sparsity in new}}
            state = cls(dict(sorted(places.items())), within, monotone)

    @cached_property
    def bracket(self) -> tuple[float, float] | None:
        """The narrowest pair of neighbouring certain places with opposite signs."""
        certain = [place for place in self.places.values() if place.sign]
        found = [
            (decades(one.sparsity, other.sparsity), one.sparsity, other.sparsity)
            for one, other in pairwise(certain)
            if one.sign != other.sign
        ]
        return min(found)[1:] if found else None

    @property
    def narrow(self) -> bool:
        """There is a bracket as narrow as was asked for."""
        return self.bracket is not None and self.within.holds(*self.bracket)

    @property
    def uncrossed(self) -> bool:
        """The sign is certainly the same at all places tested: five, or the two ends if monotone."""
        return self.bracket is None and not any(place.open for place in self.places.values())

    def counts(self, place: Place) -> bool:
        """More seeds at the place may help: once there is a bracket, only inside it."""
        return self.bracket is None or self.bracket[0] < place.sparsity < self.bracket[1]

    def next(self) -> tuple[float, ...]:
        """The places to open in this state; some may be open already."""
        if self.bracket:
            inside = self._inside()
            if self.narrow or not all(place.was_slow for place in inside):
                return ()
            return self._beside(self.bracket, inside) if inside else (between(*self.bracket),)
        low, *_, high = self.places
        ends = self.places[low], self.places[high]
        middle = between(low, high)
        if any(end.open and not end.was_slow for end in ends) or (
            self.monotone and all(e.sign for e in ends)
        ):
            return ()
        if middle not in self.places:
            return (middle,)
        if self.places[middle].open and not self.places[middle].was_slow:
            return ()
        return _quarters(low, high)

    def _inside(self) -> list[Place]:
        return [place for place in self.places.values() if self.counts(place)]

    def _beside(self, bracket: tuple[float, float], inside: list[Place]) -> tuple[float, ...]:
        """Places on both sides of slow ones. Two certain ones there narrow the bracket as well.

        At the last halving they are as far apart as asked for, around where a straight line through the means
        passes 0: so neither is nearer to the crossing than it has to be.
        """
        low, high = bracket
        widest, narrow = decades(low, high), self.within.in_decades(inside[0].sparsity)
        if widest > _LAST * narrow:
            return _quarters(low, high)
        if len(inside) > 1:
            return ()
        at, mean = decades(low, inside[0].sparsity), inside[0].judged.mean
        ends = self.places[low].judged.mean, self.places[high].judged.mean
        if mean * ends[0] > 0:
            crossing = at + (widest - at) * mean / (mean - ends[1])
        else:
            crossing = at * ends[0] / (ends[0] - mean)
        start = min(max(crossing - narrow / 2, 0), widest - narrow)
        return tuple(
            between(low, high, shift / widest)
            for shift in (start, start + narrow)
            # One that is next to an end is the end.
            if 0.1 * narrow < shift < widest - 0.1 * narrow
        )

    def ahead(self, workers: int) -> tuple[float, ...]:
        """Places that are likely to be opened next, for workers that would have nothing to do.

        They count only once they are opened.
        """
        if workers < AHEAD or self.narrow:
            return ()
        if self.bracket is None:
            low, *_, high = self.places
            return (between(low, high),)
        inside = self._inside()
        if len(inside) != 1:
            return ()
        [place] = inside
        left, right = _quarters(*self.bracket)
        last = self.within.holds(self.bracket[0], place.sparsity)
        leans = place.count >= FEWEST and abs(place.t) >= _LEANS
        if last or not leans:
            return (left, right) if workers >= _BOTH and not last else ()
        return (right,) if (place.t > 0) == (self.places[self.bracket[0]].sign > 0) else (left,)


def _quarters(low: float, high: float) -> tuple[float, float]:
    middle = between(low, high)
    return between(low, middle), between(middle, high)
