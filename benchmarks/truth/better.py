"""P(A > B) over unpaired and paired runs: its interval, and how often it is said where it is not so."""

import itertools
import json
import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import ndtr

from analysis.questions import better
from analysis.statistics.estimates import Estimate
from benchmarks.truth.aggregate import cells, without_worst
from benchmarks.truth.table import Row

Runs = Callable[[np.random.Generator, int], np.ndarray]


def normal(shift: float = 0.0, spread: float = 1.0) -> Runs:
    return lambda random, seeds: shift + spread * random.normal(size=seeds)


def rounded(random: np.random.Generator, seeds: int) -> np.ndarray:
    """As few test images leave them: ties."""
    return np.round(random.normal(size=seeds))


def collapsing(random: np.random.Generator, seeds: int) -> np.ndarray:
    """One run in five ends at chance."""
    return random.normal(size=seeds) - 10 * (random.random(seeds) < 0.2)


def above_chance(random: np.random.Generator, seeds: int) -> np.ndarray:
    """Three runs in five end above chance, the others there."""
    return random.random(seeds) * (random.random(seeds) < 0.6)


def at_chance(random: np.random.Generator, seeds: int) -> np.ndarray:
    return np.zeros(seeds)


PLANTED: tuple[tuple[str, Runs, Runs, float], ...] = (
    ("equal", normal(), normal(), 0.5),
    ("normal", normal(0.954), normal(), float(ndtr(0.954 / math.sqrt(2)))),
    ("normal", normal(2.0), normal(), float(ndtr(math.sqrt(2)))),
    ("three times the spread", normal(0, 3), normal(), 0.5),
    ("three times the spread", normal(2.2, 3), normal(), float(ndtr(2.2 / math.sqrt(10)))),
    ("ties", rounded, rounded, 0.5),
    ("one run in five collapses", collapsing, normal(), 0.4),
    ("runs at chance", above_chance, at_chance, 0.8),
)


def covers(estimate: Estimate, value: float) -> bool:
    return estimate.low is not None and estimate.high is not None and estimate.low <= value <= estimate.high


def study(random: np.random.Generator, seeds: int, one: Runs, other: Runs) -> list[dict[str, object]]:
    """Two criteria that are the same at six sparsities, as queries/cells.sql has them."""
    return [
        {
            "arm": json.dumps({"criterion": criterion, "dataset": "digits", "epochs": 1, "iterations": 1, "model": "m",
                               "prune_epoch": 0, "scope": "global"}),
            "place": 0, "sparsity": sparsity, "lost": 0, "seeds": list(range(seeds)),
            "accuracies": list(runs(random, seeds)),
            "is_first": criterion == "snip", "is_second": criterion == "random",
        }
        for criterion, runs in (("snip", one), ("random", other))
        for sparsity in (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
    ]  # fmt: skip


def rows(replications: int) -> Iterator[Row]:
    streams = map(np.random.default_rng, itertools.count())
    for name, one, other, chance in PLANTED:
        for seeds in (3, 5, 10, 20):
            random = next(streams)
            drawn = [(one(random, seeds), other(random, seeds)) for _ in range(replications)]
            hits = sum(covers(better.unpaired(a, b)[0], chance) for a, b in drawn)
            planted = f"{name}, {chance:.2f}, {seeds} seeds"
            yield Row(13, "P(A > B) covered, any seeds", planted, "at least", 0.94, hits, replications)
    for name, one, other, chance in (PLANTED[0], PLANTED[3], PLANTED[5]):
        random = next(streams)
        drawn = [(one(random, 5), other(random, 20)) for _ in range(replications)]
        hits = sum(covers(better.unpaired(a, b)[0], chance) for a, b in drawn)
        planted = f"{name}, {chance:.2f}, 5 seeds against 20"
        yield Row(13, "P(A > B) covered, any seeds", planted, "at least", 0.94, hits, replications)
    random = next(streams)
    wrong = 0
    for _ in range(replications):
        lossy = without_worst(cells(random, {"random": 0.0, "snip": 0.0}, 10), "snip")
        sides = [row | {f"is_{side}": f'"{criterion}"' in row["arm"] for side, criterion in
                        (("first", "snip"), ("second", "random"))} for row in lossy]  # fmt: skip
        wrong += any("better" in found.verdict for found in better.compare(sides)[0])
    planted = "equal; one loses its worst 16 %, 10 seeds"
    yield Row(9, "better is said", planted, "at most", 0.05, wrong, replications)
    for name, one, other, chance in (PLANTED[0], PLANTED[1], PLANTED[5], PLANTED[7]):
        for seeds in (5, 10, 20):
            random = next(streams)
            drawn = [one(random, seeds) - other(random, seeds) for _ in range(replications)]
            hits = sum(covers(better.paired(differences), chance) for differences in drawn)
            planted = f"{name}, {chance:.2f}, {seeds} seeds"
            yield Row(13, "P(A > B) covered, the same seed", planted, "at least", 0.95, hits, replications)
    for name, one in (("equal", normal()), ("three times the spread", normal(0, 3))):
        for seeds in (5, 10, 20):
            random = next(streams)
            hits = sum(
                any(
                    found.verdict != "not told apart"
                    for found in better.compare(study(random, seeds, one, normal()))[0]
                )
                for _ in range(replications)
            )
            planted = f"{name}, six sparsities, {seeds} seeds"
            yield Row(
                13, "better or worse said where it is one half", planted, "at most", 0.05, hits, replications
            )
