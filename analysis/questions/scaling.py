"""Does the mean of kept weights over training say what loss a network has? Laws of loss, size and data."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np

from analysis.charts import Figure, error_bars, style
from analysis.page import Page
from analysis.questions.question import Question, Row, Section, Summary
from analysis.statistics.estimates import Estimate, columns, over
from analysis.statistics.laws import NAMES, SEEDS, Contrast, Losses, contrast
from analysis.warehouse import ask, running
from analysis.warehouse.arms import AFTER_DENSE, label, without
from sweep.config import DENSE
from sweep.means import UNBOUNDED, Mean

# Fields that make the journey of the density, and how long it is: trials of one law may differ in them.
_JOURNEY = ("epochs", "steps", "prune_epoch", "update_every", "update_end", "iterations", "schedule")
# A law has five parameters: the fewest cells, and the fewest sizes and amounts of data, that it is fitted to.
_CELLS, _VALUES = 8, 3
# How many there are of cells, mean sizes, final sizes and amounts of data.
_Counts = tuple[int, int, int, int]
# The sizes of the two laws, as rows and sentences name them.
_MEAN, _FINAL = "mean active weights", "final weights"
_GREEK = {"alpha": "α", "beta": "β"}


@dataclass(frozen=True)
class Laws:
    """The laws of one setting and way to choose the mask.

    Attributes:
        arms: of the trials.
        losses: the trials' losses and data.
        active, kept: their mean active weights and final weights.
        found: the law in mean active weights, and that in final ones; of an unfinished study no verdict.
        unfinished: how far the study is, in words; "": it has ended.
    """

    setting: str
    way: str
    arms: tuple[str, ...]
    losses: Losses
    active: Any
    kept: Any
    found: Contrast
    unfinished: str

    @property
    def cells(self) -> int:
        """Number of cells: trials that differ in the seed alone."""
        return len(np.unique(self.losses.cell))


def scaling(connection: duckdb.DuckDBPyConnection) -> list[Laws]:
    """The laws of all settings with enough cells, sizes and amounts of data; none where there are too few."""
    groups = {
        name: rows for name, rows in _groups(ask(connection, "scaling")).items() if _suffice(_counts(rows))
    }
    labels = label(groups)
    data = [_losses(rows) for rows in groups.values()]
    sizes = [
        [np.array([row[size] for row in rows], dtype=float) for rows in groups.values()]
        for size in ("active", "kept")
    ]
    unfinished, laws = running(connection), []
    for (name, rows), losses, active, kept, law in zip(
        groups.items(), data, *sizes, contrast(data, *sizes), strict=True
    ):
        arms = tuple({row["arm"]: 0 for row in rows})
        so_far = next((unfinished[arm] for arm in arms if arm in unfinished), "")
        found = replace(law, verdict=0) if so_far else law
        named = labels[name]
        laws.append(Laws(named.setting, named.name, arms, losses, active, kept, found, so_far))
    return sorted(laws, key=lambda one: (one.setting, one.way))


class Answer(list[Laws]):
    """The laws of all settings.

    Attributes:
        lacking: what the results lack for a law, in words; "": there is one.
    """

    lacking = ""


def answer(connection: duckdb.DuckDBPyConnection) -> Answer:
    """The laws of all settings, or what the results lack for one."""
    found = Answer(scaling(connection))
    if not found:
        found.lacking = _lacking(_groups(ask(connection, "scaling")))
    return found


def _lacking(groups: Mapping[str, list[Row]]) -> str:
    """What results lack for a law.

    Args:
        groups: the rows that one law would be fitted to, by what they have in common.
    """
    if not groups:
        return (
            "No law: no pruned trial here has a loss above 0 and spent_steps, a column that older results "
            "lack: run a study such as studies/journey.yaml."
        )
    cells, means, finals, data = max(map(_counts, groups.values()))
    return (
        f"No law: five parameters need {_CELLS} cells (trials that differ in the seed alone), with {_VALUES} "
        f"mean sizes, {_VALUES} final sizes and {_VALUES} amounts of data (epochs); here are at most "
        f"{cells}, with {means}, {finals} and {data}: run a study such as studies/journey.yaml."
    )


def _groups(answers: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each law, by the arm less the journey; dense rows are in all that train like them."""
    known = [row for row in answers if row["data"] is not None]
    groups: dict[str, list[Row]] = defaultdict(list)
    dense: dict[str, list[Row]] = defaultdict(list)
    for row in known:
        if row["criterion"] == DENSE:
            dense[without(row["arm"], (*_JOURNEY, *AFTER_DENSE))].append(row)
        else:
            groups[without(row["arm"], _JOURNEY)].append(row)
    for name, rows in groups.items():
        rows += dense[without(name, AFTER_DENSE)]
    return dict(groups)


def _counts(rows: Sequence[Row]) -> _Counts:
    cells = len({(row["arm"], row["sparsity"]) for row in rows})
    # Means over steps differ by a rounding between trials that differ in nothing.
    mean, final = (len({f"{row[size]:.4g}" for row in rows}) for size in ("active", "kept"))
    return cells, mean, final, len({row["data"] for row in rows})


def _suffice(counts: _Counts) -> bool:
    """Whether a law can be fitted."""
    return counts[0] >= _CELLS and min(counts[1:]) >= _VALUES


def _losses(rows: Sequence[Row]) -> Losses:
    cells = {cell: place for place, cell in enumerate({(row["arm"], row["sparsity"]): 0 for row in rows})}
    return Losses(
        loss=np.array([row["loss"] for row in rows], dtype=float),
        data=np.array([row["data"] for row in rows], dtype=float),
        seed=np.array([row["seed"] for row in rows], dtype=np.int64),
        cell=np.array([cells[row["arm"], row["sparsity"]] for row in rows], dtype=np.int64),
    )


