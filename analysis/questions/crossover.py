"""Where does one criterion fall below another? Paired by seed, corrected over the whole answer."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from analysis.cells import Column
from analysis.charts import Figure, band, style
from analysis.page import Page
from analysis.questions.pair import First, Second, pair
from analysis.questions.question import Question, Section, Summary
from analysis.questions.verdict import Comparison, Crossover
from analysis.statistics.crossings import decide
from analysis.statistics.differences import Paired, paired
from analysis.statistics.estimates import number
from analysis.tables import draw, fold
from analysis.warehouse import ACCURACIES, EACH, NO_PAIR, Headline, ask, baseline, headline, running
from analysis.warehouse.arms import Label, label, without
from sweep.config import AFTER_DENSE

_MEANS = (
    "(equal): all seeds ended alike, which is no interval. *: runs far from the cell's median, so that the "
    "mean is of two kinds of runs. There is one test set: its own sampling is in no interval."
)


def compare(
    connection: duckdb.DuckDBPyConnection, first: str = EACH, second: str | None = None
) -> list[Comparison]:
    """The comparisons in all settings with finished trials, by test accuracy after the last epoch.

    Args:
        first, second: a criterion, or `criterion:scope`. The default compares every criterion with the
            baseline. "" as the second: nothing is compared.
    """
    if second is None:
        second = baseline(connection, first) or ""
    measured = headline(connection)
    answers = ask(connection, "accuracy", {"range": str(measured.range)})
    labels = label(row["arm"] for row in answers)
    settings = sorted({known.setting for known in labels.values()})
    comparisons = {name: Comparison(name, second, headline=measured) for name in settings}
    # A newer protocol of pruned arms leaves the dense network as it was.
    rests = {arm: without(arm, (*AFTER_DENSE, "protocol")) for arm in labels}
    apart: dict[str, dict[float, tuple[int, int]]] = defaultdict(dict)
    for row in answers:
        arm, known = row["arm"], labels[row["arm"]]
        apart[arm][row["sparsity"]] = row["apart"], row["trials"]
        places = {known.setting}
        if known.dense:  # the dense network belongs to every setting that trains it alike
            pruned = {
                labels[a].setting for a, rest in rests.items() if rest == rests[arm] and not labels[a].dense
            }
            places = pruned or places
        for place in places:
            means = comparisons[place].means.setdefault(known.name, {})
            means[row["sparsity"]] = measured.mean(row["mean"], row["deviation"], row["trials"], row["lost"])
            comparisons[place].apart.setdefault(known.name, {})[row["sparsity"]] = row["apart"]
    if second:
        _compare_pairs(connection, first, second, labels, apart, comparisons)
    return [comparison for comparison in comparisons.values() if comparison.means]


def _compare_pairs(
    connection: duckdb.DuckDBPyConnection,
    first: str,
    second: str,
    labels: Mapping[str, Label],
    apart: Mapping[str, Mapping[float, tuple[int, int]]],
    comparisons: Mapping[str, Comparison],
) -> None:
    """Add the crossovers of all pairs to the comparisons of their settings.

    Args:
        apart: by arm and sparsity, the runs far from the median, and all finished runs.
        comparisons: the comparisons by setting.
    """
    measured = next((one.headline for one in comparisons.values()), ACCURACIES)
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in ask(connection, "crossover", {"first": first, "second": second}):
        pairs[row["first"], row["second"]].append(row)
    unfinished = running(connection)
    tested = [
        (
            [row["sparsity"] for row in rows],
            [_paired(row, measured) for row in rows],
            not (unfinished.get(one) or unfinished.get(other)),
        )
        for (one, other), rows in pairs.items()
    ]
    for ((one, other), rows), differences in zip(pairs.items(), decide(tested), strict=True):
        sparsities = [row["sparsity"] for row in rows]
        far = [
            (sum(apart[arm][s][0] for s in sparsities), sum(apart[arm][s][1] for s in sparsities))
            for arm in (one, other)
        ]
        comparisons[labels[one].setting].crossovers.append(
            Crossover(
                labels[one].name,
                labels[other].name,
                differences,
                (far[0], far[1]),
                unfinished.get(one) or unfinished.get(other) or "",
                measured,
            )
        )


def _paired(row: Mapping[str, Any], headline: Headline) -> Paired:
    lost = [(pair["first"], pair["second"]) for pair in row["lost"] or ()]
    found = paired(row["differences"] or [], lost, headline.of_lost(row["first"]) if lost else 0.0)
    return replace(
        found,
        mean=headline.unit(found.mean),
        bound=None if found.bound is None else headline.unit(found.bound),
    )


def rows(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """One row for each setting, pair and sparsity, as numbers."""
    return [
        {
            "setting": comparison.setting,
            "first": crossover.first,
            "second": crossover.second,
            "sparsity": d.sparsity,
            "seeds": d.paired.seeds,
            "first_lost": d.paired.lost[0],
            "second_lost": d.paired.lost[1],
            "difference": number(crossover.headline.own(d.mean.value)),
            "low": low,
            "high": high,
            "difference_lost_at_chance": number(crossover.headline.own((d.paired.bound or d.mean).value)),
            "p_holm": number(d.p),
            "verdict": crossover.verdict,
            "crossover": crossings[-1].at if crossings else None,
            "crossover_low": crossings[-1].low if crossings else None,
            "crossover_high": crossings[-1].high if crossings else None,
            "next_sparsity": crossings[-1].next if crossings else None,
        }
        for comparison in comparisons
        for crossover in comparison.crossovers
        for crossings in [crossover.crossings]
        for d in crossover.differences
        for low, high in [crossover.headline.ends(d.mean.low, d.mean.high)]
    ]


def note(comparisons: Sequence[Comparison]) -> str:
    """What the intervals are over, and what certain means; printed below every answer."""
    measured = comparisons[0].headline if comparisons else ACCURACIES
    means = f"{measured.about} {_MEANS}"
    pairs = [crossover for comparison in comparisons for crossover in comparison.crossovers]
    tests = sum(not math.isnan(d.p) for crossover in pairs for d in crossover.differences)
    if not pairs:
        return f"{means} {NO_PAIR}"
    if not tests:
        return (
            f"{means} No difference is tested: that takes two seeds that finished in both, and a study "
            "that has ended."
        )
    return (
        f"{means} Differences are paired by seed (Student's t). Certain is what holds at 5 % after Holm's "
        f"correction over all tests of this answer: {tests:,} (pairs: {len(pairs):,}). A crossing lies "
        "between two tested sparsities with certain signs, whatever the curves do in between."
    )


def text(comparison: Comparison) -> str:
    """A comparison for the terminal: a table of all means, and a sentence for each pair."""
    names, rows = list(comparison.table), comparison.table.values()
    means = [
        Column(f"{sparsity:g}", cells, right=True)
        for sparsity, cells in zip(comparison.sparsities, zip(*rows, strict=True), strict=True)
    ]
    table = draw([Column("sparsity", names, right=False), *means])
    sentences = "".join(f"{fold(f'  {crossover}', '    ')}\n" for crossover in comparison.crossovers)
    return f"{comparison.setting}\n{table}{sentences}"


def chart(comparison: Comparison, names: Sequence[str]) -> Figure:
    """Means with their 95 % bands against density, on a log scale labelled with sparsity."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for index, name in enumerate(names):
        means = sorted((s, m) for s, m in comparison.means.get(name, {}).items() if not math.isnan(m.value))
        if not means:
            continue
        density = [1 - sparsity for sparsity, _ in means]
        highs = [m.value if m.high is None else m.high for _, m in means]
        lows = [m.value if m.low is None else m.low for _, m in means]
        band(figure, density, lows, highs, index, name)
        figure.add_scatter(
            x=density,
            y=[mean.value for _, mean in means],
            customdata=[[sparsity, str(mean)] for sparsity, mean in means],
            hovertemplate="sparsity %{customdata[0]}: %{customdata[1]}",
            name=name,
            legendgroup=name,
            mode="lines+markers",
            **style(index),
        )
    densities = [1 - sparsity for sparsity in comparison.sparsities]
    brackets = [(one, crossing) for one in comparison.crossovers for crossing in one.crossings]
    for index, (one, crossing) in enumerate(brackets):
        late = (1 - crossing.low) * (1 - crossing.high) < max(densities) * min(densities)
        figure.add_vrect(
            x0=1 - crossing.low, x1=1 - crossing.high, fillcolor="#808080", opacity=0.15, line_width=0
        )
        figure.add_annotation(
            text=f" {one.first} crosses {one.second} between {crossing.low:g} and {crossing.high:g} ",
            # On the side with more room. Annotations have positions in units of the log axis.
            x=math.log10(1 - (crossing.high if late else crossing.low)),
            y=0.02 + 0.06 * index,
            xanchor="right" if late else "left",
            showarrow=False,
        )
    figure.update_layout(
        xaxis={
            "type": "log",
            # Falling: sparser networks to the right, as in papers.
            "range": [math.log10(max(densities) * 1.1), math.log10(min(densities) / 1.1)],
            "title": "sparsity (log density)",
            "tickvals": densities,
            "ticktext": [f"{sparsity:g}" for sparsity in comparison.sparsities],
        },
        yaxis={"title": f"test {comparison.headline.name}"}
        | ({"range": [0, 1.02]} if comparison.headline.is_accuracy else {}),
    )
    return figure


