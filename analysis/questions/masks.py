"""How much do the masks of two criteria have in common? From queries/masks.sql."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import duckdb
import numpy as np
import typer

from analysis.charts import Figure
from analysis.page import Page
from analysis.questions.question import Question, Row, Section
from analysis.statistics.differences import certain, difference, holm
from analysis.statistics.estimates import number, over
from analysis.warehouse import EACH, ask, count_unsound, rows, unfinished
from analysis.warehouse.arms import CHOICE, label
from analysis.warehouse.sources import quoted
from sweep.config import FIELDS
from sweep.errors import BadInput
from sweep.means import Mean

_NO_PAIR = (
    "No two trials with kept masks differ only in how they choose the mask, or in the field of --between. "
    "Any two trials of one network are compared by their ids: masks ID ID. A trial keeps its mask where its "
    "study says keep: masks (finished trials run again with --rerun)."
)
# The most bits of masks for which the report computes the overlaps, and the most pairs that it draws.
_MOST_BITS, _MOST_PAIRS = 4_000_000_000, 40

First = Annotated[
    str,
    typer.Argument(help="a criterion, criterion:scope, or a trial's id; default: each", show_default=False),
]
Second = Annotated[str | None, typer.Argument(help="another, of the same kind; default: each other one")]
Between = Annotated[
    str | None, typer.Option(help="pair trials that differ in this field alone, such as prune_epoch")
]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What the masks of two arms have in common at one sparsity, in one layer or in all of them.

    Attributes:
        layer: the layer's place; None: all layers together.
        name: of the layer; `all layers`.
        jaccard: weights that both keep over weights that either keeps, over seeds.
        random: the same for random masks that keep as many weights of each layer.
        p: of a mean difference of 0 between the two, paired by seed, with Holm's correction for all tests of
            the answer; NaN: not tested.
        densities: mean share of the weights that the first and the second keep.
        arms: of both.
    """

    setting: str
    first: str
    second: str
    sparsity: float
    layer: int | None
    name: str
    seeds: int
    jaccard: Mean
    random: float
    p: float
    densities: tuple[float, float]
    arms: tuple[str, str]

    @property
    def verdict(self) -> str:
        """`more alike`, `less alike` or `not told apart`, compared with random masks."""
        if not certain(self.p):
            return "not told apart"
        return "more alike" if self.jaccard.value > self.random else "less alike"


def overlaps(
    connection: duckdb.DuckDBPyConnection,
    first: str = EACH,
    second: str = EACH,
    between: str = "",
    *,
    by_layer: bool = False,
) -> list[Overlap]:
    """The overlaps of every pair of masks in every setting, at every sparsity, paired by seed.

    Args:
        first, second: criteria, criteria with their scopes, or ids of trials.
        between: the field in which the trials of a pair differ; "": in how they choose the mask.
        by_layer: also those in each layer.
    """
    count_unsound(connection, "masks")
    answers = ask(connection, "masks", {"first": first, "second": second, "between": between})
    answers = [row for row in answers if by_layer or row["layer"] is None]
    arms = [row[side] for row in answers for side in ("first", "second")]
    labels = label(arms, (between,) if between else CHOICE)
    open_ended = bool(unfinished(connection))
    found = []
    for row in answers:
        beyond = [one - other for one, other in zip(row["jaccard"], row["random"], strict=True)]
        one, other = labels[row["first"]], labels[row["second"]]
        found.append(
            Overlap(
                setting=" / ".join(dict.fromkeys((one.setting, other.setting))),
                first=one.name,
                second=other.name,
                sparsity=row["sparsity"],
                layer=row["layer"],
                name=row["name"] or "all layers",
                seeds=len(row["seeds"]),
                jaccard=Mean.of(row["jaccard"]),
                random=float(np.mean(row["random"])),
                p=math.nan if open_ended else difference(beyond)[1],
                densities=(row["density_first"], row["density_second"]),
                arms=(row["first"], row["second"]),
            )
        )
    corrected = holm([one.p for one in found])
    found = [replace(one, p=p) for one, p in zip(found, corrected, strict=True)]
    return sorted(found, key=lambda one: (one.setting, one.first, one.second, one.sparsity, one.layer or -1))


def answer(
    connection: duckdb.DuckDBPyConnection,
    first: First = EACH,
    second: Second = None,
    between: Between = None,
) -> list[Overlap]:
    """The overlaps that the command names; of two that are named also those in each layer.

    Raises:
        BadInput: a name is of no criterion and of no trial, or of several trials, or there is no such field.
    """
    if between is not None and (
        second or between.partition(".")[0] not in FIELDS or between in ("seed", "sparsity")
    ):
        why = "it pairs trials of one criterion" if second else "no field of a study in which arms differ"
        raise BadInput(f"--between {between}: {why}: for example masks snip --between prune_epoch")
    one, other = (_named(connection, name) for name in (first, second or EACH))
    return overlaps(connection, one, other, between or "", by_layer=second is not None)


