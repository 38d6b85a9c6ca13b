"""Which way to choose the mask does best over many settings and sparsities? Aggregates, over seeds.

Agarwal et al. (2021), 'Deep Reinforcement Learning at the Edge of the Statistical Precipice': interquartile
mean, probability of improvement, performance profiles. A task is a setting at a sparsity.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from analysis.questions.estimates import (
    Estimate,
    at_chance,
    columns,
    held,
    number,
    over,
    score_interval,
    wins,
)
from analysis.questions.statistics import Array, certain, holm
from analysis.warehouse import ask, unfinished
from analysis.warehouse.arms import label
from sweep.config import CHOICE
from sweep.errors import BadInput
from sweep.means import LEVEL

# Where a performance profile is looked at.
THRESHOLDS = np.arange(100) / 100
# Of the settings that an answer is over, so many are named.
_NAMED = 4
Cell = Mapping[str, Any]
Indices = npt.NDArray[np.int64]


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


@dataclass
class _Runs:
    """Finished runs of one way; each array has an element a run.

    Attributes:
        task: index of the task.
        draw: index of what the seed drew: runs of one seed on one data set and model share their
            initialization and order of data, and so are one draw.
        weight: 1 / (tasks × runs of this way on the task).
    """

    accuracy: Array
    task: Indices
    draw: Indices
    weight: Array

    @cached_property
    def counts(self) -> Indices:
        """Of each task, how many runs there are."""
        counts: Indices = np.bincount(self.task)
        return counts

    @cached_property
    def by_draw(self) -> Array:
        """Of each draw, the weight of its runs."""
        weights: Array = np.bincount(self.draw, self.weight).astype(np.float64)
        return weights

    @cached_property
    def _scale(self) -> Array:
        """Weights, larger where a task has few runs: deviations from their own mean are too small."""
        return self.weight * np.sqrt(self.counts / (self.counts - 1))[self.task]

    def centred(self, influence: Array) -> Array:
        """What each run adds to the error of a mean: its weight × deviation from its task's mean."""
        means = np.bincount(self.task, influence) / self.counts
        return self._scale * (influence - means[self.task])


@dataclass(frozen=True)
class _Draws:
    """Seeds as they were drawn.

    Attributes:
        stratum: of each draw, the index of its data set and model.
        share: of each stratum, its share of the tasks.
    """

    stratum: Indices
    share: Array

    def counts(self, runs: Sequence[_Runs]) -> Array:
        """Of each stratum, how many draws of one weight know as much of the error as those of these runs.

        As many as there are if all tasks have the same seeds; fewer if most of the weight is of few seeds
        (Satterthwaite 1946).
        """
        found = []
        for one in runs:
            weights = np.zeros(len(self.stratum))
            weights[: len(one.by_draw)] = one.by_draw**2
            found.append(np.bincount(self.stratum, weights) ** 2 / np.bincount(self.stratum, weights**2))
        least: Array = np.minimum.reduce(found)
        return least

    def error(self, runs: Sequence[_Runs], influences: Sequence[Array]) -> tuple[float, float]:
        """Standard error of a mean over tasks, and its degrees of freedom; NaN where a task has a single run.

        Linearized, and summed within draws: seeds are resampled, not runs, so that what a seed does to all
        sparsities and criteria alike does not count as many draws. Variances of the strata add up; degrees of
        freedom are Satterthwaite's (1946), 1 at least in each.

        Args:
            runs: whose runs the mean is over.
            influences: of each run on it.
        """
        if any((one.counts < 2).any() for one in runs):
            return math.nan, math.nan
        sums = np.zeros(len(self.stratum))
        for one, influence in zip(runs, influences, strict=True):
            sums += np.bincount(one.draw, one.centred(influence), minlength=len(sums))
        freedom = np.maximum(1, self.counts(runs) - 1)
        variances = np.bincount(self.stratum, sums**2)
        if variances.sum() <= 1e-24:
            return 0.0, float(freedom.sum())
        return math.sqrt(variances.sum()), float(variances.sum() ** 2 / (variances**2 / freedom).sum())

    def share_interval(
        self, share: float, runs: Sequence[_Runs], influences: Sequence[Array]
    ) -> tuple[Estimate, float]:
        """A share with its interval, and the p-value of its being ½; arguments else as for `error`.

        No share is less certain than one of as many draws as there are seeds, as if all runs of a seed were
        alike: that is taken for a share of 0 or 1, which has no spread to go by.
        """
        from scipy.special import stdtr, stdtrit

        error, freedom = self.error(runs, influences)
        if math.isnan(error):
            return Estimate(share), math.nan
        seeds = 1 / float((self.share**2 / self.counts(runs)).sum())
        size = max(seeds, share * (1 - share) / error**2) if error else seeds
        found = score_interval(share, size, float(stdtrit(freedom, (1 + LEVEL) / 2)))
        return found, float(2 * stdtr(freedom, -abs(share - 0.5) * 2 * math.sqrt(size)))


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
) -> tuple[dict[str, _Runs], _Draws]:
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
        found[way] = _Runs(
            np.concatenate([np.array(part[1], dtype=float) for part in parts]),
            np.repeat([part[0] for part in parts], counts),
            np.concatenate([np.array(part[2]) for part in parts]),
            np.repeat(1 / (len(index) * np.array(counts)), counts),
        )
    share = np.bincount(list(stratum_of.values()), minlength=len(strata)) / len(index)
    return found, _Draws(np.array([stratum for stratum, _ in draws]), share)


