"""Where does one criterion fall below another? Paired by seed, corrected over the whole answer."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import duckdb
from rich.table import Table
from rich.text import Text

from analysis.output import draw, fold
from analysis.questions.estimates import number
from analysis.questions.statistics import Paired, certain, chance_of, holm, paired, wilson
from analysis.warehouse import EACH, NO_PAIR, ask, baseline, running
from analysis.warehouse.arms import AFTER_DENSE, Label, label, without
from sweep.means import Mean, mean_interval


@dataclass(frozen=True)
class Difference:
    """One criterion's accuracy less another's at one sparsity.

    Attributes:
        found: over the seeds that both ran, with a pointwise 95 % interval.
        p: of the mean being 0, corrected by Holm for all tests of the answer; NaN where nothing was tested: a
            single seed, no run that finished in both, or a study that still runs.
    """

    sparsity: float
    found: Paired
    p: float

    @property
    def mean(self) -> Mean:
        """Over the seeds that finished in both."""
        return self.found.mean

    @property
    def sign(self) -> int:
        """1 or −1 where the difference is certain after the correction, else 0."""
        return (1 if self.mean.value > 0 else -1) if certain(self.p) else 0


@dataclass(frozen=True)
class Crossing:
    """The sign of the difference changes between two tested sparsities.

    Attributes:
        low, high: tested sparsities at which the sign is certain, one way and the other. Whatever the
            difference does in between, it passes 0 there at least once: the interval that needs no shape.
        at: where the straight line between the means passes 0, on log density: no more than a hint.
        next: the sparsity to run next, halfway on log density where the means change their order.
        falls: from above to below.
    """

    low: float
    high: float
    at: float
    next: float
    falls: bool

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Crossover:
    """One criterion against another in one setting.

    Attributes:
        differences: by rising sparsity.
        apart: of the first and the second, runs far from the median of their cell, and all that finished.
        unfinished: how far the study is, in words; "" if it is done. Before that nothing is certain.
    """

    first: str
    second: str
    differences: list[Difference]
    apart: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    unfinished: str = ""

    @property
    def crossings(self) -> list[Crossing]:
        """Between each two certain signs that follow each other and differ."""
        certain = [index for index, difference in enumerate(self.differences) if difference.sign]
        return [
            _crossing(self.differences[one : other + 1])
            for one, other in pairwise(certain)
            if self.differences[one].sign != self.differences[other].sign
        ]

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
        """Runs of the first and of the second that were lost, over all sparsities."""
        one, other = zip(*(d.found.lost for d in self.differences), strict=True)
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
                ("above", [d.sparsity for d in self.differences if d.mean.value > 0]),
                ("below", [d.sparsity for d in self.differences if d.mean.value < 0]),
            )
            if at
        ]
        known = ", ".join(sides) or "no seed finished in both"
        return f"provisional, {self.unfinished}: nothing is certain before all have a result; so far {known}"

    def _crossed(self) -> str:
        signs = [d for d in self.differences if d.sign]
        ends = [signs[0]] + [other for one, other in pairwise(signs) if one.sign != other.sign]
        sides = {1: "above", -1: "below"}
        parts = []
        for crossing, start, end in zip(self.crossings, ends, ends[1:], strict=False):
            parts.append(
                f"certainly {sides[start.sign]} at {crossing.low:g} and certainly {sides[end.sign]} at "
                f"{crossing.high:g}: they cross in between (the means at about {digits(crossing.at)}; "
                f"run {digits(crossing.next)} next)"
            )
        return "; ".join([*parts, *self._not_certain()])

    def _one_side(self) -> str:
        side = "above" if self.differences[0].sign > 0 else "below"
        tested = [d.sparsity for d in self.differences]
        if len(tested) == 1:
            return f"no crossover: certainly {side} at {tested[0]:g}, the one sparsity tested"
        where = f"all {len(tested)} sparsities tested ({tested[0]:g} to {tested[-1]:g})"
        return f"no crossover: certainly {side} at {where}"

    def _undecided(self) -> str:
        signs = [d.sign for d in self.differences]
        certain = [index for index, sign in enumerate(signs) if sign]
        if not certain:
            most = max(d.found.seeds for d in self.differences)
            few = {0: "no seed finished in both", 1: "one seed has no interval"}
            why = few.get(most, "no difference is certain")
            return f"undecided: {why} at {_listed([d.sparsity for d in self.differences])}"
        side = "above" if signs[certain[0]] > 0 else "below"
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
        with_them = " (what is certain is so with them at chance too)" if certain else ""
        return [f"lost runs: {' and '.join(lost)}{with_them}"] if lost else []

    def _two_kinds(self) -> list[str]:
        apart = [
            f"{far} of {runs} of {name} [{wilson(far, runs)[0]:.0%}, {wilson(far, runs)[1]:.0%}]"
            for (far, runs), name in zip(self.apart, (self.first, self.second), strict=True)
            if far
        ]
        words = "which Student's t does not cover: more seeds, or medians, tell"
        return [f"runs far from the median of their cell: {' and '.join(apart)}, {words}"] if apart else []


def _crossing(differences: Sequence[Difference]) -> Crossing:
    """Between the first and the last of these, whose signs are certain."""
    one, other = next(
        (one, other)
        for one, other in reversed(list(pairwise([d for d in differences if not math.isnan(d.mean.value)])))
        if (one.mean.value > 0) != (other.mean.value > 0)
    )
    share = one.mean.value / (one.mean.value - other.mean.value)

    def between(share: float) -> float:
        logs = math.log(1 - one.sparsity), math.log(1 - other.sparsity)
        return 1 - math.exp(logs[0] + share * (logs[1] - logs[0]))

    return Crossing(
        low=differences[0].sparsity,
        high=differences[-1].sparsity,
        at=between(share),
        next=between(0.5),
        falls=differences[0].sign > 0,
    )


def decide(
    pairs: Sequence[tuple[Sequence[float], Sequence[Paired], bool]],
) -> list[list[Difference]]:
    """Which differences of an answer are certain: Holm's correction goes over all that it tests.

    Args:
        pairs: for each pair of arms its sparsities, rising, what was found at each, and whether it is tested:
            not of a study that still runs.
    """
    plain = [one.p if tested else math.nan for _, found, tested in pairs for one in found]
    corrected = iter(holm(plain))
    return [
        [Difference(s, one, next(corrected)) for s, one in zip(sparsities, found, strict=True)]
        for sparsities, found, _ in pairs
    ]


def _listed(sparsities: Sequence[float]) -> str:
    return ", ".join(f"{sparsity:g}" for sparsity in sparsities)


def digits(sparsity: float) -> str:
    """A sparsity with as many digits as its density has meaning."""
    return f"{sparsity:.{max(3, math.ceil(-math.log10(1 - sparsity)) + 1)}f}"


@dataclass
class Comparison:
    """One setting: the accuracy of every arm at every sparsity, and the crossovers.

    Attributes:
        second: what each criterion is compared with, as it was asked for.
        apart: runs of an arm at a sparsity that lie far from the median of all.
    """

    setting: str
    second: str
    means: dict[str, dict[float, Mean]] = field(default_factory=dict)
    crossovers: list[Crossover] = field(default_factory=list)
    apart: dict[str, dict[float, int]] = field(default_factory=dict)

    @property
    def sparsities(self) -> list[float]:
        """All sparsities that were tested, rising."""
        return sorted({sparsity for row in self.means.values() for sparsity in row})

    @property
    def table(self) -> dict[str, list[str]]:
        """The means of each arm in percent, by rising sparsity; `*` marks runs far from the median."""
        return {
            name: [
                means[s].percent + ("*" if self.apart.get(name, {}).get(s) else "") if s in means else ""
                for s in self.sparsities
            ]
            for name, means in self.means.items()
        }


def compare(
    connection: duckdb.DuckDBPyConnection, first: str = EACH, second: str | None = None
) -> list[Comparison]:
    """Comparisons of all settings with finished trials; test accuracy of the last epoch.

    Args:
        first, second: what is compared in each: a criterion, or `criterion:scope`. By default every criterion
            with the baseline. "" as the second: nothing is compared.
    """
    if second is None:
        second = baseline(connection, first) or ""
    answers = ask(connection, "accuracy")
    labels = label(row["arm"] for row in answers)
    settings = sorted({known.setting for known in labels.values()})
    found = {name: Comparison(name, second) for name in settings}
    rests = {arm: without(arm, AFTER_DENSE) for arm in labels}
    apart: dict[str, dict[float, tuple[int, int]]] = defaultdict(dict)
    for row in answers:
        arm, known = row["arm"], labels[row["arm"]]
        apart[arm][row["sparsity"]] = row["apart"], row["trials"]
        places = {known.setting}
        if known.dense:  # the dense network is the same whenever and however the others are pruned
            pruned = {
                labels[a].setting for a, rest in rests.items() if rest == rests[arm] and not labels[a].dense
            }
            places = pruned or places
        for place in places:
            means = found[place].means.setdefault(known.name, {})
            means[row["sparsity"]] = mean_interval(row["mean"], row["deviation"], row["trials"], row["lost"])
            found[place].apart.setdefault(known.name, {})[row["sparsity"]] = row["apart"]
    if second:
        _compare_pairs(connection, first, second, labels, apart, found)
    return [comparison for comparison in found.values() if comparison.means]


def _compare_pairs(
    connection: duckdb.DuckDBPyConnection,
    first: str,
    second: str,
    labels: Mapping[str, Label],
    apart: Mapping[str, Mapping[float, tuple[int, int]]],
    found: Mapping[str, Comparison],
) -> None:
    """Put the crossovers of all pairs into the comparisons of their settings."""
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in ask(connection, "crossover", {"first": first, "second": second}):
        pairs[row["first"], row["second"]].append(row)
    unfinished = running(connection)
    tested = [
        (
            [row["sparsity"] for row in rows],
            [_paired(row) for row in rows],
            not (unfinished.get(one) or unfinished.get(other)),
        )
        for (one, other), rows in pairs.items()
    ]
    for ((one, other), rows), differences in zip(pairs.items(), decide(tested), strict=True):
        sparsities = [row["sparsity"] for row in rows]
        far = [
            (sum(apart[arm][s][0] for s in sparsities), sum(apart[arm][s][1] for s in sparsities))
            for arm in (one, other)
        ]
        found[labels[one].setting].crossovers.append(
            Crossover(
                labels[one].name,
                labels[other].name,
                differences,
                (far[0], far[1]),
                unfinished.get(one) or unfinished.get(other) or "",
            )
        )


def _paired(row: Mapping[str, Any]) -> Paired:
    lost = [(pair["first"], pair["second"]) for pair in row["lost"] or ()]
    return paired(row["differences"] or [], lost, chance_of(row["first"]) if lost else 0.0)


def rows(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """One row a setting, pair and sparsity: for files."""
    return [
        {
            "setting": comparison.setting,
            "first": crossover.first,
            "second": crossover.second,
            "sparsity": d.sparsity,
            "seeds": d.found.seeds,
            "first_lost": d.found.lost[0],
            "second_lost": d.found.lost[1],
            "difference": number(d.mean.value),
            "low": d.mean.low,
            "high": d.mean.high,
            "difference_lost_at_chance": number((d.found.bound or d.mean).value),
            "p_holm": number(d.p),
            "verdict": crossover.verdict,
            "crossover": crossings[-1].at if crossings else None,
            "crossover_low": crossings[-1].low if crossings else None,
            "crossover_high": crossings[-1].high if crossings else None,
            "next_sparsity": crossings[-1].next if crossings else None,
        }
        for comparison in comparisons
        for crossover in comparison.crossovers
        for crossings in [crossover.crossings]
        for d in crossover.differences
    ]


MEANS = (
    "Mean test accuracy in percent ± 95 % Student-t interval over seeds, cut to 0 to 100. (equal): all "
    "seeds ended alike, which is no interval. *: runs far from the cell's median, so that the mean is of "
    "two kinds of runs. There is one test set: its own sampling is in no interval."
)


def note(comparisons: Sequence[Comparison]) -> str:
    """What the intervals are over, and what certain means here: under every answer."""
    pairs = [crossover for comparison in comparisons for crossover in comparison.crossovers]
    tests = sum(not math.isnan(d.p) for crossover in pairs for d in crossover.differences)
    if not pairs:
        return f"{MEANS} {NO_PAIR}"
    if not tests:
        return (
            f"{MEANS} No difference is tested: that takes two seeds that finished in both, and a study "
            "that has ended."
        )
    return (
        f"{MEANS} Differences are paired by seed (Student's t). Certain is what holds at 5 % after Holm's "
        f"correction over all tests of this answer: {tests:,} (pairs: {len(pairs):,}). A crossing lies "
        "between two tested sparsities with certain signs, whatever the curves do in between."
    )


def text(comparison: Comparison) -> str:
    """A comparison for the terminal: a table of all means, and a sentence a pair."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("sparsity", no_wrap=True)
    for sparsity in comparison.sparsities:
        table.add_column(f"{sparsity:g}", justify="right", no_wrap=True)
    for name, cells in comparison.table.items():
        table.add_row(*(Text(cell) for cell in (name, *cells)))
    found = "".join(f"{fold(f'  {crossover}', '    ')}\n" for crossover in comparison.crossovers)
    return f"{comparison.setting}\n{draw(table)}{found}"
