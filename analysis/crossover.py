"""Where does one criterion fall below another? Paired by seed, with intervals, corrected for many tests."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
from rich.table import Table

from analysis.labels import AFTER_DENSE, label, without
from analysis.output import draw
from analysis.statistics import Resampled, holm
from analysis.warehouse import ask
from sweep.means import LEVEL, Mean, mean_interval

# Points between two tested sparsities at which the interpolated difference is looked at.
_STEPS = 32


@dataclass(frozen=True)
class Difference:
    """One criterion's accuracy less another's at one sparsity.

    Attributes:
        mean: over the seeds, with its 95 % interval (pointwise).
        seeds: how many finished in both.
        p: of the mean being 0, corrected by Holm for all sparsities tested; NaN for a single seed.
    """

    sparsity: float
    mean: Mean
    seeds: int
    p: float

    @property
    def sign(self) -> int:
        """1 or −1 where the difference is certain after the correction, else 0."""
        return (1 if self.mean.value > 0 else -1) if self.p < 1 - LEVEL else 0


@dataclass(frozen=True)
class Crossing:
    """A sparsity where the sign of the difference changes.

    Attributes:
        at: interpolated linearly on log density between two tested sparsities.
        low, high: 95 % interval: the sparsities at which the interval of the interpolated difference contains
            0 (Fieller 1954). None where that reaches an end of what was tested.
        falls: from above to below.
    """

    at: float
    low: float | None
    high: float | None
    falls: bool

    def __str__(self) -> str:
        low = digits(self.low) if self.low is not None else "…"
        high = digits(self.high) if self.high is not None else "…"
        return f"{digits(self.at)} [{low}, {high}]"


@dataclass(frozen=True)
class Crossover:
    """One criterion against another in one setting.

    Attributes:
        differences: by rising sparsity.
        crossings: those that are certain: the sign is certain on both sides; or on one, with the means
        crossing
            on its other side.
    """

    first: str
    second: str
    differences: list[Difference]
    crossings: list[Crossing]

    @property
    def verdict(self) -> str:
        """`crossover`, `several`, `no crossover` or `undecided`."""
        if self.crossings:
            return "several" if len(self.crossings) > 1 else "crossover"
        return "no crossover" if all(d.sign for d in self.differences) else "undecided"

    @property
    def at(self) -> float | None:
        """Where the first's mean falls below the second's for the last time, if it does; certain or not."""
        certain = next((crossing.at for crossing in reversed(self.crossings) if crossing.falls), None)
        if certain is not None or self.crossings:
            return certain
        for one, other in reversed(list(pairwise(self.differences))):
            if one.mean.value > 0 > other.mean.value:
                return _zero(one, other)
        return None

    def __str__(self) -> str:
        name = self.first.replace("snip", "SNIP")
        turns = [
            f"{'falls below' if c.falls else 'rises above'} {self.second} at {c}" for c in self.crossings
        ]
        open_ = [d for d in self.differences if not d.sign]
        parts = []
        if turns:
            parts.append(f"{name} {' and '.join(turns)}")
        elif not open_:
            low, high = self.differences[0].sparsity, self.differences[-1].sparsity
            side = "above" if self.differences[0].sign > 0 else "below"
            where = f"from {low:g} to {high:g}" if low < high else f"at {low:g}"
            parts.append(f"{name} against {self.second}: no crossover: {side} {where}")
        else:
            parts.append(f"{name} against {self.second}: undecided")
        for sign, side in ((1, "above"), (-1, "below")):
            if open_ and (certain := [f"{d.sparsity:g}" for d in self.differences if d.sign == sign]):
                parts.append(f"certainly {side} at {', '.join(certain)}")
        if open_:
            parts += _open_at(self.differences)
        if open_ and all(d.seeds < 2 for d in open_):
            parts.append("one seed has no interval")
        elif not turns and self.at is not None:
            seeds = max(d.seeds for d in self.differences)
            parts.append(f"its mean falls below at {digits(self.at)}, which {seeds} seeds do not settle")
        return "; ".join(parts)


def cross(
    sparsities: Sequence[float], seeds: Sequence[Mapping[int, float]]
) -> tuple[list[Difference], list[Crossing]]:
    """Where paired differences change their sign.

    Args:
        sparsities: rising.
        seeds: for each sparsity, the difference of each seed.
    """
    tested = []
    for differences in seeds:
        values = np.array([[value] for _, value in sorted(differences.items())])
        tested.append(Resampled(values).at(0))
    corrected = holm([p for _, _, p in tested])
    found = [
        Difference(s, Mean(mean, None if math.isnan(half) else half), len(by_seed), p)
        for s, by_seed, (mean, half, _), p in zip(sparsities, seeds, tested, corrected, strict=True)
    ]
    certain = [index for index, difference in enumerate(found) if difference.sign]
    turns = [(a, b) for a, b in pairwise(certain) if found[a].sign != found[b].sign]
    # Where the two are alike at first, the means cross before the first certain difference, if they do.
    if certain and not turns and any(d.mean.value * found[certain[0]].sign < 0 for d in found[: certain[0]]):
        turns = [(0, certain[0])]
    crossings = []
    for a, b in turns:
        crossing = _crossing(sparsities, seeds, a, b)
        # The seeds that neighbours share may be too few to show it.
        shown = crossing and crossing.falls == (found[b].sign < 0)
        crossings.append(crossing if crossing and shown else _between(found, a, b))
    return found, crossings


def _crossing(
    sparsities: Sequence[float], seeds: Sequence[Mapping[int, float]], start: int, end: int
) -> Crossing | None:
    """The last place between two tested sparsities where the mean difference passes 0, and its interval."""
    logs = [math.log(1 - sparsity) for sparsity in sparsities]
    # On a fine grid: log density, mean, and by how much 0 is outside the interval (negative: it is inside).
    places: list[float] = []
    means: list[float] = []
    outside: list[float] = []
    for index in range(start, end):
        both = sorted(seeds[index].keys() & seeds[index + 1].keys())
        if not both:
            continue
        between = Resampled(np.array([[seeds[index][seed], seeds[index + 1][seed]] for seed in both]))
        for step in range(_STEPS + 1):
            mean, half, _ = between.at(0, step / _STEPS)
            places.append(logs[index] + step / _STEPS * (logs[index + 1] - logs[index]))
            means.append(mean)
            outside.append(abs(mean) - half if not math.isnan(half) else -math.inf)

    def zero(values: Sequence[float], i: int) -> float:
        """The sparsity where a line from point i to the next passes 0."""
        return _passes_zero(places[i : i + 2], values[i : i + 2])

    last = max((i for i in range(len(means) - 1) if (means[i] > 0) != (means[i + 1] > 0)), default=None)
    if last is None:
        return None
    at, falls = zero(means, last), means[last] > 0
    # There 0 is well inside the interval, however narrow that is beside a step of the grid.
    width = max(abs(means[i]) - outside[i] for i in (last, last + 1))
    places.insert(last + 1, math.log(1 - at))
    outside.insert(last + 1, -width)
    before = max((i for i in range(last + 1) if outside[i] > 0), default=None)
    after = min((i for i in range(last + 2, len(places)) if outside[i] > 0), default=None)
    return Crossing(
        at=at,
        low=None if before is None else zero(outside, before),
        high=None if after is None else zero(outside, after - 1),
        falls=falls,
    )


def _between(differences: Sequence[Difference], start: int, end: int) -> Crossing:
    """The same where no seed was tested on both sides: somewhere between two sparsities that are certain."""
    one, other = next(
        (one, other)
        for one, other in reversed(list(pairwise(differences[start : end + 1])))
        if (one.mean.value > 0) != (other.mean.value > 0)
    )
    return Crossing(
        at=_zero(one, other),
        low=one.sparsity if differences[start].sign else None,
        high=differences[end].sparsity,
        falls=one.mean.value > 0,
    )


def _zero(one: Difference, other: Difference) -> float:
    """Where the mean passes 0 between two sparsities."""
    both = (one, other)
    return _passes_zero([math.log(1 - d.sparsity) for d in both], [d.mean.value for d in both])


def _passes_zero(logs: Sequence[float], values: Sequence[float]) -> float:
    """The sparsity where the line between two values, over their log densities, passes 0."""
    one, other = values
    share = one / (one - other) if math.isfinite(one - other) and one != other else 0.5
    return 1 - math.exp(logs[0] + share * (logs[1] - logs[0]))


def _open_at(differences: Sequence[Difference]) -> list[str]:
    """Where nothing is certain: because the difference's interval has 0 in it, or after the correction."""
    alone = [d.mean.half_width is not None and abs(d.mean.value) > d.mean.half_width for d in differences]
    overlap = _stretches(differences, [not d.sign and not a for d, a in zip(differences, alone, strict=True)])
    corrected = _stretches(differences, [not d.sign and a for d, a in zip(differences, alone, strict=True)])
    return [
        *([f"intervals overlap {overlap}"] if overlap else []),
        *([f"not certain after Holm's correction {corrected}"] if corrected else []),
    ]


