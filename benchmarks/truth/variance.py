"""Standard deviations over seeds and their ratio: whether their intervals hold the planted one."""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from analysis.questions import variance
from analysis.statistics.estimates import Estimate
from benchmarks.truth.table import Row

Draw = Callable[[np.random.Generator, int], np.ndarray]
# Of accuracies; standard deviation 1 each; the share of intervals that hold it.
PLANTED: tuple[tuple[str, Draw, float], ...] = (
    ("normal", lambda random, count: random.normal(size=count), 0.95),
    ("uniform", lambda random, count: (random.random(count) - 0.5) * math.sqrt(12), 0.95),
    ("t5", lambda random, count: random.standard_t(5, count) / math.sqrt(5 / 3), 0.9),
    (
        "lognormal, σ = 0.5",
        lambda random, count: (
            np.exp(random.normal(size=count) / 2) / math.sqrt((math.exp(0.25) - 1) * math.exp(0.25))
        ),
        0.88,
    ),
)


def covers(estimate: Estimate | None, value: float) -> bool:
    return bool(
        estimate and estimate.low is not None and estimate.high and estimate.low <= value <= estimate.high
    )


def rows(replications: int) -> Iterator[Row]:
    streams = map(np.random.default_rng, itertools.count())
    for name, draw, stated in PLANTED:
        for seeds in (3, 5, 10, 20):
            random = next(streams)
            hits = ratios = 0
            for _ in range(replications):
                whole = variance.standard_deviation(draw(random, seeds))
                part = variance.standard_deviation(0.5 * draw(random, seeds))
                hits += covers(whole, 1.0)
                ratios += covers(variance.ratio(part, whole), 0.25)
            planted = f"{name}, {seeds} seeds"
            yield Row(13, "standard deviation covered", planted, "at least", stated, hits, replications)
            yield Row(13, "ratio of variances covered", planted, "at least", stated, ratios, replications)
