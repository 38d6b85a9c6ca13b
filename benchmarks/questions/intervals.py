"""The best of several, differences and correlations: wrong answers, coverage, trials."""

import functools
import math
from collections.abc import Callable, Iterator
from multiprocessing.pool import Pool

import numpy as np

from sweep.questions.best import Best
from sweep.questions.correlation import Correlation
from sweep.questions.difference import Difference
from sweep.questions.planner import ALPHA, Wanted
from sweep.questions.simulation import simulated

# Gaps to the best arm in standard deviations of a paired difference; trials as they were planned.
RACES = {
    (0, 1, 2, 3, 5, 8): 47,
    (0, 0.1, 0.2, 1, 2, 4): 125,
    (0, 0.2, 8, 8, 8, 8): 75,
    (0, 0.5, 0.5, 0.5, 0.5, 0.5): 133,
    (0, 0, 0, 0, 0, 0): 243,
}
NOISES: dict[str, Callable[[np.random.Generator], float]] = {
    "normal": lambda random: random.standard_normal(),
    "t3": lambda random: random.standard_t(3) / math.sqrt(3),
}
RATIOS = {1: 8.5, 2: 18.8, 3: 39.2}
ARMS = tuple("abcdef")


def raced(gaps: tuple[float, ...], noise: str, number: int) -> tuple[bool, int]:
    """Whether the answer of a race is wrong, and its trials."""
    random = np.random.default_rng([number, 1])
    means = dict(zip(ARMS, gaps, strict=True))

    def draw(trial: Wanted) -> float:
        return -means[trial.arm] + NOISES[noise](random) / math.sqrt(2)

    answer, trials, _ = simulated(Best(arms=ARMS, places=(0.98,), within=0.5, cap=500), {}, draw, 8)
    [remaining] = answer.numbers["best"].values()
    lost = not any(means[arm] == 0 for arm in remaining)
    return lost or means[remaining[0]] > 0.5 + 1e-9, trials


def differed(ratio: float, noise: str, number: int) -> tuple[bool, int]:
    """Whether the interval of a difference of 0 leaves it out, and the seeds."""
    random = np.random.default_rng([number, 2])

    def draw(trial: Wanted) -> float:
        return ratio * NOISES[noise](random) * (trial.arm == "a")

    question = Difference(first="a", second="b", place=0.98, within=1.0, cap=1_000)
    answer, trials, _ = simulated(question, {}, draw, 2)
    low, high = answer.numbers["interval"]
    return not low <= 0 <= high, trials // 2


def signed(effect: float, noise: str, number: int) -> tuple[bool, int]:
    """Whether the sign of a difference is wrong, or certain though there is none, and the seeds."""
    random = np.random.default_rng([number, 3])

    def draw(trial: Wanted) -> float:
        return (effect + NOISES[noise](random)) * (trial.arm == "a")

    answer, trials, _ = simulated(Difference(first="a", second="b", place=0.98, cap=100), {}, draw, 8)
    sign = answer.numbers["sign"]
    return sign != 0 and sign * effect <= 0, trials // 2


def correlated(correlation: float, arms: int, number: int) -> tuple[bool, int]:
    """Whether the interval of τ leaves it out, and the seeds."""
    random = np.random.default_rng([number, 4])

    def draw(trial: Wanted) -> tuple[float, float]:
        one, other = random.standard_normal(2)
        return float(one), float(correlation * one + math.sqrt(1 - correlation**2) * other)

    question = Correlation(arms=ARMS[:arms], place=0.98, within=0.15)
    answer, trials, _ = simulated(question, {}, draw, 8)
    low, high = answer.numbers["interval"]
    return not low <= 2 / math.pi * math.asin(correlation) <= high, trials // arms


def rows(replications: int, pool: Pool) -> Iterator[tuple[str, bool]]:
    """Lines of the tables, and whether what they say holds."""
    for gaps, known in RACES.items():
        for noise in NOISES:
            name = f"best of six, {', '.join(f'{gap:g}' for gap in gaps)} sd behind, {noise}"
            run = functools.partial(raced, gaps, noise)
            yield _row(name, run, replications, pool, f"trials (planned: {known})")
    for ratio, known_seeds in RATIOS.items():
        for noise in NOISES:
            run = functools.partial(differed, ratio, noise)
            name = f"difference, sd {ratio} widths, {noise}"
            yield _row(name, run, replications, pool, f"seeds (planned: {known_seeds})")
    for effect in (0.0, 0.75, 2.0):
        for noise in NOISES:
            run = functools.partial(signed, effect, noise)
            yield _row(f"sign, mean {effect:g} sd, {noise}", run, replications, pool, "seeds")
    for correlation in (0.0, 0.8):
        run = functools.partial(correlated, correlation, 4)
        yield _row(f"correlation, r = {correlation:g}, 4 arms", run, replications, pool, "seeds")


def _row(
    name: str, run: Callable[[int], tuple[bool, int]], replications: int, pool: Pool, unit: str
) -> tuple[str, bool]:
    ends = pool.map(run, range(replications), chunksize=5)
    wrong, trials = np.mean([end[0] for end in ends]), [end[1] for end in ends]
    # Of intervals that are to hold 95 %, as many as chance allows may fail.
    holds = wrong <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / replications)
    mean = f"{np.mean(trials):6.1f} ({np.quantile(trials, 0.9):.0f}) {unit}"
    return f"{name:<58} wrong {100 * wrong:4.1f} %  {mean}{'' if holds else ' DOES NOT HOLD'}", bool(holds)
