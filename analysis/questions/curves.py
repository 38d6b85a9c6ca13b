"""How does training go? Learning curves from queries/curves.sql, in the report alone."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.charts import Figure, style
from analysis.page import Page
from analysis.questions.labelled import Labelled, labelled, named_rows
from analysis.questions.question import Question, Section
from analysis.warehouse.headlines import ACCURACY
from sweep.store.schema import in_training

Row = Mapping[str, Any]


def charts(rows: Sequence[Row], title: Mapping[str, str], metric: str = ACCURACY) -> dict[str, Figure]:
    """Mean validation values by epoch: a chart for each sparsity, by its name, a line for each criterion.

    Args:
        rows: of queries/curves.sql.
        title: name of each arm.
        metric: name of the headline metric.
    """
    import plotly.graph_objects as go

    figures: dict[str, Figure] = {}
    lines: dict[float, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        lines[row["sparsity"]][title[row["arm"]]].append(row)
    for sparsity, by_name in sorted(lines.items()):
        figure = go.Figure()
        for index, (name, rows_of) in enumerate(sorted(by_name.items())):
            points = _in_order(rows_of)
            figure.add_scatter(
                x=[row.get("epoch") for row in points],
                y=[row.get("validation_accuracy") for row in points],
                name=name,
                mode="lines+markers",
                text=[row.get("phase") for row in points],
                hovertemplate="epoch %{x} (%{text}): %{y:.3f}",
                **style(index),
            )
        bounds = {"range": [0, 1.02]} if metric == ACCURACY else {}
        figure.update_layout(xaxis={"title": "epoch"}, yaxis={"title": f"validation {metric}"} | bounds)
        figures[f"sparsity {sparsity:g}"] = figure
    return figures


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """The rows by phase and epoch, with an empty row, a gap in the line, before a phase that rewinds."""
    points: list[Row] = []
    for row in sorted(rows, key=in_training):
        if points and row["epoch"] < points[-1]["epoch"]:
            points.append({})
        points.append(row)
    return points


def show(page: Page, answer: Labelled) -> None:
    """The report's section: a chart for each setting, with a menu of sparsities."""
    if not answer.settings:
        return
    metric = page.headline.curves
    page.heading("How does training go?", f"Mean validation {metric} over seeds at the end of each epoch.")
    for setting in page.settings(answer.settings):
        figures = charts(answer.of(setting), answer.names, metric)
        page.chart(f"Learning curves: {setting}", *figures.values(), choices=list(figures))


QUESTION = Question(
    name="curves",
    help="How does training go?",
    answer=labelled("curves"),
    rows=named_rows,
    is_command=False,
    section=Section(find=labelled("curves"), show=show, place=50),
)
