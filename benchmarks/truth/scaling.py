"""Laws of loss: whether intervals hold the planted parameters, and how often the wrong size is said to fit better."""

import itertools
from collections.abc import Iterator

import numpy as np

from analysis.statistics.laws import NAMES, Losses, contrast
from benchmarks.truth.table import Row

# E, A, B, α and β.
PLANTED = (0.2, 30.0, 40.0, 0.45, 0.5)
_KEPT = (1e5, 5e4, 2e4, 8e3)


def loss(size, data, planted=PLANTED):
    """The planted law."""
    e, a, b, alpha, beta = planted
    return e + a / size**alpha + b / data**beta


def study(draws: np.random.Generator, seeds: int, noise: float = 0.03, truth: str = "mean"):
    """Losses, mean sizes and final sizes of a study: two journeys to each final size, four lengths.

    With the truth "between" the two sizes of one journey are those of the other, changed about: the size that
    counts is their geometric mean, so that neither fits better. Half as much noise as each trial has for itself is the seed's, in all its trials alike.
    """
    rows = []
    for cell, (data, kept, journey) in enumerate(
        itertools.product((4e3, 8e3, 16e3, 32e3), _KEPT, (1.0, 1.7))
    ):
        rows += [(min(kept * journey, 1e5), kept, data, seed, cell) for seed in range(seeds)]
    mean, kept, data, seed, cell = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    if truth == "between":
        final = np.where(cell % 2 == 0, 1.7 * kept, kept)
        mean, kept = np.where(cell % 2 == 0, kept, 1.7 * kept), final
    size = {"mean": mean, "final": kept, "between": np.sqrt(mean * kept)}[truth]
    effects = draws.normal(0, noise / 2, seeds)[seed.astype(int)]
    noisy = loss(size, data) * np.exp(effects + draws.normal(0, noise, len(size)))
    return Losses(noisy, data, seed.astype(int), cell.astype(int)), mean, kept


def rows(replications: int) -> Iterator[Row]:
    streams = map(np.random.default_rng, itertools.count())
    for seeds in (3, 4):
        random, held, wrong = next(streams), np.zeros(len(NAMES), int), 0
        for _ in range(replications):
            losses, mean, kept = study(random, seeds)
            [found] = contrast([losses], [mean], [kept])
            held += [
                one.low <= truth <= one.high
                for one, truth in zip(found.first.parameters, PLANTED, strict=True)
            ]
            wrong += found.verdict < 0
        planted = f"32 cells, noise 3 %, of seeds 1.5 %; {seeds} seeds"
        for name, hits in zip(NAMES, held, strict=True):
            yield Row(13, f"{name} covered", planted, "at least", 0.95, int(hits), replications)
        yield Row(13, "the wrong size fits better", planted, "at most", 0.025, wrong, replications)
    random, said = next(streams), 0
    for _ in range(replications):
        losses, mean, kept = study(random, 3, truth="between")
        said += contrast([losses], [mean], [kept])[0].verdict != 0
    yield Row(
        13,
        "one of two equal sizes fits better",
        "each is the other, changed about; 3 seeds",
        "at most",
        0.05,
        said,
        replications,
    )
