"""How dense is each layer, and how often is it empty? From queries/layers.sql."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.charts import Figure
from analysis.page import Page
from analysis.questions.labelled import Labelled, labelled, named_rows
from analysis.questions.question import Question, Section


def chart(rows: Sequence[Mapping[str, Any]], title: Mapping[str, str]) -> Figure:
    """A heat map: how often each layer is empty, by criterion and sparsity, with its density in the tooltip.

    Args:
        rows: of queries/layers.sql.
        title: name of each arm.
    """
    import plotly.graph_objects as go

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


def show(page: Page, answer: Labelled) -> None:
    """The report's section: a heat map for each setting."""
    if not answer.settings:
        return
    page.heading("Which layers are removed whole?", "Share of trials in which a layer keeps no weight.")
    for setting in page.settings(answer.settings):
        rows = answer.of(setting)
        depth = len({row["layer"] for row in rows})
        page.chart(f"Empty layers: {setting}", chart(rows, answer.names), height=300 + 14 * depth)


def _charts(answer: Labelled) -> dict[str, Figure]:
    """A heat map for each setting."""
    return {setting: chart(answer.of(setting), answer.names) for setting in answer.settings}


QUESTION = Question(
    name="layers",
    help="How dense is each layer, and how often is it empty?",
    answer=labelled("layers"),
    rows=named_rows,
    charts=_charts,
    section=Section(find=labelled("layers"), show=show, place=40),
)
