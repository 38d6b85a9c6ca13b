"""One HTML file with the answers: opens offline, by itself."""

import html
import math
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
import plotly.offline

from analysis.crossover import MARGIN, Comparison, digits

# Okabe & Ito's colours, told apart by the colour-blind; dashes and symbols carry the same distinction.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star")


def write(comparisons: Sequence[Comparison], target: Path) -> None:
    """Write the report; it replaces an earlier one only when complete."""
    names = list(dict.fromkeys(name for comparison in comparisons for name in comparison.means))
    sections = "\n".join(_section(comparison, names) for comparison in comparisons)
    page = _PAGE.format(plotly=plotly.offline.get_plotlyjs(), sections=sections, margin=f"{MARGIN:g}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(target)


def chart(comparison: Comparison, names: Sequence[str]) -> go.Figure:
    """Test accuracy against density, on a log scale with sparsity written under it."""
    figure = go.Figure()
    for index, name in enumerate(names):
        means = sorted(comparison.means.get(name, {}).items())
        figure.add_scatter(
            x=[1 - sparsity for sparsity, _ in means],
            y=[mean.value for _, mean in means],
            error_y={"array": [mean.half_width or 0 for _, mean in means], "thickness": 1, "width": 3},
            customdata=[[sparsity, str(mean)] for sparsity, mean in means],
            hovertemplate="sparsity %{customdata[0]}: %{customdata[1]}",
            name=name,
            mode="lines+markers",
            line={"color": _COLOURS[index % len(_COLOURS)], "dash": _DASHES[index % len(_DASHES)]},
            marker={"symbol": _SYMBOLS[index % len(_SYMBOLS)], "size": 8},
        )
    for index, crossover in enumerate(comparison.crossovers):
        if crossover.at is not None:
            figure.add_vline(x=1 - crossover.at, line={"color": "#777777", "dash": "dot", "width": 1})
            figure.add_annotation(
                text=f"SNIP falls below {crossover.baseline} at {digits(crossover.at)} ",
                x=math.log10(1 - crossover.at),  # annotations take a log axis in its own units
                y=0.02 + 0.06 * index,
                xanchor="right",
                showarrow=False,
            )
    densities = [1 - sparsity for sparsity in comparison.sparsities]
    figure.update_layout(
        template="plotly_white",
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        font={"family": "system-ui, sans-serif", "size": 14, "color": "#1a1a1a"},
        legend={"orientation": "h", "y": -0.2},
        margin={"l": 60, "r": 20, "t": 20, "b": 60},
        height=520,
        xaxis={
            "type": "log",
            "range": [math.log10(max(densities) * 1.1), math.log10(min(densities) / 1.1)],
            "title": "sparsity (log density)",
            "tickvals": densities,
            "ticktext": [f"{sparsity:g}" for sparsity in comparison.sparsities],
        },
        yaxis={"title": "test accuracy", "range": [0, 1.02]},
    )
    return figure


def _section(comparison: Comparison, names: Sequence[str]) -> str:
    head = "".join(f"<th scope=col>{sparsity:g}</th>" for sparsity in comparison.sparsities)
    rows = "".join(
        f"<tr><th scope=row>{html.escape(name)}</th>"
        + "".join(f"<td>{means.get(sparsity, '')}</td>" for sparsity in comparison.sparsities)
        + "</tr>"
        for name, means in comparison.means.items()
    )
    answers = "".join(f"<li>{html.escape(str(crossover))}</li>" for crossover in comparison.crossovers)
    figure = plotly.io.to_html(
        chart(comparison, names),
        full_html=False,
        include_plotlyjs=False,
        config={"responsive": True, "displaylogo": False},
    )
    return (
        f"<section><h2>{html.escape(comparison.setting)}</h2><ul>{answers}</ul>{figure}"
        f"<div class=scroll><table><thead><tr><th scope=col>sparsity</th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>"
    )


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Where does random pruning overtake SNIP?</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
         max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
  h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.15rem; margin-top: 2.5rem; }}
  table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }}
  th, td {{ padding: .25rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }}
  th[scope=row], th:first-child {{ text-align: left; }}
  .scroll {{ overflow-x: auto; }}
</style>
<script>{plotly}</script>
<h1>Where does random pruning overtake SNIP?</h1>
<p>Test accuracy after retraining (last epoch), mean over seeds with its 95&nbsp;% Student-t interval.
SNIP is below a random baseline where its mean is more than {margin} lower, interpolated on log density;
the differences are paired by seed.</p>
{sections}
</html>
"""