def _names(comparisons: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys(name for comparison in comparisons for name in comparison.means))


def show(page: Page, comparisons: Sequence[Comparison]) -> None:
    """The report's section: for each setting a chart and a table of means."""
    names = _names(comparisons)
    second = next((comparison.second for comparison in comparisons if comparison.second), "")
    fall = "fall below" if page.headline.sign > 0 else "become worse than"
    alone = page.headline.named("Which accuracy has each criterion?")
    if page.headline.is_accuracy:
        alone = "How accurate is each criterion?"
    page.heading(
        f"Where does a criterion {fall} {second}?" if second else alone,
        f"{note(comparisons)} The bands of a chart are the same intervals.",
    )
    by_setting = {comparison.setting: comparison for comparison in comparisons}
    for setting in page.settings(list(by_setting)):
        comparison = by_setting[setting]
        page.chart(f"Test {page.headline.name} against sparsity: {setting}", chart(comparison, names))
        page.table(
            ["sparsity", *(f"{sparsity:g}" for sparsity in comparison.sparsities)],
            [[name, *cells] for name, cells in comparison.table.items()],
        )


def answer(
    connection: duckdb.DuckDBPyConnection, first: First = EACH, second: Second = None
) -> list[Comparison]:
    """The comparisons of the criteria that the command names."""
    return compare(connection, *pair(connection, first, second))


def terminal(comparisons: Sequence[Comparison]) -> str:
    """All comparisons for the terminal, and the note below them."""
    words = "Words such as certainly, undecided and bracket: python -m analysis words"
    return "\n".join([*map(text, comparisons), fold(note(comparisons), ""), words])


def _sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """A sentence for each pair, with its setting where there are several."""
    return [
        f"{comparison.setting}: {crossover}" if len(comparisons) > 1 else str(crossover)
        for comparison in comparisons
        for crossover in comparison.crossovers
    ]


def _in_words(comparisons: Sequence[Comparison]) -> list[str]:
    return [*_sentences(comparisons), note(comparisons)]


def _charts(comparisons: Sequence[Comparison]) -> dict[str, Figure]:
    """A chart for each setting."""
    return {one.setting: chart(one, _names(comparisons)) for one in comparisons}


QUESTION = Question(
    name="crossover",
    help="Where does one criterion fall below another? By default each against random pruning.",
    answer=answer,
    rows=rows,
    sentences=_in_words,
    terminal=terminal,
    charts=_charts,
    compares_criteria=True,
    about_accuracy=True,
    section=Section(
        find=compare, show=show, place=10, summary=Summary(place=10, title="", sentences=_sentences)
    ),
)
