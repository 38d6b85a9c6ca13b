"""How does accuracy depend on two fields together? One map for each arm without the two fields."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
from sweep.means import Mean

# Fields that set the temperature of training, or stand for it (Zhou et al. 2023).
_TEMPERATURES = ("weight_decay", "epochs", "batch_size", "lr", "prune_epoch")
# The most maps in the report's menu.
_MENU = 60


def regimes(connection: duckdb.DuckDBPyConnection, x: str = "sparsity", y: str = "prune_epoch") -> list[Row]:
    """One row for each arm and sparsity, map by map.

    `setting` and `label` name the map. Within a map only the two fields and the seeds differ: each mean is
    over the seeds of one arm at one sparsity, or is one trial if a field is the seed. If sparsity is neither
    x nor y, each sparsity has its own maps. `half_width` is that of the mean's 95 % Student-t interval over
    the seeds; None for one seed.

    Args:
        x, y: fields of the config.
    """
    measured = headline(connection)
    answers = ask(connection, "regimes", {"x": x, "y": y})
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
        mean = measured.mean(row["test_accuracy"], row["deviation"], row["trials"])
        row["test_accuracy"] = mean.value
        columns = {key: value for key, value in row.items() if key not in ("arm", "sparsity")}
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
    """A heat map: mean test value, with its interval over the seeds, by sparsity and another field.

    Args:
        rows: of one map of `regimes`, with the load as x and the field as y.
        load: another field in place of sparsity.
    """
    import plotly.graph_objects as go

    x, y = (sorted({row[axis] for row in rows}, key=float) for axis in ("x", "y"))
    accuracy = np.full((len(y), len(x)), np.nan)
    trials = np.zeros(accuracy.shape)
    text = np.full(accuracy.shape, "", dtype=object)
    for row in rows:
        place = y.index(row["y"]), x.index(row["x"])
        accuracy[place], trials[place] = row["test_accuracy"], row["trials"]
        text[place] = str(headline.unit(Mean(row["test_accuracy"], row["half_width"])))
    figure = go.Figure(
        go.Heatmap(
            z=accuracy,
            x=x,
            y=y,
            text=text,
            texttemplate="%{text}",
            customdata=trials,
            colorscale="Cividis",
            **({"zmin": 0, "zmax": 1} if headline.is_accuracy else {}),
            hovertemplate="%{x}, %{y}: %{text} over %{customdata} trials<extra></extra>",
            colorbar={"title": f"test<br>{html(headline.name)}"},
            xgap=1,
            ygap=1,
        )
    )
    figure.update_layout(
        xaxis={"type": "category", "title": f"{load} (load)".replace("_", " ")},
        yaxis={"type": "category", "title": f"{field} (temperature)".replace("_", " ")},
    )
    return figure


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
) -> Maps:
    """The maps over the two fields that the command names.

    Raises:
        BadInput: there is no such field.
    """
    keys = (
        "SELECT DISTINCT unnest(json_keys(arm)) FROM (SELECT DISTINCT arm FROM trials) WHERE json_valid(arm)"
    )
    fields = ["seed", "sparsity", *(name for (name,) in warehouse.rows(connection, keys))]
    for axis in (x, y):
        if axis not in fields:
            raise BadInput(f"{axis}: no such field; there are: {', '.join(sorted(fields))}")
    return Maps(regimes(connection, x, y), x, y, headline(connection))


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
    """The maps of sparsity and each field that sets the temperature, by the map's name and the field."""
    maps_of: dict[tuple[str, str], list[Row]] = {}
    for field in _TEMPERATURES:
        arms = "(SELECT DISTINCT arm FROM trials WHERE sparsity > 0) WHERE json_valid(arm)"
        values = f"SELECT count(DISTINCT arm->>'{field}') FROM {arms}"
        if warehouse.rows(connection, values)[0][0] > 1:
            over = maps(regimes(connection, "sparsity", field))
            maps_of |= {(name, field): points for name, points in over.items()}
    return maps_of


def show(page: Page, maps_of: Mapping[tuple[str, str], Sequence[Row]]) -> None:
    """The report's section: one chart with a menu of maps."""
    if not maps_of:
        return
    page.heading(
        "Regimes",
        f"Mean test {page.headline.name} with its 95 % Student-t interval over seeds"
        f"{', cut to 0 to 1' * page.headline.is_accuracy}, by load and temperature (Zhou et al. 2023). "
        f"Within a map nothing else differs.{page.headline.direction}",
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
