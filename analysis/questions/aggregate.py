"""Which way to choose the mask does best over many settings and sparsities?"""

import math
from typing import Annotated, NamedTuple

import duckdb
import typer

from analysis.charts import Figure, band, style
from analysis.page import Page
from analysis.questions.question import Question, Row, Section
from analysis.statistics.aggregates import Aggregates, aggregate
from analysis.statistics.differences import certain
from analysis.statistics.estimates import columns, number
from sweep.errors import BadInput

# The most settings that the caption names.
_NAMED = 4
# The title of the chart.
_PROFILES = "Performance profiles"


class Answer(NamedTuple):
    """What the command answers with.

    Attributes:
        profiles: the rows are those of the performance profiles.
    """

    aggregates: Aggregates
    profiles: bool


def answer(
    connection: duckdb.DuckDBPyConnection,
    baseline: Annotated[
        str | None, typer.Option(help="a criterion, or criterion:scope, that the others are to improve on")
    ] = None,
    profiles: Annotated[
        bool, typer.Option("--profiles", help="the share of runs above each accuracy instead")
    ] = False,
) -> Answer:
    """The aggregates against the baseline that the command names."""
    return Answer(aggregate(connection, baseline), profiles)


def rows(aggregates: Aggregates) -> list[Row]:
    """One row for each way, as numbers."""
    return [
        {
            "way": one.way,
            "tasks": aggregates.tasks,
            "runs": one.runs,
            "lost": one.lost,
            **columns("iqm", one.iqm),
            "baseline": aggregates.baseline,
            **columns("improvement", one.improvement),
            "p_holm": number(one.p),
        }
        for one in aggregates.ways
    ]


def profiles(aggregates: Aggregates) -> list[Row]:
    """One row for each way and threshold: the share of runs above it, or below it where lower is better."""
    return [
        {"way": one.way, "threshold": threshold, **columns(_better(aggregates), share)}
        for one in aggregates.ways
        for threshold, share in zip(aggregates.thresholds, one.profile, strict=True)
    ]


def _better(aggregates: Aggregates) -> str:
    return "above" if aggregates.headline.sign > 0 else "below"


def sentences(aggregates: Aggregates) -> list[str]:
    """The caption, and a sentence for each way."""
    said = [caption(aggregates)]
    for one in aggregates.ways:
        text = f"{one.way}: interquartile mean {one.iqm}"
        if one.iqm.low is None:
            text += " (no interval: a task with a single finished run, or seeds that are all alike)"
        if one.improvement is not None:
            text += f"; a run is better than one of {aggregates.baseline} with probability {one.improvement}"
            side = "above" if one.improvement.value > 0.5 else "below"
            text += f", certainly {side} one half" if certain(one.p) else ", not told from one half"
        said.append(text + (f"; {one.lost} lost" if one.lost else ""))
    return said


def caption(aggregates: Aggregates) -> str:
    """The tasks, what the intervals are over, and the number of tests."""
    named = [
        f"{setting} at {', '.join(f'{s:g}' for s in sparsities)}"
        for setting, sparsities in aggregates.settings.items()
    ]
    name = aggregates.headline.name
    more = f"; and {len(named) - _NAMED} settings more" if len(named) > _NAMED else ""
    tests = sum(not math.isnan(one.p) for one in aggregates.ways)
    tasks = f"{aggregates.tasks:,} task{'s' * (aggregates.tasks != 1)} (setting × sparsity)"
    text = (
        f"Aggregates of test {name} over {tasks} that all {len(aggregates.ways)} ways have; no {name} of "
        f"any arm.{aggregates.headline.direction} Tasks: {'; '.join(named[:_NAMED])}{more}. "
    )
    if aggregates.left_out:
        text += f"Left out: {aggregates.left_out:,}, of which not all ways have a finished run. "
    if any(one.lost for one in aggregates.ways):
        text += f"What is certain is so with the lost runs {aggregates.headline.guess} too. "
    text += (
        f"95 % intervals over {aggregates.over}; runs of one seed on one data set and model are one draw. "
    )
    if aggregates.baseline is None:
        return f"{text}No baseline to improve on: name one with --baseline."
    if not tests:
        return f"{text}Nothing is tested: that takes two seeds, and a study that has ended."
    return f"{text}Certain is what holds at 5 % after Holm's correction for {tests} test{'s' * (tests != 1)}."


def chart(aggregates: Aggregates) -> Figure:
    """The share of runs better than each value with its 95 % band, a line a way (Agarwal et al. 2021)."""
    import plotly.graph_objects as go

    figure = go.Figure()
    thresholds = aggregates.thresholds
    for index, one in enumerate(aggregates.ways):
        known = [
            (t, share.low, share.high)
            for t, share in zip(thresholds, one.profile, strict=True)
            if share.low is not None and share.high is not None
        ]
        lows, highs = [low for _, low, _ in known], [high for _, _, high in known]
        band(figure, [t for t, _, _ in known], lows, highs, index, one.way)
        figure.add_scatter(
            x=thresholds,
            y=[share.value for share in one.profile],
            customdata=[str(share) for share in one.profile],
            hovertemplate=f"{_better(aggregates)} %{{x}}: %{{customdata}}",
            name=one.way,
            legendgroup=one.way,
            mode="lines",
            line=style(index)["line"] | {"shape": "hv"},
        )
    figure.update_layout(
        xaxis={"title": f"test {aggregates.headline.name}"},
        yaxis={"title": f"share of runs {_better(aggregates)} it", "range": [0, 1.02]},
    )
    return figure


def _compared(connection: duckdb.DuckDBPyConnection) -> Aggregates | str:
    """The aggregates for the report, or the reason why there are none."""
    try:
        return aggregate(connection)
    except BadInput as no_common_task:
        return str(no_common_task)


def show(page: Page, answer: Aggregates | str) -> None:
    """The report's section, if there are two ways to choose the mask or more."""
    heading = "Over all settings and sparsities"
    if isinstance(answer, str):
        page.heading(heading)
        page.sentences([answer])
    elif len(answer.ways) > 1:
        page.heading(heading, caption(answer))
        page.chart(_PROFILES, chart(answer))
        page.sentences(sentences(answer)[1:])


def _rows(answer: Answer) -> list[Row]:
    return profiles(answer.aggregates) if answer.profiles else rows(answer.aggregates)


def _sentences(answer: Answer) -> list[str]:
    return sentences(answer.aggregates)


def _charts(answer: Answer) -> dict[str, Figure]:
    return {_PROFILES: chart(answer.aggregates)} if len(answer.aggregates.ways) > 1 else {}


QUESTION = Question(
    name="aggregate",
    help="Which way to choose the mask does best over all settings and sparsities that all have?",
    answer=answer,
    rows=_rows,
    sentences=_sentences,
    charts=_charts,
    compares_criteria=True,
    about_accuracy=True,
    section=Section(find=_compared, show=show, place=20),
)
