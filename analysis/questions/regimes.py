"""How does accuracy depend on two fields together? One map for each arm without the two fields.

The same is asked of what compares a network with its twin, as in the three-regime model (Zhou et al. 2023).
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, NamedTuple

import duckdb
import numpy as np
import typer

from analysis import warehouse
from analysis.charts import Figure
from analysis.page import Page
from analysis.questions.question import Question, Row, Section
from analysis.warehouse import ACCURACIES, Headline, ask, headline
from analysis.warehouse.arms import label
from sweep.errors import BadInput
from sweep.foreign import html
from sweep.means import Mean, mean_interval


class Of(StrEnum):
    """What a map shows."""

    TEST_ACCURACY = "test_accuracy"
    LMC_BARRIER = "lmc_barrier"
    CKA = "cka"
    WEIGHT_DISTANCE = "weight_distance"


# What compares a network with its twin, with its bounds.
_OF_TWINS = {Of.LMC_BARRIER: (-math.inf, math.inf), Of.CKA: (0.0, 1.0), Of.WEIGHT_DISTANCE: (0.0, 2.0)}
# Fields that set the temperature of training, or stand for it (Zhou et al. 2023).
_TEMPERATURES = ("weight_decay", "epochs", "batch_size", "lr", "prune_epoch")
# The most maps in the report's menu.
_MENU = 60


def regimes(
    connection: duckdb.DuckDBPyConnection,
    x: str = "sparsity",
    y: str = "prune_epoch",
    of: Of = Of.TEST_ACCURACY,
) -> list[Row]:
    """One row for each arm and sparsity, map by map.

    `setting` and `label` name the map. Within a map only the two fields and the seeds differ: each mean is
    over the seeds of one arm at one sparsity, or is one trial if a field is the seed. If sparsity is neither
    x nor y, each sparsity has its own maps. `half_width` is that of the mean's 95 % Student-t interval over
    the seeds; None for one seed.

    Args:
        x, y: fields of the config.
        of: the column of means; trials without a value are in none.
    """
    measured = headline(connection)
    answers = ask(connection, "regimes", {"x": x, "y": y, "of": of.value})
    beside = "sparsity" not in (x, y)

    @cache
    def panel(arm: str, sparsity: float | None) -> str:
        config = {name: value for name, value in json.loads(arm).items() if name not in (x, y)}
        return json.dumps(config if sparsity is None else config | {"sparsity": sparsity})

    panels = [panel(row["arm"], row["sparsity"] if beside else None) for row in answers]
    labels = label(panels)
    rows = []
    for row, name in zip(answers, panels, strict=True):
        known = labels[name]
        value, deviation, count = row["value"], row["deviation"], row["trials"]
        mean = (
            mean_interval(value, deviation, count)
            if of in _OF_TWINS
            else measured.mean(value, deviation, count)
        )
        columns = {
            of.value if key == "value" else key: mean.value if key == "value" else each
            for key, each in row.items()
            if key not in ("arm", "sparsity")
        }
        rows.append({"setting": known.setting, "label": known.name, **columns, "half_width": mean.half_width})
    return sorted(rows, key=lambda row: (row["setting"], row["label"]))


def maps(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each map, by its name, without maps with a single value of y."""
    of_map: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["x"] is not None and row["y"] is not None:  # a study measured in steps has no epochs
            of_map[f"{row['setting']}: {row['label']}"].append(row)
    return {name: points for name, points in of_map.items() if len({point["y"] for point in points}) > 1}


def chart(
    rows: Sequence[Mapping[str, Any]], field: str, headline: Headline = ACCURACIES, load: str = "sparsity"
) -> Figure:
    """A heat map: mean value, with its interval over the seeds, by sparsity and another field.

    Args:
        rows: of one map of `regimes`, with the load as x and the field as y.
        load: another field in place of sparsity.
    """
    import plotly.graph_objects as go

    x, y = (sorted({row[axis] for row in rows}, key=float) for axis in ("x", "y"))
    [of] = (each for each in Of if each.value in rows[0])
    means = np.full((len(y), len(x)), np.nan)
    trials = np.zeros(means.shape)
    text = np.full(means.shape, "", dtype=object)
    for row in rows:
        place = y.index(row["y"]), x.index(row["x"])
        means[place], trials[place] = row[of.value], row["trials"]
        text[place] = str(_mean(row, of, headline))
    figure = go.Figure(
        go.Heatmap(
            z=means,
            x=x,
            y=y,
            text=text,
            texttemplate="%{text}",
            customdata=trials,
            **_colours(of, headline),
            hovertemplate="%{x}, %{y}: %{text} over %{customdata} trials<extra></extra>",
            xgap=1,
            ygap=1,
        )
    )
    figure.update_layout(
        xaxis={"type": "category", "title": f"{load} (load)".replace("_", " ")},
        yaxis={"type": "category", "title": f"{field} (temperature)".replace("_", " ")},
    )
    return figure


def _mean(row: Mapping[str, Any], of: Of, headline: Headline) -> Mean:
    """The mean of a row with its bounds and digits."""
    mean = Mean(row[of.value], row["half_width"])
    if of not in _OF_TWINS:
        return headline.unit(mean)
    least, most = _OF_TWINS[of]
    return replace(mean, least=least, most=most)


