"""What all charts have in common: colours, dashes, symbols, intervals, and how many points are drawn."""

import math
from collections.abc import Sequence
from typing import Any

from sweep.means import Mean

# Plotly's `Figure`. Plotly takes long to import: the functions that draw do it.
Figure = Any
# Okabe & Ito's colours for the colour-blind, with grey for their black, which a dark page would hide. Dashes
# and symbols repeat the distinction.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star")
# The most points in a chart: more are thinned out evenly.
_POINTS = 4_000


def error_bars(means: Sequence[Mean]) -> dict[str, Any]:
    """The intervals of means as error bars, cut like the intervals."""

    def reach(mean: Mean, end: float | None) -> float:
        return 0.0 if end is None else abs(end - mean.value)

    return {
        "symmetric": False,
        "array": [reach(mean, mean.high) for mean in means],
        "arrayminus": [reach(mean, mean.low) for mean in means],
        "width": 2,
    }


def band(
    figure: Figure,
    x: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    index: int,
    name: str,
) -> None:
    """Draw the intervals behind a line, in its colour. The legend's entry of the line toggles both.

    Args:
        index: the line's place in the chart, for its colour.
        name: of the line.
    """
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[*highs, *reversed(lows)],
        fill="toself",
        fillcolor=_COLOURS[index % len(_COLOURS)],
        opacity=0.15,
        line={"width": 0},
        mode="lines",
        legendgroup=name,
        showlegend=False,
        hoverinfo="skip",
    )


def style(index: int) -> dict[str, Any]:
    """Colour, dash and symbol of a line, by its place in the chart."""
    colour = _COLOURS[index % len(_COLOURS)]
    return {
        "line": {"color": colour, "dash": _DASHES[index % len(_DASHES)]},
        "marker": {"symbol": _SYMBOLS[index % len(_SYMBOLS)], "size": 7, "color": colour},
    }


def thin(count: int, shares: int) -> list[int]:
    """Evenly spread indices below a count, at most `_POINTS` / `shares` of them.

    Args:
        shares: number of groups that share the chart's points.
    """
    step = max(1, math.ceil(count * shares / _POINTS))
    return list(range(0, count, step))
