"""Schedules: how density falls over the pruning iterations."""

from collections.abc import Callable
from math import floor

SCHEDULES: dict[str, Callable[[float, float], float]] = {
    # progress t/T in (0, 1], final density d  ->  density after iteration t
    "one-shot": lambda progress, final: final,
    "exponential": lambda progress, final: final**progress,
    "linear": lambda progress, final: 1 - progress * (1 - final),
    # Zhu & Gupta 2017, 'To prune, or not to prune', from density 1.
    "cubic": lambda progress, final: final + (1 - final) * (1 - progress) ** 3,
}


def kept_counts(schedule: str, total: int, kept: int, iterations: int) -> list[int]:
    """Weights kept of `total` after each of the iterations; never rising, exactly `kept` at the end.

    Counts in between are rounded down, as the code of de Jorge et al. 2021 does.
    """
    density = SCHEDULES[schedule]
    # 1e-9 guards products such as 0.1·1000 that floating point leaves just below a whole number.
    between = (floor(total * density(t / iterations, kept / total) + 1e-9) for t in range(1, iterations))
    return [max(kept, count) for count in between] + [kept]
