"""How probable is it that a run of one criterion is better than a run of another? P(A > B), over seeds.

Bouthillier et al. (2021), 'Accounting for Variance in Machine Learning Benchmarks'.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import duckdb
import numpy as np
import typer

from analysis.questions.pair import First, Second, pair
from analysis.questions.question import Question, Row
from analysis.statistics.differences import Array, certain, holm
from analysis.statistics.estimates import (
    Estimate,
    columns,
    held,
    number,
    over,
    score_interval,
    wins,
    with_lost,
)
from analysis.warehouse import ACCURACIES, EACH, NO_PAIR, Headline, ask, headline, unfinished
from analysis.warehouse.arms import label
from sweep.means import LEVEL

# Above this probability a difference is meaningful in practice (Bouthillier et al. 2021, section 5).
_MEANINGFUL = 0.75


@dataclass(frozen=True, kw_only=True)
class Better:
    """One criterion against another in one setting at one sparsity.

    Attributes:
        probability: that a run of the first is better than a run of the second by more than the margin, for
            runs of any seeds. None if all trials of one of them were lost.
        p: of a probability of ½, with Holm's correction for all tests of the answer. With lost trials it is
            the larger p-value of those without them and with them at chance.
        paired: the same probability for two runs of the same seed; None if no seed finished in both.
        runs, others, pairs: numbers of finished runs of the first and of the second, and of seeds that
            finished in both.
        lost: number of trials of the two without an accuracy.
    """

    setting: str
    first: str
    second: str
    sparsity: float
    margin: float
    probability: Estimate | None
    p: float
    paired: Estimate | None
    runs: int
    others: int
    pairs: int
    lost: int
    headline: Headline = ACCURACIES

    @property
    def verdict(self) -> str:
        """`meaningfully better`, `better`, `worse`, `not better by the margin` or `not told apart`."""
        if self.probability is None or not certain(self.p):
            return "not told apart"
        if self.probability.value > 0.5:
            return "meaningfully better" if self.probability.value > _MEANINGFUL else "better"
        return "not better by the margin" if self.margin > 0 else "worse"


def probabilities(
    connection: duckdb.DuckDBPyConnection, first: str = "snip", second: str = "random", margin: float = 0.0
) -> tuple[list[Better], str]:
    """The probabilities in every setting and at every sparsity that both criteria have.

    Args:
        first, second: a criterion, or criterion:scope.
        margin: of test accuracy, or of the headline in its place.

    Returns:
        The probabilities, and what their intervals are over, in words.
    """
    cells = ask(connection, "cells", {"first": first, "second": second})
    measured = headline(connection)
    return compare(cells, margin, tested=not unfinished(connection), headline=measured)


def compare(
    cells: Sequence[Mapping[str, Any]],
    margin: float = 0.0,
    tested: bool = True,
    headline: Headline = ACCURACIES,
) -> tuple[list[Better], str]:
    """The same, from the rows of queries/cells.sql.

    Args:
        tested: False: nothing is tested, because a study is unfinished.
    """
    labels = label(row["arm"] for row in cells)
    pairs = list(_pairs(cells))
    results = []
    for one, other in pairs:
        mine, theirs = (np.array(row["accuracies"], dtype=float) for row in (one, other))
        known = bool(len(mine) and len(theirs))
        probability, p = unpaired(mine, theirs, margin) if known else (None, math.nan)
        if known and one["lost"] + other["lost"]:
            mine, theirs = (
                np.array(with_lost(row, headline)["accuracies"], dtype=float) for row in (one, other)
            )
            p = held(probability, p, *unpaired(mine, theirs, margin))
        differences = _differences(one, other)
        results.append(
            Better(
                setting=labels[one["arm"]].setting,
                first=labels[one["arm"]].name,
                second=labels[other["arm"]].name,
                sparsity=one["sparsity"],
                margin=margin,
                probability=probability,
                p=p,
                paired=paired(differences, margin) if len(differences) else None,
                runs=len(one["accuracies"]),
                others=len(other["accuracies"]),
                pairs=len(differences),
                lost=one["lost"] + other["lost"],
                headline=headline,
            )
        )
    adjusted = holm([one.p if tested else math.nan for one in results])
    results = [replace(one, p=p) for one, p in zip(results, adjusted, strict=True)]
    results.sort(key=lambda one: (one.setting, one.first, one.second, one.sparsity))
    return results, over(row["arm"] for pair in pairs for row in pair)


def _pairs(cells: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The rows of a first and of a second criterion in the same setting at the same sparsity."""
    seconds = defaultdict(list)
    for row in cells:
        if row["is_second"]:
            seconds[row["place"], row["sparsity"]].append(row)
    for row in cells:
        if row["is_first"]:
            for other in seconds[row["place"], row["sparsity"]]:
                if other["arm"] != row["arm"]:
                    yield row, other


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Array:
    """Accuracy of the first minus that of the second, for each seed that finished in both."""
    theirs = dict(zip(other["seeds"], other["accuracies"], strict=True))
    both = [a - theirs[s] for s, a in zip(one["seeds"], one["accuracies"], strict=True) if s in theirs]
    return np.array(both, dtype=float)


