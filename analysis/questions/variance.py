"""How much of the variance of test accuracy comes from initialization, data order, masks and split?"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np

from analysis.questions.question import Question
from analysis.statistics.differences import Array
from analysis.statistics.estimates import Estimate, columns
from analysis.warehouse import ACCURACIES, Headline, ask, headline
from analysis.warehouse.arms import label
from sweep.errors import BadInput
from sweep.means import LEVEL, ROUNDING

# Fewer runs say too little of their kurtosis: the interval is then that of normal accuracies.
_KURTOSIS = 5


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The spread of one arm at one sparsity. Sources are initialization, data order, masks and split.

    Attributes:
        moved: sources that each seed draws anew.
        held: sources that are the same for all seeds, as field=value.
        runs, lost: numbers of finished trials, and of trials without an accuracy.
        deviation: standard deviation of the test accuracy over seeds; None for a single run.
        reference: the sources that move in the reference: the arm that moves most sources of all arms which
            hold fewer of the same. None if there is no such arm.
        ratio: the variance of this arm over that of the reference.
    """

    setting: str
    way: str
    sparsity: float
    moved: tuple[str, ...]
    held: tuple[str, ...]
    runs: int
    lost: int
    deviation: Estimate | None
    reference: tuple[str, ...] | None
    ratio: Estimate | None
    headline: Headline = ACCURACIES


def spreads(connection: duckdb.DuckDBPyConnection) -> list[Spread]:
    """The spread of all arms, among arms that differ only in the sources that they hold.

    Raises:
        BadInput: no trial holds a source.
    """
    measured = headline(connection)
    answers = ask(connection, "variance")
    if not answers:
        raise BadInput(
            "no trial holds its initialization, data order, masks or split while its seed moves: run a study "
            "with blocks like 'order_seed: 0, mask_seed: 0' (initialization alone) beside one without, seed: "
            "0..9"
        )
    labels = label(row["rest"] for row in answers)
    alike: dict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    for row in answers:
        alike[row["rest"], row["sparsity"]].append(row)
    results = []
    for (rest, sparsity), among in alike.items():
        deviations = {row["arm"]: _deviation(row) for row in among}
        for row in among:
            reference, deviation = _reference(row, among), deviations[row["arm"]]
            against = deviations[reference["arm"]] if reference else None
            results.append(
                Spread(
                    setting=labels[rest].setting,
                    way=labels[rest].name,
                    sparsity=sparsity,
                    moved=tuple(row["moved"]),
                    held=tuple(row["held"]),
                    runs=len(row["accuracies"]),
                    lost=row["lost"],
                    deviation=deviation,
                    reference=tuple(reference["moved"]) if reference else None,
                    ratio=ratio(deviation, against) if deviation and against else None,
                    headline=measured,
                )
            )
    return sorted(results, key=lambda one: (one.setting, one.way, one.sparsity, -len(one.moved), one.held))


def _deviation(row: dict[str, Any]) -> Estimate | None:
    values = np.array(row["accuracies"], dtype=float)
    return standard_deviation(values) if len(values) > 1 else None


