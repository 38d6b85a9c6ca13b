"""Aggregates of ways to choose the mask over many settings and sparsities.

Agarwal et al. (2021), 'Deep Reinforcement Learning at the Edge of the Statistical Precipice': interquartile
mean, probability of improvement, performance profiles. A task is a setting at a sparsity.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np

from analysis.statistics.differences import holm
from analysis.statistics.draws import Draws, Runs, interquartile_mean, mean_interval, mean_share
from analysis.statistics.estimates import Estimate, at_chance, held, over, wins
from analysis.warehouse import ask, unfinished
from analysis.warehouse.arms import CHOICE, label
from sweep.errors import BadInput

# Where a performance profile is looked at.
THRESHOLDS = np.arange(100) / 100
Cell = Mapping[str, Any]


@dataclass
class Aggregate:
    """One way to choose the mask, over the tasks that all compared ways have.

    Attributes:
        way: as labels name it.
        runs, lost: finished trials on those tasks, and those without an accuracy.
        iqm: interquartile mean of the test accuracy, each task with the same weight.
        improvement: probability that a run is better than one of the baseline on the same task (ties ½),
            mean over the tasks; None for the baseline itself, and without one.
        p: of that probability being ½, after Holm's correction for all ways compared with the baseline. With
            lost trials it is the larger of that without them and that with them at chance.
        profile: the share of runs above each of `THRESHOLDS`, each task with the same weight.
    """

    way: str
    runs: int
    lost: int
    iqm: Estimate
    improvement: Estimate | None
    p: float
    profile: list[Estimate] = field(repr=False)


@dataclass(frozen=True)
class Aggregates:
    """The compared ways, and what they are compared over.

    Attributes:
        ways: the interquartile mean falling.
        baseline: the way that the others are to improve on, if there is one.
        settings: the sparsities of each setting among the tasks.
        left_out: tasks that not all ways have a finished run of.
        over: what the intervals go over, in words.
    """

    ways: list[Aggregate]
    baseline: str | None
    settings: dict[str, list[float]]
    left_out: int
    over: str

    @property
    def tasks(self) -> int:
        """How many settings × sparsities all ways have."""
        return sum(map(len, self.settings.values()))


def find(connection: duckdb.DuckDBPyConnection, baseline: str | None = None) -> Aggregates:
    """The aggregates of all ways to choose the mask over the settings × sparsities that all of them have.

    Args:
        baseline: a criterion, criterion:scope, or a way as the answer names it. Default: random pruning, by
            ERK if there are several.

    Raises:
        BadInput: no task is common to all ways, or the baseline is none of them or several.
    """
    return compare(ask(connection, "cells"), baseline, tested=not unfinished(connection))


def compare(cells: Sequence[Cell], baseline: str | None = None, tested: bool = True) -> Aggregates:
    """The same, of the rows of queries/cells.sql.

    Args:
        tested: whether anything may be told apart; not while a study runs.
    """
    arms = {row["arm"]: json.loads(row["arm"]) for row in cells}
    settings = {arm: known.setting for arm, known in label(arms).items()}
    choices = {arm: {k: config[k] for k in CHOICE if k in config} for arm, config in arms.items()}
    names = _names(arms, choices)
    finished = [row for row in cells if row["seeds"]]
    had = Counter(task for _, task in {(names[r["arm"]], (r["place"], r["sparsity"])) for r in finished})
    ways = sorted(set(names.values()))
    common = sorted(task for task, count in had.items() if count == len(ways))
    if not common:
        counts = Counter(
            name for name, _ in {(names[r["arm"]], (r["place"], r["sparsity"])) for r in finished}
        )
        each = ", ".join(f"{way} ({counts[way]})" for way in ways[:8]) + (", …" if len(ways) > 8 else "")
        raise BadInput(
            f"no setting and sparsity that all {len(ways)} ways have finished trials of: {each}; "
            "choose some with --where \"criterion IN ('snip', 'random')\""
        )
    index = {task: number for number, task in enumerate(common)}
    among: dict[str, list[Cell]] = defaultdict(list)
    for row in cells:
        if (row["place"], row["sparsity"]) in index:
            among[names[row["arm"]]].append(row)
    runs, draws = _drawn(among, arms, index)
    chosen = _baseline(baseline, ways, arms, names)
    found = [
        _aggregate(way, runs[way], sum(r["lost"] for r in among[way]), runs.get(chosen or ""), draws)
        for way in ways
    ]
    if chosen is not None and any(one.lost for one in found):
        _hold(
            found,
            chosen,
            *_drawn({way: list(map(at_chance, rows_)) for way, rows_ in among.items()}, arms, index),
        )
    for one, p in zip(found, holm([one.p if tested else math.nan for one in found]), strict=True):
        one.p = p
    where: dict[str, set[float]] = defaultdict(set)
    for rows_ in among.values():
        for row in rows_:
            where[settings[row["arm"]]].add(row["sparsity"])
    return Aggregates(
        sorted(found, key=lambda one: -one.iqm.value),
        chosen,
        {setting: sorted(where[setting]) for setting in sorted(where)},
        len({(row["place"], row["sparsity"]) for row in cells}) - len(common),
        over(row["arm"] for rows_ in among.values() for row in rows_),
    )


def _names(arms: dict[str, dict[str, Any]], choices: dict[str, dict[str, Any]]) -> dict[str, str]:
    """How each arm chooses its mask, told apart over all settings: as labels would in a single setting."""
    if not arms:
        return {}
    rest = {key: value for key, value in next(iter(arms.values())).items() if key not in CHOICE}
    alike = {arm: json.dumps(rest | choice, sort_keys=True) for arm, choice in choices.items()}
    known = label(alike.values())
    return {arm: known[text].name for arm, text in alike.items()}


def _drawn(
    among: dict[str, list[Cell]],
    arms: dict[str, dict[str, Any]],
    index: dict[tuple[int, float], int],
) -> tuple[dict[str, Runs], Draws]:
    """The runs of each way, and the draws of seeds that they share."""
    strata: dict[tuple[str, str], int] = {}
    draws: dict[tuple[int, int], int] = {}
    stratum_of: dict[int, int] = {}
    found = {}
    for way, rows_ in among.items():
        parts = []
        for row in (row for row in rows_ if row["seeds"]):
            config = arms[row["arm"]]
            stratum = strata.setdefault((config["dataset"], config["model"]), len(strata))
            task = index[row["place"], row["sparsity"]]
            stratum_of[task] = stratum
            parts.append(
                (task, row["accuracies"], [draws.setdefault((stratum, s), len(draws)) for s in row["seeds"]])
            )
        counts = [len(part[1]) for part in parts]
        found[way] = Runs(
            np.concatenate([np.array(part[1], dtype=float) for part in parts]),
            np.repeat([part[0] for part in parts], counts),
            np.concatenate([np.array(part[2]) for part in parts]),
            np.repeat(1 / (len(index) * np.array(counts)), counts),
        )
    share = np.bincount(list(stratum_of.values()), minlength=len(strata)) / len(index)
    return found, Draws(np.array([stratum for stratum, _ in draws]), share)


def _aggregate(way: str, runs: Runs, lost: int, baseline: Runs | None, draws: Draws) -> Aggregate:
    iqm, influence = interquartile_mean(runs.accuracy, runs.weight)
    interval = mean_interval(iqm, *draws.error([runs], [influence]))
    improvement, p = None, math.nan
    if baseline is not None and baseline is not runs:
        improvement, p = _improvement(runs, baseline, draws)
    # The runs above two thresholds are the same ones if they are as many.
    known: dict[int, Estimate] = {}
    profile = []
    for threshold in THRESHOLDS:
        above = runs.accuracy > threshold
        count = int(above.sum())
        if count not in known:
            known[count] = draws.share_interval(mean_share(runs, above), [runs], [above.astype(float)])[0]
        profile.append(known[count])
    return Aggregate(way, len(runs.accuracy), lost, interval, improvement, p, profile)


def _hold(found: Sequence[Aggregate], chosen: str, guessed: Mapping[str, Runs], draws: Draws) -> None:
    """Let what is certain of an improvement be so with the lost runs at chance too."""
    for one in found:
        if one.way != chosen:
            one.p = held(one.improvement, one.p, *_improvement(guessed[one.way], guessed[chosen], draws))


def _improvement(runs: Runs, baseline: Runs, draws: Draws) -> tuple[Estimate, float]:
    """Probability that a run is better than one of the baseline (Mann & Whitney 1947), mean over tasks."""
    mine, theirs = np.empty(len(runs.accuracy)), np.empty(len(baseline.accuracy))
    places, others = (
        np.split(np.arange(len(one.task)), np.flatnonzero(np.diff(one.task)) + 1) for one in (runs, baseline)
    )
    by_task = {int(baseline.task[there[0]]): there for there in others}
    for here in places:
        there = by_task[int(runs.task[here[0]])]
        won = wins(runs.accuracy[here], baseline.accuracy[there])
        mine[here], theirs[there] = won.mean(1), won.mean(0)
    return draws.share_interval(mean_share(runs, mine), [runs, baseline], [mine, theirs])


def _baseline(
    asked: str | None, ways: Sequence[str], arms: dict[str, dict[str, Any]], names: dict[str, str]
) -> str | None:
    """The way that the others are compared with."""
    if asked in ways:
        return asked
    wanted = asked or "random"
    matching = sorted(
        {
            names[arm]
            for arm, config in arms.items()
            if wanted in (config["criterion"], f"{config['criterion']}:{config['scope']}")
        }
    )
    if asked is None:
        return next(iter(matching), None)
    if len(matching) != 1:
        why = f"several ways ({', '.join(matching)}): name one" if matching else "no trials of it"
        raise BadInput(f"--baseline {asked}: {why}; there are: {', '.join(ways)}")
    return matching[0]
