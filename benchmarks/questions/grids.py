"""The smallest grid of equal seeds that brackets a crossing as often: paired t-tests with Holm's correction."""

import math

import numpy as np
from scipy.special import stdtr

from benchmarks.questions.truths import HIGH, LOW, WIDTH, Truth
from sweep.questions.places import decades
from sweep.questions.planner import ALPHA

# Simulated studies a grid, and seeds beyond which none is looked for.
_STUDIES, _MOST = 2_000, 300


def smallest(truth: Truth, share: float) -> int | None:
    """Trials of the smallest grid; None if more than `_MOST` seeds are needed.

    The number of seeds is chosen knowing the truth. Places are an eighth of a decade apart, or half of it.
    """
    fewest = None
    for spacing in (WIDTH, WIDTH / 2):
        places = np.arange(0, decades(LOW, HIGH) + 1e-9, spacing)
        # More seeds than these would be no smaller grid.
        most = _MOST if fewest is None else (fewest - 1) // (2 * len(places))
        low, high = 2, min(4, most)
        while high < most and bracketed(truth, places, high) < share:
            low, high = high, min(2 * high, most)
        if high < 3 or bracketed(truth, places, high) < share:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if bracketed(truth, places, middle) >= share else (middle, high)
        fewest = 2 * len(places) * high
    return fewest


def bracketed(truth: Truth, places: np.ndarray, seeds: int) -> float:
    """The share of studies in which certain, opposite signs are no further apart than the width."""
    random = np.random.default_rng(5)
    t = np.empty((_STUDIES, len(places)))
    for column, at in enumerate(places):
        size = (_STUDIES, seeds)
        noise = random.standard_t(3, size) / math.sqrt(3) if truth.heavy else random.standard_normal(size)
        values = truth.curve(float(at)) + truth.spread(float(at)) * noise
        t[:, column] = values.mean(1) / values.std(1, ddof=1) * math.sqrt(seeds)
    p = 2 * stdtr(seeds - 1, -np.abs(t))
    order = np.argsort(p, 1)
    steps = np.take_along_axis(p, order, 1) * (len(places) - np.arange(len(places)))
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.maximum.accumulate(steps, 1), 1)
    signs = np.where(corrected < ALPHA, np.sign(t), 0)
    spacing = places[1] - places[0]
    apart = range(1, round(WIDTH / spacing) + 1)
    return float(np.any([(signs[:, :-d] * signs[:, d:] < 0).any(1) for d in apart], 0).mean())
