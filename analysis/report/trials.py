"""The trials in the report: a chart with a line for each trial, and a table to search."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from analysis.charts import Figure, thin
from analysis.page import Page, embedded
from analysis.warehouse import ACCURACIES, Headline, rows
from sweep.foreign import html

# The most trials that are listed: the latest.
_TRIALS = 2_000
_COLUMNS = (
    "trial_id",
    "study",
    "status",
    "dataset",
    "model",
    "criterion",
    "scope",
    "sparsity",
    "iterations",
    "prune_epoch",
    "epochs",
    "seed",
    "density",
    "pre_test_accuracy",
    "val_accuracy",
    "test_accuracy",
    "collapsed_layers",
    "wall_seconds",
)
# The axes of the chart.
_AXES = (
    "dataset",
    "model",
    "criterion",
    "scope",
    "sparsity",
    "prune_epoch",
    "iterations",
    "test_accuracy",
)


def show(page: Page, connection: duckdb.DuckDBPyConnection) -> None:
    """Write the sections on trials: the chart of the finished ones, and the table of the latest."""
    [(total,)] = rows(connection, "SELECT count(*) FROM trials")
    latest = rows(
        connection,
        f"SELECT {', '.join(_COLUMNS)} FROM trials ORDER BY finished_at DESC, trial_id LIMIT {_TRIALS}",
    )
    trials: list[dict[str, Any]] = [dict(zip(_COLUMNS, row, strict=True)) for row in latest]
    for row in trials:
        row.update({name: page.headline.own(row[name]) for name in ("val_accuracy", "test_accuracy")})
    accuracies = ((row, row["test_accuracy"]) for row in trials if row["status"] == "ok")
    finished = [row for row, accuracy in accuracies if accuracy is not None and math.isfinite(accuracy)]
    if len(finished) > 1:
        page.heading("All axes together", "Each line is a trial; drag along an axis to choose some.")
        page.chart("Parallel coordinates of all trials", parallel(finished, page.headline))
    page.heading("Trials", "" if total <= _TRIALS else f"The latest {_TRIALS:,} of {total:,}.")
    values = [
        [round(v, 5) if isinstance(v, float) and v == v else None if v != v else v for v in row.values()]
        for row in trials
    ]
    listed = {"columns": [page.headline.named(name) for name in _COLUMNS], "rows": values}
    page.parts.append(
        '<p><label>Search <input type="search" id="search" placeholder="snip 0.99 failed"></label> '
        '<output id="matches"></output></p><div class="scroll" tabindex="0"><table id="trials"></table></div>'
        f'<script type="application/json" id="rows">{embedded(listed)}</script>'
    )


def parallel(trials: Sequence[Mapping[str, Any]], headline: Headline = ACCURACIES) -> Figure:
    """A line for each trial through its fields and its test value. Dragging along an axis selects trials."""
    import plotly.graph_objects as go

    kept = [trials[i] for i in thin(len(trials), 1)]
    dimensions = []
    for column in _AXES:
        values = [row[column] for row in kept]
        if column != "test_accuracy" and len(set(values)) < 2:
            continue
        name = headline.named(column.replace("_", " "))
        if any(isinstance(value, str) for value in values):
            known = sorted({str(value) for value in values})
            places = {"tickvals": list(range(len(known))), "ticktext": known}
            dimensions.append({"label": name, "values": [known.index(str(v)) for v in values], **places})
        elif column == "sparsity":
            # On a log axis: sparse trials would lie on top of each other on a linear one.
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
                "colorbar": {"title": f"test {html(headline.name)}"},
            },
        )
    )
