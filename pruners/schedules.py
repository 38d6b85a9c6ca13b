"""Schedules: how density falls over the pruning iterations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import floor

from pruners.scopes import Group


def _halving(t: int, total: int, final: float) -> float:
    """The first iteration removes half of the weights, each other half of what is left to remove."""
    first = 1 / 2 if final < 1 / 2 else 3 / 4
    return final + (first - final) * 0.5 ** (t - 1)


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {
    # iteration t of T, final density d  ->  density after iteration t
    "one-shot": lambda t, total, final: final,
    "exponential": lambda t, total, final: final ** (t / total),
    "linear": lambda t, total, final: 1 - t / total * (1 - final),
    # Zhu & Gupta 2017, 'To prune, or not to prune', from density 1.
    "cubic": lambda t, total, final: final + (1 - final) * (1 - t / total) ** 3,
    # Rachwan et al. 2022, EarlyCroP.
    "halving": _halving,
}


def kept_counts(schedule: str, total: int, kept: int, iterations: int) -> list[int]:
    """Weights kept of `total` after each of the iterations; never rising, exactly `kept` at the end.

    Counts in between are rounded down, as the code of de Jorge et al. 2021 does.
    """
    density = SCHEDULES[schedule]
    # 1e-9 guards products such as 0.1·1000 that floating point leaves just below a whole number.
    between = (floor(total * density(t, iterations, kept / total) + 1e-9) for t in range(1, iterations))
    return [max(kept, count) for count in between] + [kept]


def group_counts(
    schedule: str, groups: Sequence[Group], sizes: Mapping[str, int], iterations: int
) -> Iterator[tuple[int, ...]]:
    """Weights kept of each group after each of the iterations: each follows the schedule to its own count.

    Args:
        sizes: layer name → number of weights.
    """
    totals = (sum(sizes[layer] for layer in group.layers) for group in groups)
    counts = (
        kept_counts(schedule, total, group.kept, iterations)
        for total, group in zip(totals, groups, strict=True)
    )
    return zip(*counts, strict=True)
