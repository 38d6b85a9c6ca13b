"""Correlations between a number before retraining and one after it, over masks."""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np

from analysis import warehouse
from analysis.statistics.coefficients import ENOUGH, Array, Codes, Coefficient, rank_correlations
from analysis.statistics.differences import holm
from analysis.warehouse import ACCURACIES, Headline
from analysis.warehouse.arms import label
from sweep.config import CHOICE, DRAWN

_PLAIN = {
    "pre_train_loss": "training loss right after pruning",
    "pre_test_loss": "test loss right after pruning",
    "pre_test_accuracy": "test accuracy right after pruning",
}
_RECALIBRATED = "_recalibrated"
_DENSE, _FRESH = (
    "BatchNorm statistics of the dense network",
    "BatchNorm statistics of one pass over training data",
)
NAMES = {measure: f"{name} ({_DENSE})" for measure, name in _PLAIN.items()} | {
    measure + _RECALIBRATED: f"{name} ({_FRESH})" for measure, name in _PLAIN.items()
}


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Correlation of a measure before retraining with one after it, over masks of one setting and sparsity.

    Attributes:
        measure: the measure before retraining; a key of `NAMES`.
        sparsity: None: all sparsities of the setting are pooled.
        unit: what masks differ in beside their seeds: criteria, arms (of one criterion) or combinations
            (of the oracle).
        pearson: r, without interval and p-value: none holds for skewed losses.
        p_holm: the p-value of τ with Holm's correction over all τ within a sparsity of the answer; NaN for
            pooled sparsities.
        regret_best, regret_median: how much worse the mask with the best measure before retraining ends than
            the best mask, and than the median (negative: better). If several masks tie for the best measure:
            the expectation of one drawn at random.
        anomalies: share of masks that end better than the mask with the best measure before retraining (Feng
            et al. 2024); with ties an expectation too.
        before, after, criteria, seeds: of each mask, of shape (masks,). Criteria and seeds are integers.
        alone: why there is no correlation with the other BatchNorm statistics beside this one; "" if there
            is one, or if one measure alone was asked for.
    """

    setting: str
    measure: str
    sparsity: float | None
    unit: str
    pearson: Coefficient
    spearman: Coefficient
    kendall: Coefficient
    p_holm: float
    regret_best: float | None
    regret_median: float | None
    anomalies: float | None
    before: Array
    after: Array
    criteria: Codes
    seeds: Codes
    alone: str = ""
    headline: Headline = ACCURACIES

    @property
    def name(self) -> str:
        """The measure before retraining, in words."""
        return self.headline.named(NAMES[self.measure])

    @property
    def masks(self) -> int:
        """Number of masks."""
        return len(self.before)

    @property
    def drawn(self) -> dict[str, int]:
        """Numbers of criteria (or arms, or combinations) and of seeds among the masks."""
        return {self.unit: len(np.unique(self.criteria)), "seeds": len(np.unique(self.seeds))}

    @property
    def resampled(self) -> list[str]:
        """The names in `drawn` over which the intervals resample."""
        return [what for what, count in self.drawn.items() if count >= ENOUGH]

    @property
    def basis(self) -> str:
        """The numbers of masks, criteria and seeds, and the limits of the interval, in words."""
        text = f"{_counted(self.masks, 'masks')}: {self.counts}"
        return f"{text}; {self.limits}" if self.limits else text

    @property
    def counts(self) -> str:
        """The numbers of criteria and seeds, in words."""
        return " and ".join(_counted(count, what) for what, count in self.drawn.items())

    @property
    def limits(self) -> str:
        """What the interval does not cover, or why there is none; "" if it resamples criteria and seeds."""
        if not self.resampled:
            return f"no interval, which takes {ENOUGH} {self.unit} or {ENOUGH} seeds"
        if abs(self.kendall.value) > 1 - 1e-9:
            return "a perfect order has no interval"
        held = [_counted(count, what) for what, count in self.drawn.items() if what not in self.resampled]
        return f"the interval is of {held[0]} alone" if held else ""


def _counted(count: int, what: str) -> str:
    one = {"criteria": "criterion"}.get(what, what.removesuffix("s"))
    return f"one {one}" if count == 1 else f"{count:,} {what}"


def correlate(
    connection: duckdb.DuckDBPyConnection, before: str | None = None, after: str = "test_accuracy"
) -> list[Correlation]:
    """The correlations within each setting and sparsity, followed by the pooled one of the setting.

    Args:
        before: a key of `NAMES`. None: the training loss with both BatchNorm statistics, in settings where
            they differ.
        after: `test_accuracy` or `test_loss`.
    """
    measured = warehouse.headline(connection)
    worse = 1 if after == "test_loss" else -measured.sign
    measures = [before] if before else ["pre_train_loss", "pre_train_loss" + _RECALIBRATED]
    answers = [_groups(connection, measure, after, measured) for measure in measures]
    settings = list(dict.fromkeys(setting for groups in answers for setting in groups))
    names = _settings(settings)
    criteria = dict(warehouse.rows(connection, "SELECT hash(arm), arm ->> 'criterion' FROM settings"))
    correlations = []
    for setting in settings:
        several = {
            measure: groups[setting]
            for measure, groups in zip(measures, answers, strict=True)
            if setting in groups
        }
        alone = ""
        if before is None and measures[1] not in several:
            alone = f"with {_FRESH} it was not recorded: where the network has BatchNorm the two can differ"
        elif len(several) == 2 and _alike(*several.values()):
            del several[measures[1]]
            alone = f"with {_FRESH} it is the same in every mask, as without BatchNorm"
        for measure, rows in several.items():
            unit, codes = _clusters(criteria, {arm for row in rows for arm in row["arms"]})
            about = {"setting": names[setting], "measure": measure, "unit": unit, "alone": alone}
            within = [_correlation(row, worse, codes, measured, **about) for row in rows]
            correlations += [*within, *([_pooled(within)] if len(within) > 1 else [])]
    return correlations if warehouse.unfinished(connection) else _corrected(correlations)


def _groups(
    connection: duckdb.DuckDBPyConnection, before: str, after: str, headline: Headline
) -> dict[str, list[dict[str, Any]]]:
    """The query's rows, by setting."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    variables = {"before": before, "after": after, "sign": str(headline.sign)}
    for row in warehouse.ask(connection, "correlation", variables):
        groups[row["setting"]].append(row)
    return groups


