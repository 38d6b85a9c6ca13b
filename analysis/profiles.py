"""Performance profiles in the report: which share of a way's runs is above an accuracy."""

import duckdb
import plotly.graph_objects as go

from analysis import aggregate, charts
from analysis.page import Page
from sweep.errors import BadInput


def show(page: Page, connection: duckdb.DuckDBPyConnection) -> None:
    """The section on aggregates over settings, where two ways to choose the mask or more have been run."""
    try:
        found = aggregate.find(connection)
    except BadInput as nothing_in_common:
        page.heading("Over all settings and sparsities")
        page.sentences([str(nothing_in_common)])
        return
    if len(found.ways) < 2:
        return
    page.heading("Over all settings and sparsities", aggregate.caption(found))
    page.chart("Performance profiles", chart(found))
    page.sentences(aggregate.sentences(found)[1:])


def chart(found: aggregate.Aggregates) -> go.Figure:
    """The share of runs above each test accuracy with its 95 % band, a line a way (Agarwal et al. 2021)."""
    figure = go.Figure()
    thresholds = list(aggregate.THRESHOLDS)
    for index, one in enumerate(found.ways):
        band = [(t, s.low, s.high) for t, s in zip(thresholds, one.profile, strict=True) if s.low is not None]
        style = charts._style(index)
        figure.add_scatter(
            x=[t for t, _, _ in band] + [t for t, _, _ in reversed(band)],
            y=[high for _, _, high in band] + [low for _, low, _ in reversed(band)],
            fill="toself",
            fillcolor=style["line"]["color"],
            opacity=0.12,
            line={"width": 0},
            mode="lines",
            legendgroup=one.way,
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=thresholds,
            y=[share.value for share in one.profile],
            customdata=[str(share) for share in one.profile],
            hovertemplate="above %{x}: %{customdata}",
            name=one.way,
            legendgroup=one.way,
            mode="lines",
            line=style["line"] | {"shape": "hv"},
        )
    figure.update_layout(
        xaxis={"title": "test accuracy"},
        yaxis={"title": "share of runs above it", "range": [0, 1.02]},
    )
    return figure
