"""The verdict on one criterion against another, the sentence that explains it, and those of a setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from analysis.statistics.crossings import Crossing, Difference, crossings
from analysis.warehouse import ACCURACIES, Headline
from sweep.means import Mean, wilson


@dataclass(frozen=True)
class Crossover:
    """One criterion against another in one setting.

    Attributes:
        differences: by rising sparsity; above 0 where the first is better.
        apart: for the first and for the second, the number of runs far from the median of their arm and
            sparsity, and the number of finished runs.
        unfinished: how far an unfinished study is, in words; "" if it is done. Until then nothing is certain.
    """

    first: str
    second: str
    differences: list[Difference]
    apart: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    unfinished: str = ""
    headline: Headline = ACCURACIES

    @property
    def crossings(self) -> list[Crossing]:
        """Between each two consecutive certain signs that differ."""
        return crossings(self.differences)

    @property
    def verdict(self) -> str:
        """`provisional`, `crossover`, `several`, `no crossover` or `undecided`."""
        if self.unfinished:
            return "provisional"
        if found := len(self.crossings):
            return "several" if found > 1 else "crossover"
        return "no crossover" if all(d.sign for d in self.differences) else "undecided"

    @property
    def lost(self) -> tuple[int, int]:
        """Numbers of lost runs of the first and of the second, over all sparsities."""
        one, other = zip(*(d.paired.lost for d in self.differences), strict=True)
        return sum(one), sum(other)

    def __str__(self) -> str:
        pair = f"{self.first} against {self.second}"
        said = {
            "provisional": self._so_far,
            "crossover": self._crossed,
            "several": self._crossed,
            "no crossover": self._one_side,
            "undecided": self._undecided,
        }[self.verdict]()
        return "; ".join([f"{pair}: {said}", *self._lost_runs(), *self._two_kinds()])

    def _so_far(self) -> str:
        sides = [
            f"mean {side} at {_listed(at)}"
            for side, at in (
                (self.headline.sides[1], [d.sparsity for d in self.differences if d.mean.value > 0]),
                (self.headline.sides[-1], [d.sparsity for d in self.differences if d.mean.value < 0]),
            )
            if at
        ]
        known = ", ".join(sides) or "no seed finished in both"
        return f"provisional, {self.unfinished}: nothing is certain before all have a result; so far {known}"

    def _crossed(self) -> str:
        signs = [d for d in self.differences if d.sign]
        ends = [signs[0]] + [other for one, other in pairwise(signs) if one.sign != other.sign]
        sides = self.headline.sides
        parts = []
        for crossing, start, end in zip(self.crossings, ends, ends[1:], strict=False):
            parts.append(
                f"certainly {sides[start.sign]} at {crossing.low:g} and certainly {sides[end.sign]} at "
                f"{crossing.high:g}: they cross in between (the means at about {digits(crossing.at)}; "
                f"run {digits(crossing.next)} next)"
            )
        return "; ".join([*parts, *self._not_certain()])

    def _one_side(self) -> str:
        side = self.headline.sides[self.differences[0].sign]
        tested = [d.sparsity for d in self.differences]
        if len(tested) == 1:
            return f"no crossover: certainly {side} at {tested[0]:g}, the one sparsity tested"
        where = f"all {len(tested)} sparsities tested ({tested[0]:g} to {tested[-1]:g})"
        return f"no crossover: certainly {side} at {where}"

    def _undecided(self) -> str:
        signs = [d.sign for d in self.differences]
        certain = [index for index, sign in enumerate(signs) if sign]
        if not certain:
            most = max(d.paired.seeds for d in self.differences)
            few = {0: "no seed finished in both", 1: "one seed has no interval"}
            why = few.get(most, "no difference is certain")
            return f"undecided: {why} at {_listed([d.sparsity for d in self.differences])}"
        side = self.headline.sides[signs[certain[0]]]
        if certain == list(range(certain[0], len(signs))):
            start, before = self.differences[certain[0]], self.differences[certain[0] - 1]
            said = f"certainly {side} from {start.sparsity:g} on; where that begins is open: more seeds at "
            return "; ".join([f"undecided: {said}{before.sparsity:g} come next", *self._not_certain()])
        if certain == list(range(len(certain))):
            last, after = self.differences[certain[-1]], self.differences[certain[-1] + 1]
            said = f"certainly {side} up to {last.sparsity:g}; where that ends is open: more seeds at "
            return "; ".join([f"undecided: {said}{after.sparsity:g} come next", *self._not_certain()])
        at = _listed([self.differences[index].sparsity for index in certain])
        return "; ".join([f"undecided: certainly {side} at {at}", *self._not_certain()])

    def _not_certain(self) -> list[str]:
        open_ = [d.sparsity for d in self.differences if not d.sign]
        return [f"not certain at {_listed(open_)}"] if open_ else []

    def _lost_runs(self) -> list[str]:
        lost = [
            f"{count} of {name}"
            for count, name in zip(self.lost, (self.first, self.second), strict=True)
            if count
        ]
        certain = any(d.sign for d in self.differences)
        with_them = f" (what is certain is so with them {self.headline.guess} too)" if certain else ""
        return [f"lost runs: {' and '.join(lost)}{with_them}"] if lost else []

    def _two_kinds(self) -> list[str]:
        apart = [
            f"{far} of {runs} runs of {name} [{wilson(far, runs)[0]:.0%}, {wilson(far, runs)[1]:.0%}]"
            for (far, runs), name in zip(self.apart, (self.first, self.second), strict=True)
            if far
        ]
        words = "Student's t does not cover such runs: take more seeds, or compare medians"
        return [f"far from the median of their seeds: {' and '.join(apart)}; {words}"] if apart else []


@dataclass
class Comparison:
    """One setting: the accuracy of every arm at every sparsity, and the crossovers.

    Attributes:
        second: the criterion, or criterion:scope, that the others are compared with; "" for none.
        means: by name of the arm and sparsity.
        apart: numbers of runs far from the median of their arm and sparsity.
        headline: the metric, in whose own unit the means are.
    """

    setting: str
    second: str
    means: dict[str, dict[float, Mean]] = field(default_factory=dict)
    crossovers: list[Crossover] = field(default_factory=list)
    apart: dict[str, dict[float, int]] = field(default_factory=dict)
    headline: Headline = ACCURACIES

    @property
    def sparsities(self) -> list[float]:
        """All tested sparsities, rising."""
        return sorted({sparsity for row in self.means.values() for sparsity in row})

    @property
    def table(self) -> dict[str, list[str]]:
        """The means of each arm, by rising sparsity. `*`: runs far from the median."""
        return {
            name: [
                means[s].short + ("*" if self.apart.get(name, {}).get(s) else "") if s in means else ""
                for s in self.sparsities
            ]
            for name, means in self.means.items()
        }


def _listed(sparsities: Sequence[float]) -> str:
    return ", ".join(f"{sparsity:g}" for sparsity in sparsities)


def digits(sparsity: float) -> str:
    """A sparsity with as many digits as its density needs."""
    return f"{sparsity:.{max(3, math.ceil(-math.log10(1 - sparsity)) + 1)}f}"