def _aggregate(way: str, runs: _Runs, lost: int, baseline: _Runs | None, draws: _Draws) -> Aggregate:
    iqm, influence = interquartile_mean(runs.accuracy, runs.weight)
    interval = _mean_interval(iqm, *draws.error([runs], [influence]))
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
            known[count] = draws.share_interval(_share(runs, above), [runs], [above.astype(float)])[0]
        profile.append(known[count])
    return Aggregate(way, len(runs.accuracy), lost, interval, improvement, p, profile)


def _hold(found: Sequence[Aggregate], chosen: str, guessed: Mapping[str, _Runs], draws: _Draws) -> None:
    """Let what is certain of an improvement be so with the lost runs at chance too."""
    for one in found:
        if one.way != chosen:
            one.p = held(one.improvement, one.p, *_improvement(guessed[one.way], guessed[chosen], draws))


def _mean_interval(mean: float, error: float, freedom: float) -> Estimate:
    """Student's, within [0, 1]; none where seeds that are all alike leave no spread to go by."""
    from scipy.special import stdtrit

    if math.isnan(error) or not error:
        return Estimate(mean)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))


def interquartile_mean(values: Array, weights: Array) -> tuple[float, Array]:
    """Mean of the middle half of a weighted sample, and the influence of each value on it.

    With equal weights, of a number of values that four divides, it is `scipy.stats.trim_mean(values, 0.25)`;
    a value that a quartile cuts counts with the part that is within. The influence is that of a trimmed mean:
    the value cut off at the quartiles, over the half that is kept (Tukey & McLaughlin 1963).

    Args:
        values: of each run.
        weights: of each; sum 1.
    """
    order = np.argsort(values, kind="stable")
    upper = np.cumsum(weights[order])
    kept = np.clip(upper, 0.25, 0.75) - np.clip(upper - weights[order], 0.25, 0.75)
    inside = np.flatnonzero(kept > 1e-12)
    low, high = values[order[inside[0]]], values[order[inside[-1]]]
    return float(kept @ values[order]) / float(kept.sum()), np.clip(values, low, high) / 0.5


def _improvement(runs: _Runs, baseline: _Runs, draws: _Draws) -> tuple[Estimate, float]:
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
    return draws.share_interval(_share(runs, mine), [runs, baseline], [mine, theirs])


def _share(runs: _Runs, parts: npt.NDArray[Any]) -> float:
    """The mean over tasks of what is in [0, 1] for each run; exactly 0 or 1 where it is so for all."""
    return round(float(runs.weight @ parts), 12)


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


def rows(found: Aggregates) -> list[dict[str, Any]]:
    """One row a way, as numbers: for files."""
    return [
        {
            "way": one.way,
            "tasks": found.tasks,
            "runs": one.runs,
            "lost": one.lost,
            **columns("iqm", one.iqm),
            "baseline": found.baseline,
            **columns("improvement", one.improvement),
            "p_holm": number(one.p),
        }
        for one in found.ways
    ]


def profiles(found: Aggregates) -> list[dict[str, Any]]:
    """One row a way and threshold: the share of its runs above."""
    return [
        {"way": one.way, "threshold": float(threshold), **columns("above", share)}
        for one in found.ways
        for threshold, share in zip(THRESHOLDS, one.profile, strict=True)
    ]


def sentences(found: Aggregates) -> list[str]:
    """What the aggregates are over, and what each way comes to."""
    said = [caption(found)]
    for one in found.ways:
        text = f"{one.way}: interquartile mean {one.iqm}"
        if one.iqm.low is None:
            text += " (no interval: a task with a single finished run, or seeds that are all alike)"
        if one.improvement is not None:
            text += f"; a run is better than one of {found.baseline} with probability {one.improvement}"
            side = "above" if one.improvement.value > 0.5 else "below"
            text += f", certainly {side} one half" if certain(one.p) else ", not told from one half"
        said.append(text + (f"; {one.lost} lost" if one.lost else ""))
    return said


def caption(found: Aggregates) -> str:
    """Over what the aggregates are, and their intervals, and how many tests were made."""
    named = [
        f"{setting} at {', '.join(f'{s:g}' for s in sparsities)}"
        for setting, sparsities in found.settings.items()
    ]
    more = f"; and {len(named) - _NAMED} settings more" if len(named) > _NAMED else ""
    tests = sum(not math.isnan(one.p) for one in found.ways)
    tasks = f"{found.tasks:,} task{'s' * (found.tasks != 1)} (setting × sparsity)"
    text = (
        f"Aggregates of test accuracy over {tasks} that all {len(found.ways)} ways have; no accuracy of any "
        f"arm. Tasks: {'; '.join(named[:_NAMED])}{more}. "
    )
    if found.left_out:
        text += f"Left out: {found.left_out:,}, of which not all ways have a finished run. "
    if any(one.lost for one in found.ways):
        text += "What is certain is so with the lost runs at chance too. "
    text += f"95 % intervals over {found.over}; runs of one seed on one data set and model are one draw. "
    if found.baseline is None:
        return f"{text}No baseline to improve on: name one with --baseline."
    if not tests:
        return f"{text}Nothing is tested: that takes two seeds, and a study that has ended."
    return f"{text}Certain is what holds at 5 % after Holm's correction for {tests} test{'s' * (tests != 1)}."
