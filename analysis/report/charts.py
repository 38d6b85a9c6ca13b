"""The report's charts."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.questions.best import Ranked
from analysis.questions.correlation import NAMES, Correlation
from analysis.questions.crossover import Comparison
from sweep.means import Mean

Row = Mapping[str, Any]
# Okabe & Ito's colours, told apart by the colour-blind, grey for their black, which a dark page would
# swallow; dashes and symbols carry the same distinction.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star")
# As training goes; levels are numbered.
_PHASES = ("dense", "level", "sparse", "retrain")
# More points than this are thinned out evenly.
_POINTS = 4_000


def crossover(comparison: Comparison, names: Sequence[str]) -> go.Figure:
    """Mean test accuracy with its 95 % band against density, on a log scale labelled with sparsity."""
    figure = go.Figure()
    for index, name in enumerate(names):
        means = sorted((s, m) for s, m in comparison.means.get(name, {}).items() if not math.isnan(m.value))
        if not means:
            continue
        density = [1 - sparsity for sparsity, _ in means]
        highs = [m.value if m.high is None else m.high for _, m in means]
        lows = [m.value if m.low is None else m.low for _, m in means]
        band(figure, density, lows, highs, index, name)
        figure.add_scatter(
            x=density,
            y=[mean.value for _, mean in means],
            customdata=[[sparsity, str(mean)] for sparsity, mean in means],
            hovertemplate="sparsity %{customdata[0]}: %{customdata[1]}",
            name=name,
            legendgroup=name,
            mode="lines+markers",
            **style(index),
        )
    densities = [1 - sparsity for sparsity in comparison.sparsities]
    brackets = [(one, crossing) for one in comparison.crossovers for crossing in one.crossings]
    for index, (one, crossing) in enumerate(brackets):
        late = (1 - crossing.low) * (1 - crossing.high) < max(densities) * min(densities)
        figure.add_vrect(
            x0=1 - crossing.low, x1=1 - crossing.high, fillcolor="#808080", opacity=0.15, line_width=0
        )
        figure.add_annotation(
            text=f" {one.first} crosses {one.second} between {crossing.low:g} and {crossing.high:g} ",
            # Towards the side where there is more room. Annotations take a log axis in its own units.
            x=math.log10(1 - (crossing.high if late else crossing.low)),
            y=0.02 + 0.06 * index,
            xanchor="right" if late else "left",
            showarrow=False,
        )
    figure.update_layout(
        xaxis={
            "type": "log",
            # Falling: sparser to the right, as papers have it.
            "range": [math.log10(max(densities) * 1.1), math.log10(min(densities) / 1.1)],
            "title": "sparsity (log density)",
            "tickvals": densities,
            "ticktext": [f"{sparsity:g}" for sparsity in comparison.sparsities],
        },
        yaxis={"title": "test accuracy", "range": [0, 1.02]},
    )
    return figure


def correlation(groups: Sequence[Correlation]) -> go.Figure:
    """A number right after pruning against the accuracy at the end; a colour a sparsity, τ in the legend.

    Args:
        groups: of one setting and one such number.
    """
    figure = go.Figure()
    for index, group in enumerate(groups):
        chosen = _thin(len(group.before), len(groups))
        figure.add_scatter(
            x=group.before[chosen],
            y=group.after[chosen],
            mode="markers",
            name=f"{group.sparsity:g}: τ {group.kendall}",
            hovertemplate="%{x:.3g}, accuracy %{y:.3f}",
            **style(index),
        )
    # Losses of collapsed networks are far from those of the others.
    spread = [float(v) for group in groups for v in group.before if v > 0]
    far = bool(spread) and max(spread) > 30 * min(spread)
    figure.update_layout(
        xaxis={"title": NAMES[groups[0].measure], "type": "log" if far else "linear"},
        yaxis={"title": "test accuracy after retraining"},
    )
    return figure


def collapse(rows: Sequence[Row], title: Mapping[str, str]) -> go.Figure:
    """How often each layer is empty, by criterion and sparsity; its density in the tooltip.

    Args:
        rows: of queries/layers.sql. title: arm → its name.
    """
    layers = [name for _, name in sorted({(row["layer"], row["name"]) for row in rows})]
    columns = sorted({(title[row["arm"]], row["sparsity"]) for row in rows})
    share = np.full((len(layers), len(columns)), np.nan)
    text = np.full(share.shape, "", dtype=object)
    for row in rows:
        place = layers.index(row["name"]), columns.index((title[row["arm"]], row["sparsity"]))
        share[place] = row["collapsed"]
        density = "" if row["density"] is None else f", density {row['density']:.2g}"
        text[place] = f"empty in {row['collapsed'] or 0:.0%} of {row['trials']}{density}"
    figure = go.Figure(
        go.Heatmap(
            z=share,
            x=[f"{name} {sparsity:g}" for name, sparsity in columns],
            y=layers,
            text=text,
            zmin=0,
            zmax=1,
            hovertemplate="%{x}, %{y}: %{text}<extra></extra>",
            colorscale=[[0, "rgba(128,128,128,0.15)"], [1, "#D55E00"]],
            colorbar={"title": "trials with<br>the layer<br>empty", "tickformat": ".0%"},
            xgap=1,
            ygap=1,
        )
    )
    figure.update_layout(
        yaxis={"autorange": "reversed", "type": "category"}, xaxis={"type": "category", "tickangle": -60}
    )
    return figure


def curves(rows: Sequence[Row], title: Mapping[str, str]) -> dict[str, go.Figure]:
    """Mean validation accuracy by epoch, a line a criterion: one chart a sparsity, by its name."""
    figures: dict[str, go.Figure] = {}
    lines: dict[float, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        lines[row["sparsity"]][title[row["arm"]]].append(row)
    for sparsity, by_name in sorted(lines.items()):
        figure = go.Figure()
        for index, (name, rows_of) in enumerate(sorted(by_name.items())):
            points = _in_turn(rows_of)
            figure.add_scatter(
                x=[row.get("epoch") for row in points],
                y=[row.get("validation_accuracy") for row in points],
                name=name,
                mode="lines+markers",
                text=[row.get("phase") for row in points],
                hovertemplate="epoch %{x} (%{text}): %{y:.3f}",
                **style(index),
            )
        figure.update_layout(
            xaxis={"title": "epoch"}, yaxis={"title": "validation accuracy", "range": [0, 1.02]}
        )
        figures[f"sparsity {sparsity:g}"] = figure
    return figures


def _in_turn(rows: Sequence[Row]) -> list[Row]:
    """By phase and epoch, with nothing where a phase goes back to earlier epochs: there the line ends."""

    def turn(row: Row) -> tuple[int, int, float]:
        phase, _, level = row["phase"].partition(" ")
        return _PHASES.index(phase), int(level or 0), row["epoch"]

    points: list[Row] = []
    for row in sorted(rows, key=turn):
        if points and row["epoch"] < points[-1]["epoch"]:
            points.append({})
        points.append(row)
    return points


def pareto(ranked: Sequence[Ranked]) -> dict[str, go.Figure]:
    """Validation accuracy against density, and against hours, with 95 % intervals and the front of the means.

    Schedules that are off the front and not certainly so are drawn hollow.
    """
    figures = {}
    for price, kind, name in (("hours", "cost", "against cost"), ("density", "density", "against density")):
        priced = sorted((one for one in ranked if getattr(one, price)), key=lambda one: getattr(one, price))
        if not priced:
            continue
        scale = 3600 if price == "hours" else 1
        figure = go.Figure()
        front = [one for one in priced if getattr(one, f"on_{kind}_front")]
        near = [one for one in priced if getattr(one, f"{kind}_front_tied")]  # those on it among them
        tied = [one for one in near if not getattr(one, f"on_{kind}_front")]
        rest = [one for one in priced if not getattr(one, f"{kind}_front_tied")]
        for points, label, number, symbol in (
            (rest, "certainly off the front", 6, "circle"),
            (tied, "not certainly off it", 1, "circle-open"),
            (front, "Pareto front of the means", 1, "square"),
        ):
            colour = style(number)
            figure.add_scatter(
                x=[getattr(one, price) * scale for one in points],
                y=[one.validation.value for one in points],
                error_y=error_bars([one.validation for one in points]),
                name=label,
                text=[f"{one.schedule}, sparsity {one.sparsity:g}: test {one.quoted}" for one in points],
                hovertemplate="%{text}",
                mode="lines+markers" if points is front else "markers",
                line=colour["line"],
                marker=colour["marker"] | {"symbol": symbol},
            )
        axis = "density" if price == "density" else "seconds a trial"
        figure.update_layout(xaxis={"title": axis, "type": "log"}, yaxis={"title": "validation accuracy"})
        figures[name] = figure
    return figures


def regimes(rows: Sequence[Row], field: str) -> go.Figure:
    """Mean test accuracy, with its interval over the seeds, over sparsity and another field: one map.

    Args:
        rows: of `analysis.questions.regimes` that are of one map, with sparsity as x and the field as y.
    """
    x, y = (sorted({row[axis] for row in rows}, key=float) for axis in ("x", "y"))
    accuracy = np.full((len(y), len(x)), np.nan)
    trials = np.zeros(accuracy.shape)
    text = np.full(accuracy.shape, "", dtype=object)
    for row in rows:
        place = y.index(row["y"]), x.index(row["x"])
        accuracy[place], trials[place] = row["test_accuracy"], row["trials"]
        text[place] = str(Mean(row["test_accuracy"], row["half_width"]))
    figure = go.Figure(
        go.Heatmap(
            z=accuracy,
            x=x,
            y=y,
            text=text,
            texttemplate="%{text}",
            customdata=trials,
            colorscale="Cividis",
            zmin=0,
            zmax=1,
            hovertemplate="%{x}, %{y}: %{text} over %{customdata} trials<extra></extra>",
            colorbar={"title": "test<br>accuracy"},
            xgap=1,
            ygap=1,
        )
    )
    figure.update_layout(
        xaxis={"type": "category", "title": "sparsity (load)"},
        yaxis={"type": "category", "title": f"{field} (temperature)".replace("_", " ")},
    )
    return figure


def parallel(trials: Sequence[Row]) -> go.Figure:
    """Every trial a line through its axes and outcome; drag along an axis to choose some."""
    kept = [trials[i] for i in _thin(len(trials), 1)]
    dimensions = []
    for column in (
        "dataset",
        "model",
        "criterion",
        "scope",
        "sparsity",
        "prune_epoch",
        "iterations",
        "test_accuracy",
    ):
        values = [row[column] for row in kept]
        if column != "test_accuracy" and len(set(values)) < 2:
            continue
        name = column.replace("_", " ")
        if any(isinstance(value, str) for value in values):
            known = sorted({str(value) for value in values})
            places = {"tickvals": list(range(len(known))), "ticktext": known}
            dimensions.append({"label": name, "values": [known.index(str(v)) for v in values], **places})
        elif column == "sparsity":
            # Densities halve and halve again: on a plain axis the sparse end is a blot.
            known_numbers = sorted(set(values))
            places = {
                "tickvals": [-math.log10(1 - v) for v in known_numbers],
                "ticktext": [f"{v:g}" for v in known_numbers],
            }
            dimensions.append({"label": name, "values": [-math.log10(1 - v) for v in values], **places})
        else:
            dimensions.append({"label": name, "values": [math.nan if v is None else v for v in values]})
    colours = [row["test_accuracy"] for row in kept]
    return go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": colours,
                "colorscale": "Cividis",
                "showscale": True,
                "colorbar": {"title": "test accuracy"},
            },
        )
    )


def error_bars(means: Sequence[Mean]) -> dict[str, Any]:
    """The intervals of means, which end where accuracies do."""

    def reach(mean: Mean, end: float | None) -> float:
        return 0.0 if end is None else abs(end - mean.value)

    return {
        "symmetric": False,
        "array": [reach(mean, mean.high) for mean in means],
        "arrayminus": [reach(mean, mean.low) for mean in means],
        "width": 2,
    }


def band(
    figure: go.Figure,
    x: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    index: int,
    name: str,
) -> None:
    """Draw the intervals behind a line, in its colour; its entry in the legend shows and hides both."""
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


def _thin(count: int, shares: int) -> list[int]:
    """Evenly spread indices, at most `_POINTS` / `shares` of them."""
    step = max(1, math.ceil(count * shares / _POINTS))
    return list(range(0, count, step))