def _stretches(differences: Sequence[Difference], chosen: Sequence[bool]) -> str:
    """Those sparsities: `from 0.8 to 0.95 and at 0.99`."""
    runs: list[list[float]] = []
    for index, difference in enumerate(differences):
        if chosen[index]:
            if not runs or not chosen[index - 1]:
                runs.append([])
            runs[-1].append(difference.sparsity)
    return " and ".join(
        f"from {run[0]:g} to {run[-1]:g}" if len(run) > 1 else f"at {run[0]:g}" for run in runs
    )


def digits(sparsity: float) -> str:
    """A sparsity with as many digits as its density has meaning."""
    return f"{sparsity:.{max(3, math.ceil(-math.log10(1 - sparsity)) + 1)}f}"


@dataclass
class Comparison:
    """One setting: the accuracy of every arm at every sparsity, and the crossovers."""

    setting: str
    means: dict[str, dict[float, Mean]] = field(default_factory=dict)
    crossovers: list[Crossover] = field(default_factory=list)

    @property
    def sparsities(self) -> list[float]:
        """All sparsities that were tested, rising."""
        return sorted({sparsity for row in self.means.values() for sparsity in row})


def compare(
    connection: duckdb.DuckDBPyConnection, first: str = "snip", second: str = "random"
) -> list[Comparison]:
    """Comparisons of all settings with finished trials; test accuracy of the last epoch.

    Args:
        first, second: what is compared in each: a criterion, or `criterion:scope`.
    """
    answers = ask(connection, "accuracy")
    labels = label(row["arm"] for row in answers)
    found = {name: Comparison(name) for name in sorted({known.setting for known in labels.values()})}
    rests = {arm: without(arm, AFTER_DENSE) for arm in labels}
    for row in answers:
        arm, known = row["arm"], labels[row["arm"]]
        places = {known.setting}
        if known.dense:  # the dense network is the same whenever and however the others are pruned
            pruned = {
                labels[a].setting for a, rest in rests.items() if rest == rests[arm] and not labels[a].dense
            }
            places = pruned or places
        for place in places:
            means = found[place].means.setdefault(known.name, {})
            means[row["sparsity"]] = mean_interval(row["mean"], row["deviation"], row["trials"], row["lost"])
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in ask(connection, "crossover", {"first": first, "second": second}):
        pairs[row["first"], row["second"]].append(row)
    for (one, other), rows in pairs.items():
        differences, crossings = cross(
            [row["sparsity"] for row in rows],
            [dict(zip(row["seeds"], row["differences"], strict=True)) for row in rows],
        )
        crossover = Crossover(labels[one].name, labels[other].name, differences, crossings)
        found[labels[one].setting].crossovers.append(crossover)
    return [comparison for comparison in found.values() if comparison.means]