def _clusters(criteria: Mapping[int, str], arms: Collection[int]) -> tuple[str, dict[int, int]]:
    """What the masks of a setting differ in beside their seeds, and each arm's number in it.

    Each mask of the oracle counts by itself: its combinations were drawn independently.

    Args:
        criteria: the criterion of each arm, by the arm's hash.
        arms: hashes of the arms of the setting's masks.
    """
    names = {criteria[arm] for arm in arms}
    unit = "criteria" if len(names) > 1 else "combinations" if names <= DRAWN else "arms"
    clusters = {
        arm: ("", arm) if unit != "criteria" or criteria[arm] in DRAWN else (criteria[arm], 0) for arm in arms
    }
    numbers = {cluster: number for number, cluster in enumerate(sorted(set(clusters.values())))}
    return unit, {arm: numbers[cluster] for arm, cluster in clusters.items()}


def _alike(rows: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> bool:
    """Whether the measures before retraining are equal, to rounding, at every sparsity."""
    sides = [{row["sparsity"]: sorted(row["befores"]) for row in side} for side in (rows, others)]
    return sides[0].keys() == sides[1].keys() and all(
        len(one) == len(sides[1][sparsity]) and np.allclose(one, sides[1][sparsity], rtol=1e-6, atol=0)
        for sparsity, one in sides[0].items()
    )


def _correlation(
    row: dict[str, Any], worse: int, codes: Mapping[int, int], headline: Headline, **about: str
) -> Correlation:
    """The correlation over the masks of a row of the query.

    Args:
        worse: 1 if a higher value after retraining is worse, else −1.
        codes: the number of each arm's criterion.
        about: fields of `Correlation` that are the same at every sparsity.
    """
    before, outcomes = np.array(row["befores"]), np.array(row["afters"])
    criteria, seeds = np.array([codes[arm] for arm in row["arms"]]), np.array(row["seeds"], np.int64)
    tau, rho = rank_correlations(before, outcomes, criteria, seeds)
    return Correlation(
        sparsity=row["sparsity"],
        pearson=Coefficient(math.nan if row["pearson"] is None else row["pearson"]),
        spearman=rho,
        kendall=tau,
        p_holm=math.nan,
        regret_best=worse * (row["picked"] - row["best"]) + 0.0,
        regret_median=worse * (row["picked"] - row["median"]) + 0.0,
        anomalies=row["anomalies"],
        before=before,
        after=outcomes,
        criteria=criteria,
        seeds=seeds,
        headline=headline,
        **about,
    )


def _pooled(groups: Sequence[Correlation]) -> Correlation:
    """The correlation over all sparsities of a setting, at which criteria and seeds are the same clusters."""
    before, after = (
        np.concatenate([getattr(group, side) for group in groups]) for side in ("before", "after")
    )
    criteria, seeds = (
        np.concatenate([getattr(group, side) for group in groups]) for side in ("criteria", "seeds")
    )
    tau, rho = rank_correlations(before, after, criteria, seeds)
    return replace(
        groups[0],
        sparsity=None,
        pearson=Coefficient(
            float(np.corrcoef(before, after)[0, 1]) if before.std() and after.std() else math.nan
        ),
        spearman=rho,
        kendall=tau,
        regret_best=None,
        regret_median=None,
        anomalies=None,
        before=before,
        after=after,
        criteria=criteria,
        seeds=seeds,
    )


def _corrected(correlations: Sequence[Correlation]) -> list[Correlation]:
    """The correlations with Holm's (1979) correction over all τ that are tested."""
    indices = tested(correlations)
    known = dict(zip(indices, holm([correlations[index].kendall.p for index in indices]), strict=True))
    return [replace(one, p_holm=known.get(index, math.nan)) for index, one in enumerate(correlations)]


def tested(correlations: Sequence[Correlation]) -> list[int]:
    """Indices of the τ that are tested: those within a sparsity, not the pooled ones."""
    return [
        index
        for index, one in enumerate(correlations)
        if one.sparsity is not None and not math.isnan(one.kendall.p)
    ]


def _settings(settings: Sequence[str]) -> dict[str, str]:
    """The names of settings, as labels give them for arms that do not differ in the choice of the mask."""
    filled = {
        s: json.dumps({"criterion": "", "scope": "", "iterations": 1} | json.loads(s)) for s in settings
    }
    labels = label(filled.values(), CHOICE)
    return {setting: labels[arm].setting for setting, arm in filled.items()}
