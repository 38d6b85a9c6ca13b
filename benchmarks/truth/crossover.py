"""Crossovers: none is said where there is none, and where one is said the brackets hold it."""

from collections.abc import Callable, Iterator

import numpy as np

from analysis.questions.verdict import Crossover
from analysis.statistics.crossings import decide
from analysis.statistics.differences import paired
from benchmarks.truth.table import Row

QUICKSTART = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
# Grids of sparsities on which crossings are looked for.
GRIDS = {
    "the quickstart's grid": QUICKSTART,
    "grid .8 .9 .99 .999": (0.8, 0.9, 0.99, 0.999),
    "grid of halved densities": tuple(1 - 0.5**halvings for halvings in range(1, 10)),
    "grid .5 to .9 by .1, .95, .99": (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
}
Curve = Callable[[np.ndarray], np.ndarray]


def _sigmoids(root: float) -> Curve:
    """Two sigmoid accuracy curves whose difference is 0 at the root only, in log density."""
    at = np.log10(1 - root)

    def difference(logs: np.ndarray) -> np.ndarray:
        steep, shallow = 1 / (1 + np.exp(-9 * (logs - at))), 1 / (1 + np.exp(-3 * (logs - at)))
        return steep - shallow

    return difference


def _step(root: float) -> Curve:
    return lambda logs: np.where(logs > np.log10(1 - root), 0.05, -0.05)


def _line(root: float) -> Curve:
    return lambda logs: 0.2 * (logs - np.log10(1 - root))


def rows(replications: int) -> Iterator[Row]:
    random = np.random.default_rng(1)
    below = -np.array([0.1, 0.1, 0.1, 1, 3, 6])
    for seeds in (3, 5, 10, 20):
        said = sum(
            _verdict(QUICKSTART, [below + random.normal(size=(seeds, 6))]) in ("crossover", "several")
            for _ in range(replications)
        )
        planted = f"below everywhere, by .1 to 6 sd, {seeds} seeds"
        yield Row(1, "a crossover is said", planted, "at most", 0.05, said, replications)
    for shape, curve in (("sigmoids", _sigmoids), ("step", _step), ("line", _line)):
        for name, grid in GRIDS.items():
            root = 0.9868 if grid is QUICKSTART else 0.973
            said, held = _brackets(random, curve(root), root, grid, replications)
            # A method that never says one does not hold either.
            yield Row(
                2, "the bracket holds the crossing", f"{shape}, {name}", "at least", 0.9, held, max(1, said)
            )
    for pairs, settings in ((1, 1), (4, 1), (4, 4), (9, 4)):
        wrong = 0
        for _ in range(replications):
            # Pairs of a setting share the arm that they are compared with, as random pruning is.
            shared = random.normal(size=(settings, 1, 5, 6))
            values = random.normal(size=(settings, pairs, 5, 6)) - shared
            wrong += _any_certain(QUICKSTART, values.reshape(-1, 5, 6))
        planted = f"equal, 5 seeds, {pairs} pairs × {settings} settings × 6 sparsities"
        yield Row(8, "some difference is called certain", planted, "at most", 0.05, wrong, replications)


def _decided(grid: tuple[float, ...], pairs: np.ndarray | list[np.ndarray]) -> list[Crossover]:
    """Of pairs, each seeds × sparsities."""
    tested = [(grid, [paired(list(column)) for column in values.T], True) for values in pairs]
    return [Crossover("first", "second", differences) for differences in decide(tested)]


def _verdict(grid: tuple[float, ...], pairs: list[np.ndarray]) -> str:
    return _decided(grid, pairs)[0].verdict


def _any_certain(grid: tuple[float, ...], pairs: np.ndarray) -> bool:
    return any(d.sign for crossover in _decided(grid, pairs) for d in crossover.differences)


def _brackets(
    random: np.random.Generator, curve: Curve, root: float, grid: tuple[float, ...], replications: int
) -> tuple[int, int]:
    """Studies of 5 seeds with a point of noise in which a crossover is said, and in which its bracket is right."""
    truth = curve(np.log10(1 - np.array(grid)))
    said = held = 0
    for _ in range(replications):
        [found] = _decided(grid, [truth + 0.01 * random.normal(size=(5, len(grid)))])
        if crossings := found.crossings:
            said += 1
            held += len(crossings) == 1 and crossings[0].low < root < crossings[0].high
    return said, held