def rows(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """One row a setting, pair and sparsity: for files."""
    return [
        {
            "setting": comparison.setting,
            "first": crossover.first,
            "second": crossover.second,
            "sparsity": d.sparsity,
            "seeds": d.seeds,
            "difference": d.mean.value,
            "low": None if d.mean.half_width is None else d.mean.value - d.mean.half_width,
            "high": None if d.mean.half_width is None else d.mean.value + d.mean.half_width,
            "p_holm": None if math.isnan(d.p) else d.p,
            "verdict": crossover.verdict,
            "crossover": crossover.crossings[-1].at if crossover.crossings else None,
            "crossover_low": crossover.crossings[-1].low if crossover.crossings else None,
            "crossover_high": crossover.crossings[-1].high if crossover.crossings else None,
        }
        for comparison in comparisons
        for crossover in comparison.crossovers
        for d in crossover.differences
    ]


NOTE = (
    "Mean test accuracy in percent ± 95 % Student-t interval over seeds. Differences are paired by seed,\n"
    "their intervals bootstrapped over seeds (Student's below 8 seeds); certain is what holds at 5 % after\n"
    "Holm's correction for all sparsities tested. Crossovers are interpolated on log density [95 % interval]."
)


def text(comparison: Comparison) -> str:
    """A comparison for the terminal: a table of all means, and a sentence a pair."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("sparsity", no_wrap=True)
    for sparsity in comparison.sparsities:
        table.add_column(f"{sparsity:g}", justify="right", no_wrap=True)
    for name, means in comparison.means.items():
        cells = (means[s].percent if s in means else "" for s in comparison.sparsities)
        table.add_row(name, *cells)
    found = "".join(f"  {crossover}\n" for crossover in comparison.crossovers)
    return f"{comparison.setting}\n{draw(table)}{found}"
