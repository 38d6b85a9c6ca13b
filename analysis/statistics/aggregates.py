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

from analysis.statistics.differences import Array, holm
from analysis.statistics.draws import Draws, Runs, interquartile_mean, mean_interval, mean_share
from analysis.statistics.estimates import Estimate, held, over, wins, with_lost
from analysis.warehouse import ACCURACIES, Headline, ask, headline, unfinished
from analysis.warehouse.arms import label
from sweep.arms import is_among
from sweep.config import CHOICE
from sweep.errors import BadInput

# The test accuracies at which a performance profile is computed; for other metrics, shares of their range.
THRESHOLDS = np.arange(100) / 100
# A row of queries/cells.sql, and a task: the number of its setting, and its sparsity.
Cell = Mapping[str, Any]
Task = tuple[int, float]


@dataclass(kw_only=True)
class Aggregate:
    """One way to choose the mask, over the tasks that all compared ways have.

    Attributes:
        way: its label.
        runs, lost: numbers of finished trials on the tasks, and of trials without an accuracy.
        iqm: interquartile mean of the test accuracy, all tasks with the same weight.
        improvement: probability that a run is better than a run of the baseline on the same task (ties ½),
            mean over the tasks. None for the baseline itself, and if there is no baseline.
        p: of a probability of ½, with Holm's correction for all ways compared with the baseline. With lost
            trials it is the larger p-value of those without them and with them at chance.
        profile: share of runs better than each threshold, all tasks with the same weight.
    """

    way: str
    runs: int
    lost: int
    iqm: Estimate
    improvement: Estimate | None
    p: float
    profile: list[Estimate] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Aggregates:
    """The compared ways, and the tasks.

    Attributes:
        ways: by falling interquartile mean.
        baseline: the way that the others are compared with; None if there is none.
        settings: the sparsities of each setting among the tasks.
        left_out: number of tasks on which some way has no finished run.
        over: what the intervals are over, in words.
        headline: the metric, in whose own unit the means and the thresholds are.
    """

    ways: list[Aggregate]
    baseline: str | None
    settings: dict[str, list[float]]
    left_out: int
    over: str
    headline: Headline = ACCURACIES

    @property
    def tasks(self) -> int:
        """Number of tasks: settings × sparsities on which all ways have a finished run."""
        return sum(map(len, self.settings.values()))

    @property
    def thresholds(self) -> list[float]:
        """The thresholds of the profiles, from bad to good."""
        return [self.headline.own(float(one)) for one in _thresholds(self.headline)]


def _thresholds(headline: Headline) -> Array:
    """Thresholds from the worst to the best value, as the columns hold them; of accuracies from 0 to 1."""
    if headline.is_accuracy:
        return THRESHOLDS
    spread: Array = headline.worst + THRESHOLDS * headline.range
    return spread


def aggregate(connection: duckdb.DuckDBPyConnection, baseline: str | None = None) -> Aggregates:
    """The aggregates of all ways to choose the mask, over the tasks on which all ways have a finished run.

    Args:
        baseline: a criterion, criterion:scope, or a way as the answer names it. Default: random pruning, with
            scope ERK if there are several scopes.

    Raises:
        BadInput: no task is common to all ways, or the baseline matches no way, or several.
    """
    return aggregate_cells(
        ask(connection, "cells"),
        baseline,
        tested=not unfinished(connection),
        headline=headline(connection),
    )


def aggregate_cells(
    cells: Sequence[Cell],
    baseline: str | None = None,
    tested: bool = True,
    headline: Headline = ACCURACIES,
) -> Aggregates:
    """The same, from the rows of queries/cells.sql.

    Args:
        tested: False: nothing is tested, because a study is unfinished.
    """
    arms = {row["arm"]: json.loads(row["arm"]) for row in cells}
    settings = {arm: known.setting for arm, known in label(arms).items()}
    choices = {arm: {k: config[k] for k in config if is_among(k, CHOICE)} for arm, config in arms.items()}
    names = _names(arms, choices)
    ways = sorted(set(names.values()))
    index = {task: number for number, task in enumerate(_common_tasks(cells, names, ways))}
    of_way: dict[str, list[Cell]] = defaultdict(list)
    sparsities: dict[str, set[float]] = defaultdict(set)
    for row in cells:
        if _task(row) in index:
            of_way[names[row["arm"]]].append(row)
            sparsities[settings[row["arm"]]].add(row["sparsity"])
    runs, draws = _drawn(of_way, arms, index)
    chosen = _baseline(baseline, ways, arms, names)
    aggregates = [
        _aggregate(
            way, runs[way], sum(row["lost"] for row in of_way[way]), runs.get(chosen or ""), draws, headline
        )
        for way in ways
    ]
    if chosen is not None and any(one.lost for one in aggregates):
        guessed = {way: [with_lost(row, headline) for row in rows] for way, rows in of_way.items()}
        _hold_at_chance(aggregates, chosen, *_drawn(guessed, arms, index))
    for one, p in zip(aggregates, holm([one.p if tested else math.nan for one in aggregates]), strict=True):
        one.p = p
    return Aggregates(
        ways=sorted(aggregates, key=lambda one: -one.iqm.value * headline.sign),
        baseline=chosen,
        settings={setting: sorted(sparsities[setting]) for setting in sorted(sparsities)},
        left_out=len(set(map(_task, cells))) - len(index),
        over=over(row["arm"] for rows in of_way.values() for row in rows),
        headline=headline,
    )


def _task(row: Cell) -> Task:
    return row["place"], row["sparsity"]


