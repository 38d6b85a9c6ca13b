"""What does one field change if nothing else differs? Paired by seed, corrected over the whole answer."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import duckdb
import typer

from analysis.charts import Figure, error_bars, style
from analysis.questions.question import Question, Row
from analysis.statistics.effects import (
    Effect,
    Whole,
    called,
    effects_of,
    groups_of,
    in_order,
    in_own_unit,
    over_cells,
    pairs_of,
    value_of,
    without_partner,
)
from analysis.statistics.estimates import number, over
from analysis.warehouse import EACH, Headline, ask, headline, running
from sweep.arms import differing
from sweep.config import FIELDS
from sweep.errors import BadInput


class Answer(NamedTuple):
    """What the command answers with.

    Attributes:
        over: what the intervals are over, in words.
        unfinished: how far studies are that still run; their cells are not tested.
        without_partner: number of arms that are in no cell, and fields in which the nearest ones differ too.
    """

    field: str
    effects: list[Effect]
    wholes: list[Whole]
    over: str
    unfinished: list[str]
    without_partner: tuple[int, list[str]]
    headline: Headline


def answer(
    connection: duckdb.DuckDBPyConnection,
    field: Annotated[
        str, typer.Argument(help="a field of the study file in which arms differ", show_default=False)
    ] = "",
    base: Annotated[
        str | None, typer.Option(help="compare with this value alone; default: all values with each other")
    ] = None,
) -> Answer:
    """The effects of the field that the command names.

    Raises:
        BadInput: no two arms differ in the field alone, or none has the base.
    """
    measured, unfinished = headline(connection), running(connection)
    cells = ask(connection, "cells", {"first": EACH, "second": ""})
    configs = {row["arm"]: json.loads(row["arm"]) for row in cells}
    keys = sorted({name for config in configs.values() for name in config})
    values = in_order(field, (value_of(config, field) for config in configs.values()))
    if field in ("seed", "sparsity") or (field not in keys and field not in FIELDS):
        raise BadInput(
            f"{field or 'which field?'}: name a field that differs between arms: "
            f"{', '.join(differing(keys, configs.values())) or 'there is none here'}"
        )
    bases = values if base is None else called(base, values)
    if not bases:
        raise BadInput(f"--base {base}: no arm here has it; {field} is one of: {', '.join(values)}")
    groups = groups_of(cells, configs, field)
    pairs = list(pairs_of(groups, field, bases))
    count, beside = without_partner(groups, configs, field)
    if not pairs:
        also = f"; the nearest also differ in {' or '.join(beside)}" if beside else ""
        raise BadInput(f"{field}: no two arms differ in it alone; its values here: {', '.join(values)}{also}")
    arms = [row["arm"] for pair in pairs for row in pair]
    effects = effects_of(pairs, configs, field, measured, unfinished)
    return Answer(
        field,
        effects,
        over_cells(effects, measured),
        over(arms),
        sorted({unfinished[arm] for arm in arms if arm in unfinished}),
        (count, beside),
        measured,
    )


def rows(answer: Answer) -> list[Row]:
    """One row for each pair of arms and sparsity, as numbers."""
    return [
        {
            "setting": one.setting,
            "arm": one.arm,
            "first": one.first,
            "second": one.second,
            "sparsity": one.sparsity,
            "seeds": one.paired.seeds,
            "lost": sum(one.paired.lost),
            "difference": number(mean.value),
            "low": mean.low,
            "high": mean.high,
            "p_holm": number(one.p),
            "verdict": one.verdict,
        }
        for one in answer.effects
        for mean in [in_own_unit(one.paired.mean, answer.headline)]
    ]


def sentences(answer: Answer) -> list[str]:
    """For each pair of values the number of cells of each verdict, and the whole; then what was tested."""
    said = []
    by_values: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for one in answer.effects:
        by_values[one.first, one.second].append(one)
    wholes = {(whole.first, whole.second): whole for whole in answer.wholes}
    for values, among in by_values.items():
        counts = Counter(one.verdict for one in among)
        verdicts = ", ".join(
            f"{verdict} in {counts[verdict]}"
            for verdict in ("better", "worse", "not told apart", "not tested")
            if counts[verdict]
        )
        said.append(
            f"{answer.field} {values[1]} against {values[0]}, {len(among)} cell{'s' * (len(among) != 1)}: "
            f"{verdicts}{_about(wholes[values]) if values in wholes else ''}"
        )
    tests = sum(not math.isnan(one.p) for one in answer.effects)
    words = (
        f"Better and worse hold at 5 % after Holm's correction for {tests} test{'s' * (tests != 1)}; the "
        "means over cells are tests of their own. "
        if tests
        else "Nothing is tested: that takes two seeds that finished in both, and a study that has ended. "
    )
    lost = any(sum(one.paired.lost) for one in answer.effects)
    chance = (
        f"They hold without the lost runs and with them {answer.headline.guess}. " if lost and tests else ""
    )
    said.append(
        f"difference: test {answer.headline.name} of the second value minus that of the first, paired by "
        f"seed; nothing else differs in a cell.{answer.headline.direction} 95 % Student-t intervals over "
        f"{answer.over}. "
        f"{words}{chance}".rstrip()
    )
    count, beside = answer.without_partner
    if count:
        arms = "1 arm is" if count == 1 else f"{count:,} arms are"
        also = f": the nearest arms also differ in {' or '.join(beside)}" if beside else ""
        said.append(f"{arms} in no cell{also}")
    said += [f"not tested: {study}" for study in answer.unfinished]
    return said


def _about(whole: Whole) -> str:
    """The mean over cells in words."""
    p = "not tested" if math.isnan(whole.p) else "p < 0.001" if whole.p < 0.001 else f"p = {whole.p:.3f}"
    return (
        f"; better in {whole.better} of {whole.pairs} pairs of runs; mean over the cells {whole.mean.signed} "
        f"({whole.seeds} seeds, {p})"
    )


def chart(effects: Sequence[Effect], headline: Headline) -> Figure:
    """Differences with their intervals, a row for each cell and a series for each pair of values."""
    import plotly.graph_objects as go

    figure = go.Figure()
    series: dict[str, list[Effect]] = defaultdict(list)
    for one in effects:
        series[f"{one.second} against {one.first}"].append(one)
    for index, (name, among) in enumerate(series.items()):
        means = [in_own_unit(one.paired.mean, headline) for one in among]
        figure.add_scatter(
            x=[mean.value for mean in means],
            y=[f"{one.arm}, {one.sparsity:g}" for one in among],
            error_x=error_bars(means),
            text=[one.verdict for one in among],
            hovertemplate="%{y}: %{x}, %{text}<extra></extra>",
            name=name,
            mode="markers",
            marker=style(index)["marker"],
        )
    figure.add_vline(x=0, line_width=1)
    figure.update_layout(
        xaxis={"title": f"difference of test {headline.name}{' (below 0: better)' * (headline.sign < 0)}"},
        yaxis={"type": "category", "autorange": "reversed"},
        showlegend=True,
    )
    return figure


def _charts(answer: Answer) -> dict[str, Figure]:
    """A chart for each setting with a difference."""
    return {
        setting: chart(known, answer.headline)
        for setting in dict.fromkeys(one.setting for one in answer.effects)
        if (known := [one for one in answer.effects if one.setting == setting and one.paired.seeds])
    }


QUESTION = Question(
    name="effect",
    help="What does one field, such as compensate or optimizer, change if nothing else differs?",
    answer=answer,
    rows=rows,
    sentences=sentences,
    charts=_charts,
    about_accuracy=True,
)
