"""One HTML file with the answers: opens offline, by itself."""

import json
import math
import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import duckdb
import plotly.offline

from analysis.questions import best, collapse, correlation, crossover, regimes
from analysis.report import charts, profiles, search
from analysis.report.page import SETTINGS, Page, embedded
from analysis.warehouse import ask, files, left, provisional, rows
from analysis.warehouse.arms import label
from sweep.foreign import html
from sweep.store.places import Place, small

# The latest so many are listed.
_TRIALS = 2_000
_MENU = 60
# What sets the temperature of training, or stands for it.
_TEMPERATURES = ("weight_decay", "epochs", "batch_size", "lr", "prune_epoch")
_COLUMNS = (
    *(
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
    ),
    *(
        "epochs",
        "seed",
        "density",
        "pre_test_accuracy",
        "val_accuracy",
        "test_accuracy",
        "collapsed_layers",
        "wall_seconds",
    ),
)


def render(connection: duckdb.DuckDBPyConnection, results: Place) -> str:
    """The page, as HTML that loads nothing.

    Args:
        connection: from `analysis.open`, maybe narrowed.
        results: the folder, for its study files and provenance.
    """
    page = Page()
    comparisons = crossover.compare(connection)
    correlations = correlation.correlate(connection)
    ranked = best.rank(connection)
    collapsed = collapse.collapse(connection)
    page.sentences(provisional(connection))
    page.heading("Summary")
    page.sentences(
        f"{comparison.setting}: {found}" if len(comparisons) > 1 else str(found)
        for comparison in comparisons
        for found in comparison.crossovers
    )
    page.details("Best schedules, by validation accuracy", best.sentences(ranked))
    page.details("Loss before retraining against accuracy after it", correlation.sentences(correlations))
    page.details("Collapsed layers", collapse.sentences(collapsed))
    studies = left(connection)
    search.show(page, results, studies)
    _crossovers(page, comparisons)
    profiles.show(page, connection)
    _correlations(page, correlations)
    _arms(page, connection)
    _fronts(page, ranked)
    _regimes(page, connection)
    _trials(page, connection)
    _provenance(page, results, studies)
    return Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8")).substitute(
        plotly=plotly.offline.get_plotlyjs(),
        # Only scripts that know this word run, and nothing is loaded: whatever the results have in them.
        nonce=secrets.token_urlsafe(16),
        title=html(_title(connection)),
        body="\n".join(page.parts),
    )


