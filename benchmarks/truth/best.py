"""The best of several: its test accuracy though it was chosen, and who is tied with it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis.statistics.ranking import Place, certainly_worse, selected_test
from benchmarks.truth.table import Row

# Correlation of validation and test accuracy of one run.
_SHARED = 0.85
# Standard deviation of both, between seeds.
_NOISE = 0.02


def rows(replications: int) -> Iterator[Row]:
    random = np.random.default_rng(3)
    for arms, seeds in ((2, 5), (20, 5), (50, 5), (20, 20)):
        for gap in (0, 0.5):
            means = 0.5 + _NOISE * gap * np.linspace(-1, 0, arms)
            held = sum(_covered(random, means, seeds) for _ in range(replications))
            planted = f"{arms} schedules up to {gap:g} sd apart, {seeds} seeds"
            yield Row(
                6, "the winner's test interval holds its mean", planted, "at least", 0.95, held, replications
            )
    for arms, seeds in ((5, 5), (10, 5), (20, 5), (50, 5), (20, 20)):
        out = sum(
            bool(certainly_worse([_place(random, np.full(arms, 0.5), seeds)])) for _ in range(replications)
        )
        planted = f"{arms} equal schedules, {seeds} seeds"
        yield Row(9, "some schedule is not tied", planted, "about", 0.05, out, replications)
    for places in (6, 24):
        out = sum(
            bool(certainly_worse([_place(random, np.full(8, 0.5), 5) for _ in range(places)]))
            for _ in range(replications)
        )
        planted = f"8 equal schedules at {places} places, 5 seeds"
        yield Row(8, "some schedule is not tied", planted, "at most", 0.05, out, replications)


def _place(random: np.random.Generator, means: np.ndarray, seeds: int) -> Place:
    shared, own, tested = _NOISE * random.normal(size=(3, len(means), seeds))
    validation, test = (
        means[:, None] + _SHARED**0.5 * shared + (1 - _SHARED) ** 0.5 * noise for noise in (own, tested)
    )
    return Place.of([_row(f"{arm:03d}", validation[arm], test[arm]) for arm in range(len(means))])


def _row(arm: str, validation: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    return {
        "arm": arm,
        "trials": len(validation),
        "validation_accuracy": float(validation.mean()),
        "validation_accuracies": list(map(float, validation)),
        "test_accuracies": list(map(float, test)),
        "seeds": list(range(len(validation))),
        "lost_seeds": None,
    }


def _covered(random: np.random.Generator, means: np.ndarray, seeds: int) -> bool:
    place = _place(random, means, seeds)
    interval = selected_test(place.candidates)
    assert interval is not None
    return interval[0] <= means[int(place.candidates[0]["arm"])] <= interval[1]
