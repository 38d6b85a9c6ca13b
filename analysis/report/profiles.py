"""Performance profiles in the report: which share of a way's runs is above an accuracy."""

import duckdb
import plotly.graph_objects as go

from analysis.questions import aggregate
from analysis.report import charts
from analysis.report.page import Page
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
        known = [
            (t, share.low, share.high)
            for t, share in zip(thresholds, one.profile, strict=True)
            if share.low is not None and share.high is not None
        ]
        lows, highs = [low for _, low, _ in known], [high for _, _, high in known]
        charts.band(figure, [t for t, _, _ in known], lows, highs, index, one.way)
        figure.add_scatter(
            x=thresholds,
            y=[share.value for share in one.profile],
            customdata=[str(share) for share in one.profile],
            hovertemplate="above %{x}: %{customdata}",
            name=one.way,
            legendgroup=one.way,
            mode="lines",
            line=charts.style(index)["line"] | {"shape": "hv"},
        )
    figure.update_layout(
        xaxis={"title": "test accuracy"},
        yaxis={"title": "share of runs above it", "range": [0, 1.02]},
    )
    return figure
