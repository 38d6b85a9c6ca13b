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
from analysis.warehouse.arms import CHOICE, label

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


@dataclass(frozen=True)
class Correlation:
    """What a number before retraining says about one after it, over the masks of one setting and sparsity.

    Attributes:
        measure: which number before retraining; one of `BEFORE`.
        sparsity: None for all sparsities of the setting together.
        unit: what masks differ in beside their seeds: criteria, arms (of one criterion) or combinations
            (of the oracle).
        pearson: r, without interval and p-value: none holds for skewed losses.
        p_holm: that of τ after Holm's correction over all τ within a sparsity of the answer; NaN: pooled.
        regret_best, regret_median: how much worse the mask that looked best before ends than the best, and
            than the median (negative: better than it). Of several that looked equally good, the expected
            outcome of one drawn at random.
        anomalies: share of masks that end better than the one that looked best before (Feng et al. 2024),
            expected likewise.
        before, after, criteria, seeds: of each mask, of shape (masks,); criteria and seeds as whole numbers.
        alone: why the same with other BatchNorm statistics does not stand beside it; empty where it does, and
            where it was not asked for.
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

    @property
    def masks(self) -> int:
        """How many there are."""
        return len(self.before)

    @property
    def drawn(self) -> dict[str, int]:
        """How many criteria (arms, combinations) and seeds the masks are of."""
        return {self.unit: len(np.unique(self.criteria)), "seeds": len(np.unique(self.seeds))}

    @property
    def resampled(self) -> list[str]:
        """Those of them that the intervals resample."""
        return [what for what, count in self.drawn.items() if count >= ENOUGH]

    @property
    def basis(self) -> str:
        """What the coefficients are of, and their intervals."""
        text = f"{_counted(self.masks, 'masks')}: {self.counts}"
        return f"{text}; {self.limits}" if self.limits else text

    @property
    def counts(self) -> str:
        """What was drawn."""
        return " and ".join(_counted(count, what) for what, count in self.drawn.items())

    @property
    def limits(self) -> str:
        """What the interval leaves out, or why there is none; empty where it resamples all."""
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
    """Within each setting and sparsity, and behind them the number pooled over the setting's sparsities.

    Args:
        before: one of `BEFORE`. None: the training loss with either BatchNorm statistics, in settings where
            they make a difference.
        after: one of `AFTER`.
    """
    asked = [before] if before else ["pre_train_loss", "pre_train_loss" + _RECALIBRATED]
    answers = [_groups(connection, measure, after) for measure in asked]
    settings = list(dict.fromkeys(setting for groups in answers for setting in groups))
    names = _settings(settings)
    criteria = dict(warehouse.rows(connection, "SELECT hash(arm), arm ->> 'criterion' FROM settings"))
    found = []
    for setting in settings:
        several = {
            measure: groups[setting]
            for measure, groups in zip(asked, answers, strict=True)
            if setting in groups
        }
        alone = ""
        if before is None and asked[1] not in several:
            alone = f"with {_FRESH} it was not recorded: where the network has BatchNorm the two can differ"
        elif len(several) == 2 and _alike(*several.values()):
            del several[asked[1]]
            alone = f"with {_FRESH} it is the same in every mask, as without BatchNorm"
        for measure, rows in several.items():
            unit, codes = _clusters(criteria, {arm for row in rows for arm in row["arms"]})
            within = [_correlation(names[setting], measure, row, after, unit, codes, alone) for row in rows]
            found += [*within, *([_pooled(within)] if len(within) > 1 else [])]
    return found if warehouse.unfinished(connection) else _corrected(found)


def _groups(
    connection: duckdb.DuckDBPyConnection, before: str, after: str
) -> dict[str, list[dict[str, Any]]]:
    """The query's rows, by setting."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in warehouse.ask(connection, "correlation", {"before": before, "after": after}):
        groups[row["setting"]].append(row)
    return groups


def _clusters(criteria: Mapping[int, str], arms: Collection[int]) -> tuple[str, dict[int, int]]:
    """What the masks of a setting differ in beside their seeds, and the number of each arm's.

    Masks of the oracle have no more in common than the network: each combination was drawn by itself.

    Args:
        criteria: of each arm, by its hash.
        arms: those that the setting has masks of, by their hashes.
    """
    names = {criteria[arm] for arm in arms}
    unit = "criteria" if len(names) > 1 else "combinations" if names == {"oracle"} else "arms"
    clusters = {
        arm: ("", arm) if unit != "criteria" or criteria[arm] == "oracle" else (criteria[arm], 0)
        for arm in arms
    }
    numbers = {cluster: number for number, cluster in enumerate(sorted(set(clusters.values())))}
    return unit, {arm: numbers[cluster] for arm, cluster in clusters.items()}


def _alike(rows: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> bool:
    """Whether the numbers before retraining are equal, to rounding, at every sparsity."""
    sides = [{row["sparsity"]: sorted(row["befores"]) for row in side} for side in (rows, others)]
    return sides[0].keys() == sides[1].keys() and all(
        len(one) == len(sides[1][sparsity]) and np.allclose(one, sides[1][sparsity], rtol=1e-6, atol=0)
        for sparsity, one in sides[0].items()
    )


def _correlation(
    setting: str,
    measure: str,
    row: dict[str, Any],
    after: str,
    unit: str,
    codes: Mapping[int, int],
    alone: str,
) -> Correlation:
    worse = 1 if after == "test_loss" else -1
    masks = (
        np.array(row["befores"]),
        np.array(row["afters"]),
        np.array([codes[arm] for arm in row["arms"]]),
        np.array(row["seeds"], np.int64),
    )
    tau, rho = rank_correlations(*masks)
    return Correlation(
        setting,
        measure,
        row["sparsity"],
        unit,
        Coefficient(math.nan if row["pearson"] is None else row["pearson"]),
        rho,
        tau,
        math.nan,
        worse * (row["picked"] - row["best"]) + 0.0,
        worse * (row["picked"] - row["median"]) + 0.0,
        row["anomalies"],
        *masks,
        alone,
    )


def _pooled(groups: Sequence[Correlation]) -> Correlation:
    """All sparsities of a setting together: a criterion, and a seed, is the same at each of them."""
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


def _corrected(found: Sequence[Correlation]) -> list[Correlation]:
    """With Holm's (1979) correction over all τ that are tested."""
    indices = tested(found)
    known = dict(zip(indices, holm([found[index].kendall.p for index in indices]), strict=True))
    return [replace(one, p_holm=known.get(index, math.nan)) for index, one in enumerate(found)]


def tested(found: Sequence[Correlation]) -> list[int]:
    """Which of them are tested: those within a sparsity; of the pooled ones nothing is claimed."""
    return [
        index for index, one in enumerate(found) if one.sparsity is not None and not math.isnan(one.kendall.p)
    ]


def _settings(settings: Sequence[str]) -> dict[str, str]:
    """Names of settings: those of an arm that differs in nothing."""
    filled = {
        s: json.dumps({"criterion": "", "scope": "", "iterations": 1} | json.loads(s)) for s in settings
    }
    labels = label(filled.values(), CHOICE)
    return {setting: labels[arm].setting for setting, arm in filled.items()}
