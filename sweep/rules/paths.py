"""Paths: the density along training, exact at each update."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from sweep.rules.choices import Choices

# Decimals of cosines and powers, in which all machines agree.
_DECIMALS = 12


class Moment(NamedTuple):
    """A moment among the updates.

    Attributes:
        number: of the update.
        done: share of the part of the training with updates that has passed; 1 at the last update.
        time: share of the whole training that has passed.
    """

    number: int
    done: Fraction
    time: Fraction


class Levels(NamedTuple):
    """The densities of an update: weights are dropped down to one, then grown up to the other."""

    low: Fraction
    high: Fraction


# A moment, the density of the start, that of the end, and the options of the rule.
Path = Callable[[Moment, Fraction, Fraction, Choices], Levels]


def stairs(done: Fraction) -> Fraction:
    """1, from three quarters of the updates on ½, and 0 at the last one (Yuan et al. 2021)."""
    return Fraction(0) if done >= 1 else Fraction(1, 2) if done >= Fraction(3, 4) else Fraction(1)


def _falling(left: Callable[[Fraction], Fraction]) -> Path:
    """A path from the start's density to the last one.

    Args:
        left: share of the updates that has passed → share of the way that is left.
    """

    def path(moment: Moment, start: Fraction, end: Fraction, choices: Choices) -> Levels:
        density = end + (start - end) * left(moment.done)
        return Levels(density, density)

    return path


def _constant(moment: Moment, start: Fraction, end: Fraction, choices: Choices) -> Levels:
    """The last density from the start."""
    return Levels(end, end)


def _exponential(moment: Moment, start: Fraction, end: Fraction, choices: Choices) -> Levels:
    """Each update removes the same share of the weights that are left."""
    density = end if moment.done == 1 else start * _rounded(float(end / start) ** float(moment.done))
    return Levels(density, density)


def _cyclic(moment: Moment, start: Fraction, end: Fraction, choices: Choices) -> Levels:
    """Cosine waves between the last density and the peak, then the last density (EAST, Li et al. 2024)."""
    until = Fraction(str(choices.cycle_end))
    if moment.done == 1 or moment.time >= until:
        return Levels(end, end)
    phase = float(choices.cycles * moment.time / until)
    density = end + (_peak(end, choices) - end) * (1 - _rounded(math.cos(2 * math.pi * phase))) / 2
    return Levels(density, density)


def _square(moment: Moment, start: Fraction, end: Fraction, choices: Choices) -> Levels:
    """The last density after updates of even numbers, the peak after the others (Peste et al. 2021)."""
    if moment.number % 2 == 0:
        return Levels(end, end)
    return Levels(end, Fraction(1) if choices.grow == "all" else _peak(end, choices))


def _soft(moment: Moment, start: Fraction, end: Fraction, choices: Choices) -> Levels:
    """An update drops to the last density and grows above it; the surplus falls in stairs to 0."""
    return Levels(end, end + (_peak(end, choices) - end) * stairs(moment.done))


PATHS: dict[str, Path] = {
    "constant": _constant,
    # Zhu & Gupta 2017.
    "cubic": _falling(lambda done: (1 - done) ** 3),
    "linear": _falling(lambda done: 1 - done),
    "exponential": _exponential,
    "cyclic": _cyclic,
    "square": _square,
    "soft": _soft,
}


def _peak(end: Fraction, choices: Choices) -> Fraction:
    return min(Fraction(1), end * Fraction(str(choices.peak)))


def _rounded(value: float) -> Fraction:
    return Fraction(str(round(value, _DECIMALS)))