def _title(connection: duckdb.DuckDBPyConnection) -> str:
    names = [row[0] for row in rows(connection, "SELECT DISTINCT study FROM trials ORDER BY 1")]
    return ", ".join(map(str, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _crossovers(page: Page, comparisons: Sequence[crossover.Comparison]) -> None:
    names = list(dict.fromkeys(name for comparison in comparisons for name in comparison.means))
    second = next((comparison.second for comparison in comparisons if comparison.second), "")
    page.heading(
        f"Where does a criterion fall below {second}?" if second else "How accurate is each criterion?",
        f"{crossover.note(comparisons)} The bands of a chart are the same intervals.",
    )
    page.left_out(len(comparisons))
    for comparison in comparisons[:SETTINGS]:
        page.subheading(comparison.setting)
        page.chart(
            f"Test accuracy against sparsity: {comparison.setting}", charts.crossover(comparison, names)
        )
        page.table(
            ["sparsity", *(f"{sparsity:g}" for sparsity in comparison.sparsities)],
            [[name, *cells] for name, cells in comparison.table.items()],
        )


def _correlations(page: Page, found: Sequence[correlation.Correlation]) -> None:
    settings: dict[str, dict[str, list[correlation.Correlation]]] = defaultdict(lambda: defaultdict(list))
    for one in found:
        settings[one.setting][one.measure].append(one)
    if not settings:
        return
    page.heading(
        "Does the loss after pruning say what comes of it?",
        "Each point is a trial. Kendall's τ within a sparsity, with its 95 % interval over criteria and "
        "seeds; pooled over sparsities it misleads, because sparsity itself moves both numbers. "
        f"{correlation.tests(found)}",
    )
    page.left_out(len(settings))
    for setting in list(settings)[:SETTINGS]:
        page.subheading(setting)
        for measure, groups in settings[setting].items():
            within = [one for one in groups if one.sparsity is not None]
            name = correlation.NAMES[measure]
            page.chart(f"{name} against final accuracy: {setting}", charts.correlation(within))
            page.table(
                [
                    "sparsity",
                    "masks",
                    "of",
                    "Kendall τ",
                    "p (Holm)",
                    "Spearman ρ",
                    "Pearson r",
                    "regret",
                    "anomalies",
                ],
                [
                    [
                        f"{one.sparsity:g}" if one.sparsity is not None else "pooled (misleads)",
                        f"{one.masks:,}",
                        one.counts,
                        one.kendall,
                        "" if math.isnan(one.p_holm) else f"{one.p_holm:.2g}",
                        one.spearman,
                        one.pearson,
                        "" if one.regret_best is None else f"{one.regret_best:.3f}",
                        "" if one.anomalies is None else f"{one.anomalies:.1%}",
                    ]
                    for one in groups
                ],
            )
            limits: dict[str, list[str]] = defaultdict(list)
            for one in groups:
                if one.limits:
                    limits[one.limits].append("pooled" if one.sparsity is None else f"{one.sparsity:g}")
            page.sentences(f"{', '.join(at)}: {why}" for why, at in limits.items())


def _arms(page: Page, connection: duckdb.DuckDBPyConnection) -> None:
    """Charts of layers and of learning: a chart a setting, over the arms in it."""
    for name, title, note in (
        ("layers", "Which layers are removed whole?", "Share of trials in which a layer keeps no weight."),
        ("curves", "How does training go?", "Mean validation accuracy over seeds at the end of each epoch."),
    ):
        found = ask(connection, name)
        labels = label(row["arm"] for row in found)
        names = {arm: known.name for arm, known in labels.items()}
        settings = sorted({known.setting for known in labels.values() if not known.dense})
        if not settings:
            continue
        page.heading(title, note)
        page.left_out(len(settings))
        for setting in settings[:SETTINGS]:
            here = [row for row in found if labels[row["arm"]].setting == setting]
            page.subheading(setting)
            if name == "layers":
                depth = len({row["layer"] for row in here})
                page.chart(f"Empty layers: {setting}", charts.collapse(here, names), height=300 + 14 * depth)
            else:
                figures = charts.curves(here, names)
                page.chart(f"Learning curves: {setting}", *figures.values(), choices=list(figures))


def _regimes(page: Page, connection: duckdb.DuckDBPyConnection) -> None:
    found: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = {}
    for field in _TEMPERATURES:
        arms = "(SELECT DISTINCT arm FROM trials WHERE criterion <> 'dense') WHERE json_valid(arm)"
        if rows(connection, f"SELECT count(DISTINCT arm->>'{field}') FROM {arms}")[0][0] > 1:
            over = regimes.maps(regimes.regimes(connection, "sparsity", field))
            found |= {(name, field): points for name, points in over.items()}
    if not found:
        return
    page.heading(
        "Regimes",
        "Mean test accuracy with its 95 % Student-t interval over seeds, cut to 0 to 1, by load and "
        "temperature (Zhou et al. 2023). Within a map nothing else differs.",
    )
    largest = set(sorted(found, key=lambda key: -len(found[key]))[:_MENU])
    if len(found) > _MENU:
        page.parts.append(
            f"<p>The {_MENU} largest of {len(found):,} maps: narrow the report with --study or --where, "
            "or ask python -m analysis regimes.</p>"
        )
    shown = {
        f"{name}: {field}": (points, field)
        for (name, field), points in found.items()
        if (name, field) in largest
    }
    page.chart(
        "Accuracy over two axes", *(charts.regimes(*one) for one in shown.values()), choices=list(shown)
    )


def _fronts(page: Page, ranked: Sequence[best.Ranked]) -> None:
    settings = list(dict.fromkeys(one.setting for one in ranked))
    if not settings:
        return
    page.heading(
        "Which schedule is best?",
        f"{best.note(ranked)} Bars of the chart are those of validation accuracy; its hollow points are not "
        "on the front, and not certainly off it.",
    )
    page.left_out(len(settings))
    for setting in settings[:SETTINGS]:
        figures = charts.pareto([one for one in ranked if one.setting == setting])
        page.subheading(setting)
        page.chart(f"Pareto front: {setting}", *figures.values(), choices=list(figures))
        page.table(
            ["schedule", "sparsity", "rank", "validation", "test", "behind the best", "tied with it"],
            [
                [
                    one.schedule,
                    f"{one.sparsity:g}",
                    one.rank,
                    one.validation,
                    one.quoted,
                    one.behind or "",
                    "yes" if one.tied else "no",
                ]
                for one in ranked
                if one.setting == setting and (one.tied or one.rank <= 3)
            ],
        )


def _trials(page: Page, connection: duckdb.DuckDBPyConnection) -> None:
    [(total,)] = rows(connection, "SELECT count(*) FROM trials")
    found = rows(
        connection,
        f"SELECT {', '.join(_COLUMNS)} FROM trials ORDER BY finished_at DESC, trial_id LIMIT {_TRIALS}",
    )
    trials: list[Mapping[str, Any]] = [dict(zip(_COLUMNS, row, strict=True)) for row in found]
    accuracies = ((row, row["test_accuracy"]) for row in trials if row["status"] == "ok")
    finished = [row for row, accuracy in accuracies if accuracy is not None and math.isfinite(accuracy)]
    if len(finished) > 1:
        page.heading("All axes together", "Each line is a trial; drag along an axis to choose some.")
        page.chart("Parallel coordinates of all trials", charts.parallel(finished))
    page.heading("Trials", "" if total <= _TRIALS else f"The latest {_TRIALS:,} of {total:,}.")
    values = [
        [round(v, 5) if isinstance(v, float) and v == v else None if v != v else v for v in row]
        for row in found
    ]
    listed = {"columns": _COLUMNS, "rows": values}
    page.parts.append(
        '<p><label>Search <input type="search" id="search" placeholder="snip 0.99 failed"></label> '
        '<output id="matches"></output></p><div class="scroll" tabindex="0"><table id="trials"></table></div>'
        f'<script type="application/json" id="rows">{embedded(listed)}</script>'
    )


def _provenance(page: Page, results: Place, studies: Collection[str] | None) -> None:
    page.heading("Study files and provenance")
    for path in files(results, "study.json"):
        try:
            known = json.loads(small(path) or "")
            spec, launches = str(known["spec"]), json.dumps(known["launches"], indent=1)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            page.parts.append(f"<p>{html(str(path))}: damaged</p>")
            continue
        name = str(known.get("study", path.parent.name))
        if studies is not None and name not in studies:
            continue
        page.subheading(name)
        page.parts.append(f"<pre>{html(spec)}</pre>")
        page.parts.append(
            f"<details><summary>Launches: commands, versions, hardware</summary>"
            f"<pre>{html(launches)}</pre></details>"
        )