def _common_tasks(cells: Sequence[Cell], names: Mapping[str, str], ways: Sequence[str]) -> list[Task]:
    """The tasks on which all ways have a finished run, sorted.

    Raises:
        BadInput: there is none.
    """
    finished = {(names[row["arm"]], _task(row)) for row in cells if row["seeds"]}
    ways_on = Counter(task for _, task in finished)
    common = sorted(task for task, count in ways_on.items() if count == len(ways))
    if not common:
        counts = Counter(way for way, _ in finished)
        each = ", ".join(f"{way} ({counts[way]})" for way in ways[:8]) + (", …" if len(ways) > 8 else "")
        raise BadInput(
            f"no setting and sparsity that all {len(ways)} ways have finished trials of: {each}; "
            "choose some with --where \"criterion IN ('snip', 'random')\""
        )
    return common


def _names(arms: dict[str, dict[str, Any]], choices: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The way of each arm: the label that it would have if all arms were in one setting."""
    if not arms:
        return {}
    rest = {key: value for key, value in next(iter(arms.values())).items() if not is_among(key, CHOICE)}
    alike = {arm: json.dumps(rest | choice, sort_keys=True) for arm, choice in choices.items()}
    known = label(alike.values())
    return {arm: known[text].name for arm, text in alike.items()}


def _drawn(
    of_way: dict[str, list[Cell]],
    arms: dict[str, dict[str, Any]],
    index: dict[Task, int],
) -> tuple[dict[str, Runs], Draws]:
    """The runs of each way, and the draws of seeds that they share.

    Args:
        of_way: the rows of each way.
        arms: configs by arm.
        index: number of each task.
    """
    strata: dict[tuple[str, str], int] = {}
    draws: dict[tuple[int, int], int] = {}
    stratum_of: dict[int, int] = {}
    runs = {}
    for way, rows in of_way.items():
        parts = []
        for row in (row for row in rows if row["seeds"]):
            config = arms[row["arm"]]
            stratum = strata.setdefault((config["dataset"], config["model"]), len(strata))
            task = index[_task(row)]
            stratum_of[task] = stratum
            parts.append(
                (task, row["accuracies"], [draws.setdefault((stratum, s), len(draws)) for s in row["seeds"]])
            )
        counts = [len(part[1]) for part in parts]
        runs[way] = Runs(
            np.concatenate([np.array(part[1], dtype=float) for part in parts]),
            np.repeat([part[0] for part in parts], counts),
            np.concatenate([np.array(part[2]) for part in parts]),
            np.repeat(1 / (len(index) * np.array(counts)), counts),
        )
    share = np.bincount(list(stratum_of.values()), minlength=len(strata)) / len(index)
    return runs, Draws(np.array([stratum for stratum, _ in draws]), share)


def _aggregate(
    way: str, runs: Runs, lost: int, baseline: Runs | None, draws: Draws, headline: Headline
) -> Aggregate:
    iqm, influence = interquartile_mean(runs.accuracy, runs.weight)
    interval = mean_interval(iqm, *draws.error([runs], [influence]), bounds=headline.bounds)
    low, high = headline.ends(interval.low, interval.high)
    improvement, p = None, math.nan
    if baseline is not None and baseline is not runs:
        improvement, p = _improvement(runs, baseline, draws)
    # Equal numbers of runs above two thresholds are the same runs.
    known: dict[int, Estimate] = {}
    profile = []
    for threshold in _thresholds(headline):
        above = runs.accuracy > threshold
        count = int(above.sum())
        if count not in known:
            known[count] = draws.share_interval(mean_share(runs, above), [runs], [above.astype(float)])[0]
        profile.append(known[count])
    return Aggregate(
        way=way,
        runs=len(runs.accuracy),
        lost=lost,
        iqm=Estimate(headline.own(interval.value), low, high, headline.digits),
        improvement=improvement,
        p=p,
        profile=profile,
    )


def _hold_at_chance(
    aggregates: Sequence[Aggregate], baseline: str, guessed: Mapping[str, Runs], draws: Draws
) -> None:
    """Set each p-value to one that also holds with the lost runs at the accuracy of chance.

    Args:
        guessed, draws: the runs of each way, with the lost ones at chance, and their draws.
    """
    for one in aggregates:
        if one.way != baseline:
            one.p = held(one.improvement, one.p, *_improvement(guessed[one.way], guessed[baseline], draws))


def _improvement(runs: Runs, baseline: Runs, draws: Draws) -> tuple[Estimate, float]:
    """Probability that a run is better than a run of the baseline (Mann & Whitney 1947), mean over tasks."""
    mine, theirs = np.empty(len(runs.accuracy)), np.empty(len(baseline.accuracy))
    of_task, of_baseline = (
        np.split(np.arange(len(one.task)), np.flatnonzero(np.diff(one.task)) + 1) for one in (runs, baseline)
    )
    by_task = {int(baseline.task[others[0]]): others for others in of_baseline}
    for these in of_task:
        others = by_task[int(runs.task[these[0]])]
        won = wins(runs.accuracy[these], baseline.accuracy[others])
        mine[these], theirs[others] = won.mean(1), won.mean(0)
    return draws.share_interval(mean_share(runs, mine), [runs, baseline], [mine, theirs])


def _baseline(
    name: str | None, ways: Sequence[str], arms: dict[str, dict[str, Any]], names: dict[str, str]
) -> str | None:
    """The way that a --baseline names, or the default: a random one; None if there is none."""
    if name in ways:
        return name
    wanted = name or "random"
    matching = sorted(
        {
            names[arm]
            for arm, config in arms.items()
            if wanted in (config["criterion"], f"{config['criterion']}:{config['scope']}")
        }
    )
    if name is None:
        return next(iter(matching), None)
    if len(matching) != 1:
        why = f"several ways ({', '.join(matching)}): name one" if matching else "no trials of it"
        raise BadInput(f"--baseline {name}: {why}; there are: {', '.join(ways)}")
    return matching[0]
