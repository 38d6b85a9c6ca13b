"""How many seeds does a difference of some size need? From the spread of the paired differences."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import typer

from analysis.questions.pair import First, Second, pair
from analysis.questions.question import Question, Row
from analysis.statistics.differences import Array
from analysis.warehouse import ACCURACIES, EACH, NO_PAIR, Headline, ask, headline
from analysis.warehouse.arms import label
from sweep.means import LEVEL, ROUNDING

POWER = 0.8
# One-sided confidence level of the upper limit of a standard deviation.
UPPER = 0.8
# A difference that is a smaller share of its standard deviation would take more seeds than anybody has.
_LEAST = 1e-6


class Answer(NamedTuple):
    """What the command answers with.

    Attributes:
        headline: what the difference is of.
    """

    rows: list[Row]
    headline: Headline


def seeds_needed(
    connection: duckdb.DuckDBPyConnection,
    first: str = "snip",
    second: str = "random",
    difference: float = 0.01,
) -> list[Row]:
    """The number of seeds that each pair needs at each sparsity.

    Args:
        first, second: a criterion, or criterion:scope.
        difference: of mean test accuracy, or of another headline, to be detected with a power of `POWER`.
    """
    headline(connection)  # one metric, or an error
    answers = ask(connection, "crossover", {"first": first, "second": second})
    labels = label(arm for row in answers for arm in (row["first"], row["second"]))
    lost = {(row["arm"], row["sparsity"]): row["lost"] for row in ask(connection, "accuracy")}
    rows = [
        {
            "setting": labels[row["first"]].setting,
            "first": labels[row["first"]].name,
            "second": labels[row["second"]].name,
            "sparsity": row["sparsity"],
            "seeds": row["trials"],
            "lost": sum(lost[row[side], row["sparsity"]] for side in ("first", "second")),
            "deviation": row["deviation"],
            "deviation_upper": None,
            "difference": difference,
            "level": (1 - LEVEL) / len(answers),
            "needed": None,
            "needed_upper": None,
        }
        for row in answers
    ]
    # Equal differences, as with a small test set, have no spread.
    known = [
        row
        for row, answer in zip(rows, answers, strict=True)
        if (row["deviation"] or 0) > ROUNDING * max(1, abs(answer["mean"] or 0)) and not _is_vast(row)
    ]
    if known:
        deviations, counts, levels = (
            np.array([row[name] for row in known]) for name in ("deviation", "seeds", "level")
        )
        highest = upper(deviations, counts)
        needs = needed(difference / deviations, levels), needed(difference / highest, levels)
        for row, most, *both in zip(known, highest, *needs, strict=True):
            row["deviation_upper"] = float(most)
            row["needed"], row["needed_upper"] = map(int, both)
    return rows


def upper(deviations: Array, counts: Array) -> Array:
    """The upper one-sided limits of standard deviations at `UPPER`, by chi-square of normal differences.

    Args:
        deviations: shape (n,).
        counts: numbers of values that each was computed from, at least 2.
    """
    from scipy.special import chdtri

    limits: Array = deviations * np.sqrt((counts - 1) / chdtri(counts - 1, UPPER))
    return limits


def needed(effects: Array, levels: Array) -> npt.NDArray[np.int64]:
    """The fewest seeds with which a two-sided paired t-test detects mean differences with power `POWER`.

    Args:
        effects: the differences in units of their standard deviations, above 0; shape (n,).
        levels: of the tests; shape (n,).
    """
    from statsmodels.stats.power import ttest_power

    def enough(seeds: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        # One side only: the other side adds nothing to such a power, and SciPy returns NaN for it. For this
        # side SciPy returns NaN if the power is 1. statsmodels' solver, which takes fractional numbers of
        # seeds, fails for very small and very large effects.
        power = ttest_power(effects, seeds, levels / 2, alternative="larger")
        return ~(np.asarray(power) < POWER)

    low, high = np.ones(len(effects), dtype=np.int64), np.full(len(effects), 2, dtype=np.int64)
    while not (done := enough(high)).all():
        low, high = np.where(done, low, high), np.where(done, high, 2 * high)
    while (high - low > 1).any():
        middle = (low + high + 1) // 2
        done = enough(middle)
        low, high = np.where(done, low, middle), np.where(done, middle, high)
    return high


def _is_vast(row: Row) -> bool:
    """Whether the spread is so large that no number of seeds is given."""
    return bool((row["deviation"] or 0) >= row["difference"] / _LEAST)


def sentences(rows: Sequence[Row], headline: Headline = ACCURACIES) -> list[str]:
    """For each pair the seeds at the sparsity that needs most; then the assumptions.

    Args:
        headline: what the difference is of.
    """
    said = []
    for setting, first, second in dict.fromkeys((r["setting"], r["first"], r["second"]) for r in rows):
        among = [r for r in rows if (r["setting"], r["first"], r["second"]) == (setting, first, second)]
        known = [row for row in among if row["needed"] is not None]
        parts = []
        if known:
            most = max(known, key=lambda row: row["needed"])
            careful = max(row["needed_upper"] for row in known)
            parts.append(
                f"{most['needed']} seeds find a difference of {most['difference']:g} in test {headline.name} "
                f"at each sparsity tested (most at {most['sparsity']:g}); {careful} allow for what "
                f"{most['seeds']} seeds do not know of the spread"
            )
        for why, vast in (("no spread to go by", False), ("a spread a million times the difference", True)):
            silent = (row for row in among if row["needed"] is None and _is_vast(row) == vast)
            if at := [f"{row['sparsity']:g}" for row in silent]:
                parts.append(f"{why} at {', '.join(at)}")
        if gone := sum(row["lost"] for row in among):
            parts.append(f"{gone} lost")
        said.append(f"{setting}: {first} against {second}: {'; '.join(parts)}")
    if rows:
        said.append(
            f"Seeds with which a paired t-test finds that difference in {100 * POWER:.0f} % of studies, at "
            f"5 % divided by the tests of this answer: {len(rows):,}; differences taken as normal. "
            f"needed_upper is for the upper {100 * UPPER:.0f} % limit of the standard deviation. It plans a "
            "new study: seeds added until a difference is certain hold no level."
        )
    return said


def answer(
    connection: duckdb.DuckDBPyConnection,
    first: First = EACH,
    second: Second = None,
    difference: Annotated[float, typer.Option(min=1e-9, help="of mean test accuracy")] = 0.01,
) -> Answer:
    """The number of seeds for the criteria that the command names."""
    rows = seeds_needed(connection, *pair(connection, first, second), difference)
    return Answer(rows, headline(connection))


def _rows(answer: Answer) -> list[Row]:
    return answer.rows


def _sentences(answer: Answer) -> list[str]:
    return sentences(*answer) or [NO_PAIR]


QUESTION = Question(
    name="seeds",
    help="How many seeds does a difference of this size need?",
    answer=answer,
    rows=_rows,
    sentences=_sentences,
    compares_criteria=True,
    about_accuracy=True,
)
