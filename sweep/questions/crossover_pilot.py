"""Truths that a crossover's results may come from: drawn from the results that are there, or assumed."""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from scipy.special import stdtrit

from sweep.questions.pairs import runs
from sweep.questions.places import Width, decades
from sweep.questions.planner import ALPHA, Measured, Wanted
from sweep.questions.simulation import Draw, pooled

# How many standard deviations the arms are apart at the ends of the range, where nothing is known.
_APART = 10.0, 100.0
# A grid brackets a crossing with this many standard errors to spare at both neighbours: in 95 % of studies.
_SPARE = 1.96
# Seeds beyond which no grid is given.
_MANY = 200


def draws(
    measured: Measured, arms: tuple[str, str], ends: tuple[float, float], within: Width, count: int
) -> tuple[dict[int, tuple[Draw[float], int | None]], str]:
    """Truths, each with the trials of the smallest grid that brackets it, and what they are drawn from.

    Args:
        ends: the range of sparsities.
        count: how many to draw.
    """
    random = np.random.default_rng(0)
    pilot = _pilot(measured, arms, ends)
    basis = f"the results of {sum(2 * len(own) for own in pilot.values())} trials"
    if len(pilot) < 2:
        basis = "no results: one crossing anywhere, the arms 10 to 100 standard deviations apart at the ends"
    found: dict[int, tuple[Draw[float], int | None]] = {}
    for number in range(count):
        curve, spread = _estimated(random, pilot, ends) if len(pilot) > 1 else _assumed(random, ends)
        base = {place: fmean(second for _, second in own) for place, own in pilot.items()}
        truth = _Truth(arms, ends[0], curve, spread, base, np.random.default_rng([1, number]))
        found[number] = (truth, truth.grid(decades(*ends), within.in_decades(ends[0])))
    return found, basis


Curve = tuple[Sequence[float], Sequence[float]]


def _pilot(
    measured: Measured, arms: tuple[str, str], ends: tuple[float, float]
) -> dict[float, list[tuple[float, float]]]:
    """The pairs at each place in the range that has at least two."""
    found = {}
    for place in sorted({place for _, place in measured if ends[0] <= place <= ends[1]}):
        both = zip(*runs(measured, arms, place), strict=True)
        own = [(one, other) for one, other in both if one is not None and other is not None]
        if len(own) > 1:
            found[place] = own
    return found


def _estimated(
    random: np.random.Generator, pilot: dict[float, list[tuple[float, float]]], ends: tuple[float, float]
) -> tuple[Curve, float]:
    """Means that the results may come from: as far from those seen as their errors let expect."""
    differences = [[one - other for one, other in own] for own in pilot.values()]
    spread, freedom = pooled(differences)
    spread *= math.sqrt(freedom / random.chisquare(freedom))
    at = [decades(ends[0], place) for place in pilot]
    return (at, [random.normal(fmean(own), spread / math.sqrt(len(own))) for own in differences]), spread


def _assumed(random: np.random.Generator, ends: tuple[float, float]) -> tuple[Curve, float]:
    widest = decades(*ends)
    least, most = np.log(_APART)
    above, below = np.exp(random.uniform(least, most, 2))
    return ([0.0, random.uniform(0, widest), widest], [0.01 * above, 0.0, -0.01 * below]), 0.01


class _Truth:
    """What trials end with: normal numbers around the means of the arms."""

    def __init__(
        self,
        arms: tuple[str, str],
        low: float,
        curve: Curve,
        spread: float,
        base: dict[float, float],
        random: np.random.Generator,
    ) -> None:
        self.first, _ = arms
        self.low, self.curve, self.spread, self.base, self.random = low, curve, spread, base, random

    def difference(self, at: float) -> float:
        """The mean first − second, so many decades above the lowest sparsity."""
        return float(np.interp(at, *self.curve))

    def __call__(self, trial: Wanted) -> float:
        """The number of a trial."""
        mean = self.base.get(trial.place, 0.5)
        if trial.arm == self.first:
            mean += self.difference(decades(self.low, trial.place))
        return mean + self.spread / math.sqrt(2) * float(self.random.standard_normal())

    def grid(self, widest: float, width: float) -> int | None:
        """Trials of the smallest grid of equal seeds that brackets a crossing; None if none does.

        Its neighbours are half a width from the crossing, and tested last by Holm's method.
        """
        points = np.linspace(0, widest, 1_000)
        signs = np.sign([self.difference(at) for at in points])
        changes = np.flatnonzero(signs[1:] != signs[:-1])
        if not len(changes):
            return None
        crossing = points[changes[-1]]
        near = min(abs(self.difference(crossing + shift * width)) for shift in (-0.5, 0.5))
        places = math.ceil(widest / width - 0.01) + 1
        for seeds in range(3, _MANY):
            bound = stdtrit(seeds - 1, 1 - ALPHA / 4) + _SPARE
            if near * math.sqrt(seeds) >= bound * self.spread:
                return 2 * places * seeds
        return None