def unpaired(one: Array, other: Array, margin: float = 0.0) -> tuple[Estimate, float]:
    """P(a run of the one > a run of the other + margin), and the p-value of its being ½ (two-sided).

    The interval is a score interval with Mee's (1990) sample size: that of a plain share with the variance
    that Brunner & Munzel (2000) estimate. Few runs estimate their variance badly, so the size is kept between
    two bounds. The lower bound is the number of runs of the smaller arm, which holds for all distributions
    (Birnbaum & Klose 1957). The upper bound is that of Newcombe's (2006) method 5, which assumes equal
    spreads, for two arms as small as the smaller arm: the runs of the larger arm say nothing of its spread.
    The p-value of runs that overlap is at least that of runs that do not.

    Args:
        one, other: accuracies, one for each run.

    Returns:
        If one of the two has a single run, the estimate without an interval, and NaN.
    """
    from scipy.special import ndtr, ndtri

    won = wins(one, other, margin)
    share, runs, others = float(won.mean()), len(one), len(other)
    if min(runs, others) < 2:
        return Estimate(share), math.nan
    size = float(min(runs, others))
    variance = float(won.mean(1).var(ddof=1)) / runs + float(won.mean(0).var(ddof=1)) / others
    if 0 < share < 1 and variance > 0:
        more = size - 1
        method_5 = size**2 / (1 + more * (1 - share) / (2 - share) + more * share / (1 + share))
        no_overlap = size / (2 * share - 1) ** 2 if share != 0.5 else math.inf
        size = max(size, min(share * (1 - share) / variance, method_5, no_overlap))
    p = float(2 * ndtr(-abs(share - 0.5) * 2 * math.sqrt(size)))
    return score_interval(share, size, float(ndtri((1 + LEVEL) / 2))), p


def paired(differences: Array, margin: float = 0.0) -> Estimate:
    """P(difference > margin) with Clopper & Pearson's interval (1934), which holds for any number of seeds.

    A difference equal to the margin counts half.

    Args:
        differences: one for each seed.
    """
    from statsmodels.stats.proportion import proportion_confint

    better = float(wins(differences, np.zeros(1), margin).sum())
    if len(differences) < 2:
        return Estimate(better)
    low, high = proportion_confint(better, len(differences), 1 - LEVEL, method="beta")
    return Estimate(better / len(differences), float(low), float(high))


def rows(results: Sequence[Better]) -> list[Row]:
    """One row for each setting, pair and sparsity, as numbers."""
    return [
        {
            "setting": one.setting,
            "first": one.first,
            "second": one.second,
            "sparsity": one.sparsity,
            "margin": one.margin,
            "runs": one.runs,
            "others": one.others,
            "lost": one.lost,
            **columns("probability", one.probability),
            "p_holm": number(one.p),
            "verdict": one.verdict,
            "pairs": one.pairs,
            **columns("paired", one.paired),
        }
        for one in results
    ]


def sentences(results: Sequence[Better], over_what: str) -> list[str]:
    """For each pair the sparsities of each verdict; then what was tested.

    Args:
        over_what: what the intervals are over, in words.
    """
    said = []
    pairs: dict[tuple[str, str, str], list[Better]] = defaultdict(list)
    for one in results:
        pairs[one.setting, one.first, one.second].append(one)
    for (setting, first, second), among in pairs.items():
        verdicts: dict[str, list[str]] = defaultdict(list)
        for one in among:
            verdicts[one.verdict].append(f"{one.sparsity:g}")
        parts = [f"{verdict} at {', '.join(at)}" for verdict, at in verdicts.items()]
        lost = sum(one.lost for one in among)
        for why, few in (("no", 0), ("a single", 1)):
            at = [f"{one.sparsity:g}" for one in among if min(one.runs, one.others) == few]
            parts += [f"{why} finished run of one of them at {', '.join(at)}"] if at else []
        said.append(
            f"{setting}: {first} against {second}: {'; '.join(parts)}" + (f"; {lost} lost" if lost else "")
        )
    if results:
        measured = results[0].headline
        high = "higher" if measured.sign > 0 else "lower"
        margin = f" by more than {results[0].margin:g}" if results[0].margin else ""
        tests = sum(not math.isnan(one.p) for one in results)
        chance = f", without the lost runs and with them {measured.guess}" * any(one.lost for one in results)
        words = (
            f"Words hold at 5 % after Holm's correction for {tests} test{'s' * (tests != 1)}{chance}; "
            f"meaningfully: with a probability above {_MEANINGFUL:g}."
            if tests
            else "Nothing is tested: that takes two runs of each, and a study that has ended."
        )
        said.append(
            f"probability: of a run of the first having a {high} test {measured.name} than one of the "
            f"second{margin}, any seeds; paired: of the same seed. Pointwise 95 % intervals over "
            f"{over_what}. {words}"
        )
    return said


def answer(
    connection: duckdb.DuckDBPyConnection,
    first: First = EACH,
    second: Second = None,
    margin: Annotated[float, typer.Option(min=0, help="of test accuracy: better by more")] = 0.0,
) -> tuple[list[Better], str]:
    """The probabilities of the criteria that the command names."""
    return probabilities(connection, *pair(connection, first, second), margin)


def _rows(answer: tuple[list[Better], str]) -> list[Row]:
    return rows(answer[0])


def _sentences(answer: tuple[list[Better], str]) -> list[str]:
    return sentences(*answer) or [NO_PAIR]


QUESTION = Question(
    name="better",
    help="How probable is it that a run of one criterion is better than a run of another?",
    answer=answer,
    rows=_rows,
    sentences=_sentences,
    compares_criteria=True,
    about_accuracy=True,
)
