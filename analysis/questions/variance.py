"""How much of the spread of test accuracy comes from initialization, data order, masks and split?"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from analysis.questions.question import Question
from analysis.statistics.differences import Array
from analysis.statistics.estimates import Estimate, columns
from analysis.warehouse import ask
from analysis.warehouse.arms import label
from sweep.errors import BadInput
from sweep.means import LEVEL, ROUNDING

# With fewer runs their own kurtosis says nothing: the interval is that of normal accuracies.
_KURTOSIS = 5


@dataclass(frozen=True)
class Spread:
    """The spread of one arm at one sparsity.

    Attributes:
        moved: what each seed draws anew: of initialization, data order, masks, split.
        held: what is the same for all, as field=value.
        runs, lost: finished trials, and those without an accuracy.
        deviation: standard deviation of the test accuracy over seeds; None for a single run.
        whole: the sources moved where most are, of all that this arm is a part of; None for that one itself.
        ratio: this variance over that of the whole.
    """

    setting: str
    way: str
    sparsity: float
    moved: tuple[str, ...]
    held: tuple[str, ...]
    runs: int
    lost: int
    deviation: Estimate | None
    whole: tuple[str, ...] | None
    ratio: Estimate | None


def find(connection: duckdb.DuckDBPyConnection) -> list[Spread]:
    """The spread of all arms that differ in nothing but what they hold.

    Raises:
        BadInput: no trial holds anything.
    """
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
    found = []
    for (rest, sparsity), among in alike.items():
        deviations = {row["arm"]: _deviation(row) for row in among}
        for row in among:
            whole, deviation = _whole(row, among), deviations[row["arm"]]
            against = deviations[whole["arm"]] if whole else None
            found.append(
                Spread(
                    labels[rest].setting,
                    labels[rest].name,
                    sparsity,
                    tuple(row["moved"]),
                    tuple(row["held"]),
                    len(row["accuracies"]),
                    row["lost"],
                    deviation,
                    tuple(whole["moved"]) if whole else None,
                    ratio(deviation, against) if deviation and against else None,
                )
            )
    return sorted(found, key=lambda one: (one.setting, one.way, one.sparsity, -len(one.moved), one.held))


def _deviation(row: dict[str, Any]) -> Estimate | None:
    values = np.array(row["accuracies"], dtype=float)
    return standard_deviation(values) if len(values) > 1 else None


def _whole(row: dict[str, Any], among: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The arm in which most moves, of those that hold less than this one and hold it alike."""
    wider = [other for other in among if set(other["held"]) < set(row["held"])]
    return max(wider, key=lambda other: len(other["moved"]), default=None)


def standard_deviation(values: Array) -> Estimate:
    """With Bonett's (2006) interval, which allows for tails by the kurtosis seen; none where all are equal.

    Below `_KURTOSIS` values it is the chi-square interval of normal ones.

    Args:
        values: two at least.
    """
    from scipy.special import chdtri, ndtri

    count, deviation = len(values), float(values.std(ddof=1))
    if deviation <= ROUNDING:
        return Estimate(0.0)
    if count < _KURTOSIS:
        ends = (chdtri(count - 1, (1 + sign * LEVEL) / 2) for sign in (-1, 1))
        low, high = (deviation * math.sqrt((count - 1) / float(end)) for end in ends)
        return Estimate(deviation, low, high)
    z = float(ndtri((1 + LEVEL) / 2))
    # Trimmed by 1 / (2 √(n − 4)), as scipy.stats.trim_mean does, which takes a hundred times as long.
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
    """The ratio of two variances from their standard deviations, with an interval from theirs (Zou & Donner
    2008).

    Of the two on a log scale, as if no draw were shared between them. None where the whole has no spread.
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


def rows(found: Sequence[Spread]) -> list[dict[str, Any]]:
    """One row an arm and sparsity, as numbers: for files."""
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
            "whole": None if one.whole is None else ", ".join(one.whole),
            **columns("ratio", one.ratio),
        }
        for one in found
    ]


def sentences(found: Sequence[Spread]) -> list[str]:
    """For each arm in which something is held, its share of the whole; then what the intervals are."""
    said = []
    for one in found:
        text = f"{one.setting}: {one.way} at {one.sparsity:g}: {_listed(one.moved)} moved"
        text += f" ({', '.join(one.held)} held)" if one.held else ""
        if one.deviation is None:
            text += f": {one.runs} finished run{'s' * (one.runs != 1)}, no standard deviation"
        else:
            text += f": standard deviation {one.deviation} over {one.runs} runs"
        if one.ratio is not None and one.whole is not None:
            text += f", {one.ratio} of the variance with {_listed(one.whole)} moved"
        said.append(text + (f"; {one.lost} lost" if one.lost else ""))
    said.append(
        "Standard deviations of test accuracy over seeds, one test set; pointwise 95 % intervals, nothing is "
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
    answer=find,
    rows=rows,
    sentences=sentences,
)
