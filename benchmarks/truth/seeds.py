"""How many seeds a difference needs: the power that they have, and whether the upper figure is one."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from analysis.questions import seeds
from benchmarks.truth.table import Row

LEVEL = 0.05 / 6


def rows(replications: int) -> Iterator[Row]:
    streams = map(np.random.default_rng, itertools.count())
    for effect in (2.0, 1.0, 0.5):
        [needed] = seeds.needed(np.array([effect]), np.array([LEVEL]))
        random = next(streams)
        drawn = effect + random.normal(size=(replications, needed))
        hits = int((stats.ttest_1samp(drawn, 0, axis=1).pvalue < LEVEL).sum())
        planted = f"{effect:g} standard deviations, {needed} seeds, level .05/6"
        # 0.80 at least: the last seed may be more than is needed.
        yield Row(13, "difference found", planted, "at least", seeds.POWER, hits, replications)
    draws: tuple[tuple[str, Callable[..., np.ndarray], float, float], ...] = (
        ("normal", lambda random, size: random.normal(size=size), 1.0, 0.8),
        ("t5", lambda random, size: random.standard_t(5, size), np.sqrt(5 / 3), 0.64),
        (
            "lognormal",
            lambda random, size: np.exp(random.normal(size=size) / 2),
            np.sqrt((np.exp(0.25) - 1) * np.exp(0.25)),
            0.64,
        ),
    )
    for name, draw, deviation, stated in draws:
        for count in (3, 5, 10, 20):
            random = next(streams)
            drawn = draw(random, (replications, count))
            highest = seeds.upper(drawn.std(1, ddof=1), np.full(replications, count))
            levels = np.full(replications, LEVEL)
            upper = seeds.needed(deviation / 2 / highest, levels)
            [needed] = seeds.needed(np.array([0.5]), levels[:1])
            hits = int((upper >= needed).sum())
            planted = f"{name} differences, {count} seeds seen"
            yield Row(13, "upper figure is enough", planted, "at least", stated, hits, replications)