def rows(laws: Sequence[Laws]) -> list[Row]:
    """Two rows for each setting and way, one a size, as numbers."""
    return [
        {
            "setting": one.setting,
            "criterion": one.way,
            "size": size,
            "cells": one.cells,
            "trials": len(one.losses.loss),
            "seeds": len(np.unique(one.losses.seed)),
            **{
                key: value
                for pair in zip(NAMES, law.parameters, strict=True)
                for key, value in columns(*pair).items()
            },
            "error": law.error,
            **columns("difference", one.found.difference),
            "verdict": _verdict(one.found),
        }
        for one in laws
        for size, law in ((_MEAN, one.found.first), (_FINAL, one.found.second))
    ]


def _text(estimate: Estimate) -> str:
    """Three significant digits: parameters differ by powers of ten."""
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def _verdict(found: Contrast) -> str:
    return {1: f"{_MEAN} fit better", -1: f"{_FINAL} fit better", 0: "open"}[found.verdict]


def sentences(laws: Answer) -> list[str]:
    """For each setting its law, and which size fits better; then what the laws and the intervals are."""
    return [*_found(laws), note(laws)] if laws else [laws.lacking]


def _found(laws: Sequence[Laws]) -> list[str]:
    said = []
    for one in laws:
        law, found = one.found.first, one.found
        e, a, b, alpha, beta = law.parameters
        text = (
            f"{one.setting}: {one.way}: validation loss = {e.value:.3g} + "
            f"{a.value:.3g} / N̄^{alpha.value:.2f} + {b.value:.3g} / D^{beta.value:.2f} over {one.cells} cells"
        )
        seeds = len(np.unique(one.losses.seed))
        if found.difference.low is None:
            said.append(f"{text}; {seeds} seed{'s' * (seeds != 1)}: no interval, and nothing is compared")
            continue
        text += f"; α {_text(alpha)}, β {_text(beta)}, limit E {_text(e)}"
        if law.open:
            text += f"; at a bound and so left open: {' and '.join(_GREEK[name] for name in law.open)}"
        errors = f"{law.error:.3g} with {_MEAN} and {found.second.error:.3g} with {_FINAL}"
        verdict = _verdict(found)
        if not found.verdict:
            verdict = "which fits better is open" + (f" after {one.unfinished}" if one.unfinished else "")
        said.append(f"{text}. The error of log loss is {errors}: {verdict} (difference {found.difference})")
    return said


def note(laws: Sequence[Laws]) -> str:
    """What the laws and their intervals are, and what is not said."""
    arms = [arm for one in laws for arm in one.arms]
    several = f" for all {len(laws)} comparisons together (Bonferroni)" if len(laws) > 1 else ""
    return (
        "N̄: kept weights, mean over the steps of training; D: training samples seen, in all epochs. Fits by "
        "Huber's loss of log validation loss (Hoffmann et al. 2022); the error is the root mean square of "
        f"what is left of it on the trials that were fitted. Intervals are pointwise, 95 %, by resampling "
        f"{over(arms)}; {SEEDS} seeds at least. Which size fits better is certain at 5 %{several}. A law "
        "describes the cells that it is fitted to: nothing is said of other sizes and lengths. No law has "
        "lost trials."
    )


def chart(one: Laws) -> Figure:
    """Mean validation loss of each cell against its mean active weights, with the law's curves."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for index, data in enumerate(np.unique(one.losses.data)):
        cells = np.unique(one.losses.cell[one.losses.data == data])
        sizes = [float(one.active[one.losses.cell == cell].mean()) for cell in cells]
        means = [Mean.of(one.losses.loss[one.losses.cell == cell].tolist(), UNBOUNDED) for cell in cells]
        name = f"{data:,.0f} samples"
        figure.add_scatter(
            x=sizes,
            y=[mean.value for mean in means],
            error_y=error_bars(means),
            name=name,
            legendgroup=name,
            mode="markers",
            marker=style(index)["marker"],
        )
        line = np.geomspace(min(sizes), max(sizes), 40)
        figure.add_scatter(
            x=line.tolist(),
            y=one.found.first.loss(line, data).tolist(),
            name=name,
            legendgroup=name,
            showlegend=False,
            mode="lines",
            line=style(index)["line"],
        )
    figure.update_layout(
        xaxis={"type": "log", "title": "mean active weights"},
        yaxis={"type": "log", "title": "validation loss"},
    )
    return figure


def _charts(laws: Sequence[Laws]) -> dict[str, Figure]:
    return {f"{one.setting}: {one.way}": chart(one) for one in laws}


def show(page: Page, laws: Sequence[Laws]) -> None:
    """The report's section: for each setting a chart with the law's curves, and its sentence."""
    if not laws:
        return
    page.heading("How does loss scale with weights and data?", note(laws))
    charts = _charts(laws)
    said = dict(zip(charts, _found(laws), strict=True))
    for name in page.settings(list(charts)):
        page.chart(f"Validation loss against mean active weights: {name}", charts[name])
        page.sentences([said[name]])


QUESTION = Question(
    name="scaling",
    help="Does loss follow a law of data and the mean of kept weights over training, or of the last weights?",
    answer=answer,
    rows=rows,
    sentences=sentences,
    files_only=tuple(f"{name}{end}" for name in ("E", "A", "B") for end in ("", "_low", "_high")),
    charts=_charts,
    section=Section(
        find=scaling, show=show, place=75, summary=Summary(place=60, title="Laws of loss", sentences=_found)
    ),
)
