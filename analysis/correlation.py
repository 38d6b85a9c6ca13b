"""Does what is measured before retraining say what comes after it?"""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from analysis.coefficients import Array, Coefficient, kendall, pearson, spearman
from analysis.labels import CHOICE, label
from analysis.warehouse import ask

BEFORE = ("pre_train_loss", "pre_test_loss", "pre_test_accuracy")
AFTER = ("test_accuracy", "test_loss")


@dataclass(frozen=True)
class Correlation:
    """What a number before retraining says about one after it, over the masks of one setting and sparsity.

    Attributes:
        sparsity: None for all sparsities of the setting together.
        regret_best, regret_median: how much worse the mask that looked best before ends than the best, and
        than
            the median (negative: better than it).
        anomalies: share of masks that end better than the one that looked best before (Feng et al. 2024).
    """

    setting: str
    sparsity: float | None
    masks: int
    pearson: Coefficient
    spearman: Coefficient
    kendall: Coefficient
    regret_best: float | None
    regret_median: float | None
    anomalies: float | None
    before: Array
    after: Array


def correlate(
    connection: duckdb.DuckDBPyConnection, before: str = "pre_train_loss", after: str = "test_accuracy"
) -> list[Correlation]:
    """Within each setting and sparsity, and behind them the number pooled over the setting's sparsities.

    Every mask counts as one draw: the intervals are those of independent masks.

    Args:
        before: one of `BEFORE`. after: one of `AFTER`.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in ask(connection, "correlation", {"before": before, "after": after}):
        groups[row["setting"]].append(row)
    names = _settings(list(groups))
    found = []
    for setting, rows in groups.items():
        for row in rows:
            worse = 1 if after == "test_loss" else -1
            found.append(
                Correlation(
                    names[setting],
                    row["sparsity"],
                    row["masks"],
                    pearson(row["pearson"], row["masks"]),
                    spearman(row["spearman"], row["masks"]),
                    kendall(np.array(row["befores"]), np.array(row["afters"])),
                    worse * (row["picked"] - row["best"]) + 0.0,
                    worse * (row["picked"] - row["median"]) + 0.0,
                    row["anomalies"],
                    np.array(row["befores"]),
                    np.array(row["afters"]),
                )
            )
        if len(rows) > 1:
            found.append(_pooled(names[setting], found[-len(rows) :]))
    return found


def _pooled(setting: str, groups: Sequence[Correlation]) -> Correlation:
    before, after = (
        np.concatenate([getattr(group, side) for group in groups]) for side in ("before", "after")
    )
    return Correlation(
        setting,
        None,
        len(before),
        pearson(_corr(before, after), len(before)),
        spearman(_corr(_ranks(before), _ranks(after)), len(before)),
        kendall(before, after),
        None,
        None,
        None,
        before,
        after,
    )


def _corr(one: Array, other: Array) -> float | None:
    if len(one) < 2 or not one.std() or not other.std():
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)


def _settings(settings: Sequence[str]) -> dict[str, str]:
    """Names of settings: those of an arm that differs in nothing."""
    filled = {
        s: json.dumps({"criterion": "", "scope": "", "iterations": 1} | json.loads(s)) for s in settings
    }
    labels = label(filled.values(), CHOICE)
    return {setting: labels[arm].setting for setting, arm in filled.items()}


def rows(found: Sequence[Correlation]) -> list[dict[str, Any]]:
    """One row a group, as numbers: for files."""

    def number(value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else value

    return [
        {
            "setting": one.setting,
            "sparsity": one.sparsity,
            "pooled": one.sparsity is None,
            "masks": one.masks,
            **{
                name + suffix: number(getattr(coefficient, part))
                for name, coefficient in (("tau", one.kendall), ("rho", one.spearman), ("r", one.pearson))
                for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"), ("_p", "p"))
            },
            "regret_best": one.regret_best,
            "regret_median": one.regret_median,
            "anomalies": one.anomalies,
        }
        for one in found
    ]


def sentences(found: Sequence[Correlation]) -> list[str]:
    """What it comes to, with the warning that belongs to the pooled number."""
    said = []
    alike: dict[str, list[Correlation]] = defaultdict(list)
    for one in found:
        if one.sparsity is not None:
            alike[one.setting].append(one)
    for one in found:
        if one.sparsity is not None:
            continue
        within = alike[one.setting]
        taus = [o.kendall.value for o in within if not math.isnan(o.kendall.value)]
        median = float(np.median(taus)) if taus else math.nan
        middle = f"; within one, its median is {median:.2f}".replace("-", "−") if taus else ""
        does = "inflates" if abs(one.kendall.value) > abs(median) else "distorts"
        said.append(
            f"{one.setting}: τ {one.kendall} pooled over {len(within)} sparsities{middle}. "
            f"Pooling over sparsities {does} it: "
            "sparsity itself moves both numbers (Simpson's paradox); go by the rows of one sparsity."
        )
    return said