def _named(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """A criterion, or the id of the one trial that a name means."""
    text = quoted(name)
    if name == EACH or rows(connection, f"FROM trials WHERE is_named('{text}', criterion, scope) LIMIT 1"):
        return name
    begin = f"SELECT trial_id FROM trials WHERE starts_with(trial_id, '{text}') ORDER BY 1 LIMIT 2"
    ids = [trial for (trial,) in rows(connection, begin)] if name else []
    if len(ids) == 1:
        return str(ids[0])
    known = rows(connection, "SELECT DISTINCT label_of(criterion) FROM trials WHERE sparsity > 0 ORDER BY 1")
    raise BadInput(
        f"{name}: several trials begin with it: write more of the id"
        if ids
        else f"{name}: no criterion and no trial of this name; there are: {', '.join(c for (c,) in known)}"
    )


def as_rows(found: Sequence[Overlap]) -> list[Row]:
    """One row for each pair, sparsity and layer, as numbers."""
    return [
        {
            "setting": one.setting,
            "first": one.first,
            "second": one.second,
            "sparsity": one.sparsity,
            "layer": one.name,
            "seeds": one.seeds,
            "jaccard": one.jaccard.value,
            "jaccard_low": one.jaccard.low,
            "jaccard_high": one.jaccard.high,
            "random": one.random,
            "p_holm": number(one.p),
            "verdict": one.verdict,
            "density_first": one.densities[0],
            "density_second": one.densities[1],
        }
        for one in found
    ]


def sentences(found: Sequence[Overlap]) -> list[str]:
    """For each pair its overlap at each sparsity, beside that of random masks; then what was tested."""
    if not found:
        return [_NO_PAIR]
    pairs: dict[tuple[str, str, str], list[Overlap]] = defaultdict(list)
    for one in found:
        if one.layer is None:
            pairs[one.setting, one.first, one.second].append(one)
    said = []
    for (setting, first, second), among in pairs.items():
        at = [f"{one.jaccard} at {one.sparsity:g} (random {one.random:.3f})" for one in among]
        said.append(f"{setting}: {first} and {second}: {', '.join(at)}")
    tests = sum(not math.isnan(one.p) for one in found)
    words = (
        f"More or less alike than random masks: at 5 % after Holm's correction for {tests} "
        f"test{'s' * (tests != 1)}, paired by seed."
        if tests
        else "Nothing is tested: that takes two seeds, and a study that has ended."
    )
    said.append(
        "jaccard: weights that both masks keep over weights that either keeps; random: the same for random "
        f"masks that keep as many weights of each layer. Pointwise 95 % intervals over "
        f"{over(arm for one in found for arm in one.arms)}. {words}"
    )
    return said


def chart(found: Sequence[Overlap]) -> Figure:
    """A heat map of the overlaps of one setting: pairs by sparsity, with random masks in the tooltip."""
    import plotly.graph_objects as go

    sparsities = sorted({one.sparsity for one in found})
    pairs = list(dict.fromkeys(f"{one.first}, {one.second}" for one in found))
    share = np.full((len(pairs), len(sparsities)), np.nan)
    text = np.full(share.shape, "", dtype=object)
    for one in found:
        place = pairs.index(f"{one.first}, {one.second}"), sparsities.index(one.sparsity)
        share[place] = one.jaccard.value
        text[place] = f"{one.jaccard} of {one.seeds} seeds, random masks {one.random:.3f}: {one.verdict}"
    figure = go.Figure(
        go.Heatmap(
            z=share,
            x=[f"{sparsity:g}" for sparsity in sparsities],
            y=pairs,
            text=text,
            zmin=0,
            zmax=1,
            hovertemplate="%{y} at %{x}: %{text}<extra></extra>",
            colorscale=[[0, "rgba(128,128,128,0.15)"], [1, "#0072B2"]],
            colorbar={"title": "Jaccard"},
            xgap=1,
            ygap=1,
        )
    )
    figure.update_layout(
        yaxis={"autorange": "reversed", "type": "category"}, xaxis={"type": "category", "title": "sparsity"}
    )
    return figure


@dataclass(frozen=True)
class Shown:
    """What the report shows.

    Attributes:
        by_setting: setting → overlaps of all layers together.
        too_large: the masks are too many for the report.
    """

    by_setting: Mapping[str, Sequence[Overlap]]
    too_large: bool = False


def _find(connection: duckdb.DuckDBPyConnection) -> Shown:
    [(bits,)] = rows(connection, "SELECT coalesce(sum(params), 0) FROM all_masks")
    if not bits or bits > _MOST_BITS:
        return Shown({}, too_large=bool(bits))
    by_setting: dict[str, list[Overlap]] = defaultdict(list)
    for one in overlaps(connection):
        by_setting[one.setting].append(one)
    return Shown(by_setting)


def show(page: Page, shown: Shown) -> None:
    """The report's section: a heat map for each setting; none where no masks are kept."""
    if not shown.by_setting and not shown.too_large:
        return
    page.heading(
        "How much do masks have in common?",
        "Jaccard: weights that both masks keep over weights that either keeps. The tooltip has that of "
        "random masks that keep as many weights of each layer.",
    )
    if shown.too_large:
        page.sentences(["These masks are too many for a page: python -m analysis masks FIRST SECOND"])
    for setting in page.settings(list(shown.by_setting)):
        pairs = list(dict.fromkeys((one.first, one.second) for one in shown.by_setting[setting]))
        drawn = [one for one in shown.by_setting[setting] if (one.first, one.second) in pairs[:_MOST_PAIRS]]
        if len(pairs) > _MOST_PAIRS:
            page.sentences([f"{len(pairs) - _MOST_PAIRS} more pairs: python -m analysis masks"])
        page.chart(f"Overlap of masks: {setting}", chart(drawn), height=200 + 22 * len(pairs[:_MOST_PAIRS]))


QUESTION = Question(
    name="masks",
    help="How much do the masks of two criteria, or of two trials, have in common? Needs keep: masks.",
    answer=answer,
    rows=as_rows,
    sentences=sentences,
    compares_criteria=True,
    section=Section(find=_find, show=show, place=45),
)
