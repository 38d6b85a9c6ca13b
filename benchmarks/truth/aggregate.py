"""Aggregates over settings and sparsities: interquartile mean, probability of improvement, profiles."""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy.special import ndtr

from analysis.statistics import aggregates
from analysis.statistics.draws import interquartile_mean
from benchmarks.truth.table import Row

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
SPARSITIES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
# Standard deviation of a run.
SPREAD = 0.02


def normal(random: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return random.normal(size=size)


def heavy(random: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return random.standard_t(3, size) / math.sqrt(3)


def skewed(random: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Lognormal with its tail downwards."""
    return (math.exp(0.5) - np.exp(random.normal(size=size))) / math.sqrt((math.e - 1) * math.e)


def cells(
    random: np.random.Generator,
    ways: Mapping[str, float],
    seeds: int,
    noise: Noise = normal,
    shared: float = 0.0,
    models: int = 1,
    fewer: int | None = None,
) -> list[dict[str, Any]]:
    """A study as queries/cells.sql has it.

    Args:
        ways: criterion → by how many standard deviations of a run it is better.
        shared: share of the variance that is the seed's, the same for all criteria and sparsities of a model.
        fewer: seeds at all sparsities but the lowest; None: as many.
    """
    found = []
    for model in range(models):
        common = noise(random, (seeds,))
        for way, better in ways.items():
            arm = {"criterion": way, "dataset": "digits", "epochs": 1, "iterations": 1, "model": f"m{model}"}
            own = noise(random, (len(SPARSITIES), seeds))
            for index, sparsity in enumerate(SPARSITIES):
                run = math.sqrt(1 - shared) * own[index] + math.sqrt(shared) * common
                mean = 0.6 - 0.03 * index - 0.01 * model
                count = fewer if fewer and index else seeds
                found.append(
                    {
                        "arm": json.dumps(arm | {"prune_epoch": 0, "scope": "global"}, sort_keys=True),
                        "place": model,
                        "sparsity": sparsity,
                        "lost": 0,
                        "seeds": list(range(count)),
                        "accuracies": list(mean + SPREAD * (better + run[:count])),
                    }
                )
    return found


def without_worst(study: list[dict[str, Any]], way: str) -> list[dict[str, Any]]:
    """The same where a way loses its runs a standard deviation below its mean: one in six."""
    found = []
    for row in study:
        worst = 0.6 - 0.03 * SPARSITIES.index(row["sparsity"]) - SPREAD
        runs = list(zip(row["seeds"], row["accuracies"], strict=True))
        if json.loads(row["arm"])["criterion"] == way:
            lost = [seed for seed, accuracy in runs if accuracy < worst]
            runs = [(seed, accuracy) for seed, accuracy in runs if accuracy >= worst]
            row = row | {"lost": len(lost), "lost_seeds": lost}
        found.append(row | {"seeds": [s for s, _ in runs], "accuracies": [a for _, a in runs]})
    return found


def truth(noise: Noise, shared: float, models: int, threshold: float) -> tuple[float, float]:
    """Interquartile mean and share of runs above a threshold, of very many seeds."""
    many = cells(np.random.default_rng(1), {"snip": 0.0}, 50_000, noise, shared, models)
    runs = np.concatenate([row["accuracies"] for row in many])
    mean, _ = interquartile_mean(runs, np.full(len(runs), 1 / len(runs)))
    return mean, float((runs > threshold).mean())


def covers(estimate: Any, value: float) -> bool:
    return estimate.low is not None and estimate.low <= value <= estimate.high


def rows(replications: int) -> Iterator[Row]:
    streams = map(np.random.default_rng, itertools.count())
    place = 50
    threshold = float(aggregates.THRESHOLDS[place])
    for name, noise, seeds, shared, models, stated in (
        ("normal, 5 seeds", normal, 5, 0.0, 1, 0.94),
        ("normal, seed effects, 3 seeds", normal, 3, 0.5, 1, 0.94),
        ("normal, seed effects, 10 seeds", normal, 10, 0.5, 1, 0.94),
        ("normal, seed effects, 4 models, 3 seeds", normal, 3, 0.5, 4, 0.94),
        ("t3, seed effects, 5 seeds", heavy, 5, 0.5, 1, 0.94),
        ("lognormal, seed effects, 5 seeds", skewed, 5, 0.5, 1, 0.87),
    ):
        random = next(streams)
        mean, above = truth(noise, shared, models, threshold)
        hits = shares = 0
        for _ in range(replications):
            [one] = aggregates.aggregate_cells(
                cells(random, {"snip": 0.0}, seeds, noise, shared, models)
            ).ways
            hits += covers(one.iqm, mean)
            shares += covers(one.profile[place], above)
        yield Row(13, "interquartile mean covered", name, "at least", stated, hits, replications)
        yield Row(13, "performance profile covered", name, "at least", 0.95, shares, replications)
    for better, seeds, shared in ((0.0, 5, 0.5), (0.954, 3, 0.5), (0.954, 10, 0.0), (2.326, 5, 0.0)):
        random = next(streams)
        chance = float(ndtr(better / math.sqrt(2)))
        hits = 0
        for _ in range(replications):
            study = cells(random, {"random": 0.0, "snip": better}, seeds, normal, shared)
            [found] = [one.improvement for one in aggregates.aggregate_cells(study).ways if one.improvement]
            hits += covers(found, chance)
        planted = f"{chance:.2f}, {seeds} seeds" + (", seed effects" if shared else "")
        yield Row(13, "probability of improvement covered", planted, "at least", 0.95, hits, replications)
    for few, shared in ((3, 0.0), (5, 0.5)):
        random = next(streams)
        mean, _ = truth(normal, shared, 1, threshold)
        covered = wrong = 0
        for _ in range(replications):
            study = cells(random, {"random": 0.0, "snip": 0.0}, 20, normal, shared, fewer=few)
            [snip] = [one for one in aggregates.aggregate_cells(study).ways if one.improvement]
            covered += covers(snip.iqm, mean)
            wrong += snip.p < 0.05
        planted = f"20 seeds at one sparsity, {few} at five" + (", seed effects" if shared else "")
        yield Row(13, "interquartile mean covered", planted, "at least", 0.94, covered, replications)
        yield Row(13, "some improvement certain", planted, "at most", 0.05, wrong, replications)
    random = next(streams)
    wrong = 0
    for _ in range(replications):
        study = without_worst(cells(random, {"random": 0.0, "snip": 0.0}, 10), "snip")
        [snip] = [one for one in aggregates.aggregate_cells(study).ways if one.improvement]
        wrong += snip.p < 0.05 and snip.improvement.value > 0.5
    planted = "equal; one loses its worst 16 %, 10 seeds"
    yield Row(9, "certainly above one half", planted, "at most", 0.05, wrong, replications)
    random = next(streams)
    ways = dict.fromkeys(("random", "snip", "force", "grasp", "magnitude"), 0.0)
    hits = sum(
        any(one.p < 0.05 for one in aggregates.aggregate_cells(cells(random, ways, 5, normal, 0.5)).ways)
        for _ in range(replications)
    )
    yield Row(
        13,
        "some improvement certain",
        "5 equal ways, seed effects, 5 seeds",
        "at most",
        0.05,
        hits,
        replications,
    )