def _colours(of: Of, headline: Headline) -> dict[str, Any]:
    """The colours of a map and their title: of barriers around 0, which parts them from valleys."""
    if of is Of.LMC_BARRIER:
        return {"colorscale": "RdBu", "zmid": 0, "colorbar": {"title": "barrier<br>(below 0)"}}
    if of in _OF_TWINS:
        return {"colorscale": "Cividis", "zmin": 0, "colorbar": {"title": of.value.replace("_", "<br>")}}
    bounds = {"zmin": 0, "zmax": 1} if headline.is_accuracy else {}
    return {"colorscale": "Cividis", **bounds, "colorbar": {"title": f"test<br>{html(headline.name)}"}}


class Maps(NamedTuple):
    """What the command answers with.

    Attributes:
        x, y: the two fields.
        headline: what the means are of.
    """

    rows: list[Row]
    x: str
    y: str
    headline: Headline


def answer(
    connection: duckdb.DuckDBPyConnection,
    x: Annotated[str, typer.Option(help="a field of the study file: the load")] = "sparsity",
    y: Annotated[str, typer.Option(help="another one: the temperature")] = "prune_epoch",
    of: Annotated[
        Of, typer.Option(help="what the maps show; all but accuracy compare twins")
    ] = Of.TEST_ACCURACY,
) -> Maps:
    """The maps over the two fields that the command names.

    Raises:
        BadInput: there is no such field, or no trial has a twin.
    """
    keys = (
        "SELECT DISTINCT unnest(json_keys(arm)) FROM (SELECT DISTINCT arm FROM trials) WHERE json_valid(arm)"
    )
    fields = ["seed", "sparsity", *(name for (name,) in warehouse.rows(connection, keys))]
    for axis in (x, y):
        if axis not in fields:
            raise BadInput(f"{axis}: no such field; there are: {', '.join(sorted(fields))}")
    found = regimes(connection, x, y, of)
    if of in _OF_TWINS and not found:
        raise BadInput(f"--of {of.value}: no pruned trial here has it: give the study a twin_seed")
    return Maps(found, x, y, headline(connection))


def _rows(answer: Maps) -> list[Row]:
    return answer.rows


def _charts(answer: Maps) -> dict[str, Figure]:
    """A chart for each map; none if a field is no number."""
    numbers = all(_is_number(row[axis]) for row in answer.rows for axis in ("x", "y"))
    found = maps(answer.rows) if numbers else {}
    return {name: chart(points, answer.y, answer.headline, answer.x) for name, points in found.items()}


def _is_number(text: str | None) -> bool:
    try:
        return text is None or bool(float(text) or True)
    except ValueError:
        return False


def temperature_maps(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], list[Row]]:
    """The maps of sparsity and each field that sets the temperature, by the map's name and the field.

    Where there are twins, maps of barrier and CKA come first: the last of all maps is shown first.
    """
    maps_of: dict[tuple[str, str], list[Row]] = {}
    arms = "(SELECT DISTINCT arm FROM trials WHERE sparsity > 0) WHERE json_valid(arm)"
    counts = ", ".join(f"count(DISTINCT arm->>'{field}')" for field in _TEMPERATURES)
    fields = zip(_TEMPERATURES, warehouse.rows(connection, f"SELECT {counts} FROM {arms}")[0], strict=True)
    moved = [field for field, count in fields if count > 1]
    twins = warehouse.rows(connection, "SELECT count(lmc_barrier) FROM trials")[0][0]
    for of in (*((Of.LMC_BARRIER, Of.CKA) if twins else ()), Of.TEST_ACCURACY):
        for field in moved:
            over = maps(regimes(connection, "sparsity", field, of))
            what = f"{of.value}, " if of in _OF_TWINS else ""
            maps_of |= {(f"{what}{name}", field): points for name, points in over.items()}
    return maps_of


def show(page: Page, maps_of: Mapping[tuple[str, str], Sequence[Row]]) -> None:
    """The report's section: one chart with a menu of maps."""
    if not maps_of:
        return
    twins = ""
    if any(Of.LMC_BARRIER.value in points[0] for points in maps_of.values()):
        twins = " lmc_barrier and cka compare networks with their twins: a barrier below 0 parts the two."
    page.heading(
        "Regimes",
        f"Mean test {page.headline.name} with its 95 % Student-t interval over seeds"
        f"{', cut to 0 to 1' * page.headline.is_accuracy}, by load and temperature (Zhou et al. 2023). "
        f"Within a map nothing else differs.{page.headline.direction}{twins}",
    )
    largest = set(sorted(maps_of, key=lambda key: -len(maps_of[key]))[:_MENU])
    if len(maps_of) > _MENU:
        page.parts.append(
            f"<p>The {_MENU} largest of {len(maps_of):,} maps: narrow the report with --study or --where, "
            "or ask python -m analysis regimes.</p>"
        )
    shown = {
        f"{name}: {field}": chart(points, field, page.headline)
        for (name, field), points in maps_of.items()
        if (name, field) in largest
    }
    page.chart(page.headline.named("Mean test accuracy over two axes"), *shown.values(), choices=list(shown))


QUESTION = Question(
    name="regimes",
    help="How does accuracy depend on two fields together, such as sparsity and learning rate?",
    answer=answer,
    rows=_rows,
    charts=_charts,
    files_only=("dataset", "model", "criterion", "scope", "iterations"),
    about_accuracy=True,
    section=Section(find=temperature_maps, show=show, place=70),
)