def _reference(row: dict[str, Any], among: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The row that moves most sources, of those which hold fewer sources with the same values; or None."""
    wider = [other for other in among if set(other["held"]) < set(row["held"])]
    return max(wider, key=lambda other: len(other["moved"]), default=None)


def standard_deviation(values: Array) -> Estimate:
    """Standard deviation with Bonett's (2006) interval, which allows for tails by the sample's kurtosis.

    Below `_KURTOSIS` values it is the chi-square interval of normal values. Equal values have no interval.

    Args:
        values: at least two.
    """
    from scipy.special import chdtri, ndtri

    count, deviation = len(values), float(values.std(ddof=1))
    if deviation <= ROUNDING * max(1.0, abs(float(values.mean()))):
        return Estimate(0.0)
    if count < _KURTOSIS:
        ends = (chdtri(count - 1, (1 + sign * LEVEL) / 2) for sign in (-1, 1))
        low, high = (deviation * math.sqrt((count - 1) / float(end)) for end in ends)
        return Estimate(deviation, low, high)
    z = float(ndtri((1 + LEVEL) / 2))
    # Trimmed by 1 / (2 √(n − 4)). scipy.stats.trim_mean gives the same in a hundred times the time.
    cut = min(int(count / (2 * math.sqrt(count - 4))), (count - 1) // 2)
    centre = float(np.sort(values)[cut : count - cut].mean())
    kurtosis = (
        count * float(((values - centre) ** 4).sum()) / float(((values - values.mean()) ** 2).sum()) ** 2
    )
    scale = count / (count - z)
    error = scale * math.sqrt(max(0.0, kurtosis - (count - 3) / count) / (count - 1))
    low, high = (deviation * math.sqrt(scale * math.exp(sign * z * error)) for sign in (-1, 1))
    return Estimate(deviation, low, high)


def ratio(part: Estimate, whole: Estimate) -> Estimate | None:
    """The ratio of two variances, with an interval from those of the deviations (Zou & Donner 2008).

    The interval is computed on a log scale, as if the two shared no draw.

    Args:
        part, whole: standard deviations.

    Returns:
        None if the whole has no spread.
    """
    if not whole.value:
        return None
    value = (part.value / whole.value) ** 2
    if part.low is None or part.high is None or whole.low is None or whole.high is None:
        return Estimate(value)

    def reach(one: float, other: float) -> float:
        return 2 * math.hypot(math.log(one), math.log(other))

    down = reach(part.value / part.low, whole.high / whole.value)
    up = reach(part.high / part.value, whole.value / whole.low)
    return Estimate(value, value * math.exp(-down), value * math.exp(up))


def rows(results: Sequence[Spread]) -> list[dict[str, Any]]:
    """One row for each arm and sparsity, as numbers."""
    return [
        {
            "setting": one.setting,
            "criterion": one.way,
            "sparsity": one.sparsity,
            "moved": ", ".join(one.moved) or "nothing",
            "held": ", ".join(one.held),
            "runs": one.runs,
            "lost": one.lost,
            **columns("deviation", one.deviation),
            "whole": None if one.reference is None else ", ".join(one.reference),
            **columns("ratio", one.ratio),
        }
        for one in results
    ]


def sentences(results: Sequence[Spread]) -> list[str]:
    """For each arm its deviation and its share of the reference's variance; then what the intervals are."""
    said, name = [], results[0].headline.name
    for one in results:
        text = f"{one.setting}: {one.way} at {one.sparsity:g}: {_listed(one.moved)} moved"
        text += f" ({', '.join(one.held)} held)" if one.held else ""
        if one.deviation is None:
            text += f": {one.runs} finished run{'s' * (one.runs != 1)}, no standard deviation"
        else:
            deviation = replace(one.deviation, digits=one.headline.digits)
            text += f": standard deviation {deviation} over {one.runs} runs"
        if one.ratio is not None and one.reference is not None:
            text += f", {one.ratio} of the variance with {_listed(one.reference)} moved"
        said.append(text + (f"; {one.lost} lost" if one.lost else ""))
    said.append(
        f"Standard deviations of test {name} over seeds, one test set; pointwise 95 % intervals, nothing is "
        "tested. What is held is held at one value: at another the spread may differ. Shares need not add up "
        "to 1, since sources act together."
    )
    return said


def _listed(sources: Sequence[str]) -> str:
    if len(sources) < 2:
        return f"{sources[0]} alone" if sources else "nothing"
    return f"{', '.join(sources[:-1])} and {sources[-1]}"


QUESTION = Question(
    name="variance",
    help="How much does test accuracy vary with the initialization, the data order, the masks, the split?",
    answer=spreads,
    rows=rows,
    sentences=sentences,
    about_accuracy=True,
)
