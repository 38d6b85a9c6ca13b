"""Does a pruned network's loss before retraining say how accurate it will be?"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

import duckdb
import typer

from analysis.charts import Figure, style, thin
from analysis.page import Page
from analysis.questions.question import Question, Row, Section, Summary
from analysis.statistics.coefficients import Coefficient
from analysis.statistics.correlations import Correlation, correlate, tested
from analysis.statistics.differences import certain
from analysis.statistics.estimates import number
from sweep.errors import BadInput
from sweep.foreign import html


class Before(StrEnum):
    """Measures of a pruned network before it is retrained, with either BatchNorm statistics."""

    TRAIN_LOSS = "pre_train_loss"
    TEST_LOSS = "pre_test_loss"
    TEST_ACCURACY = "pre_test_accuracy"
    TRAIN_LOSS_RECALIBRATED = "pre_train_loss_recalibrated"
    TEST_LOSS_RECALIBRATED = "pre_test_loss_recalibrated"
    TEST_ACCURACY_RECALIBRATED = "pre_test_accuracy_recalibrated"


class After(StrEnum):
    """Measures of the retrained network."""

    ACCURACY = "test_accuracy"
    LOSS = "test_loss"


def answer(
    connection: duckdb.DuckDBPyConnection,
    before: Annotated[
        Before | None,
        typer.Option(help="of the pruned network, before retraining; default: both training losses"),
    ] = None,
    after: Annotated[After, typer.Option(help="after it")] = After.ACCURACY,
) -> list[Correlation]:
    """The correlations of the measures that the command names.

    Raises:
        BadInput: no trial has the measure before retraining.
    """
    correlations = correlate(connection, before and before.value, after.value)
    if before and not correlations:
        raise BadInput(
            f"--before {before.value}: no pruned trial here has it; leave --before out for what there is"
        )
    return correlations


def rows(correlations: Sequence[Correlation]) -> list[Row]:
    """One row for each correlation, as numbers."""

    def parts(name: str, coefficient: Coefficient) -> dict[str, float | None]:
        suffixes = {"": "value", "_low": "low", "_high": "high", "_p": "p"}
        return {name + suffix: number(getattr(coefficient, part)) for suffix, part in suffixes.items()}

    return [
        {
            "setting": one.setting,
            "before": one.measure,
            "sparsity": one.sparsity,
            "pooled": one.sparsity is None,
            "masks": one.masks,
            "criteria": one.drawn[one.unit],
            "seeds": one.drawn["seeds"],
            "resampled": " and ".join(one.resampled),
            **parts("tau", one.kendall),
            "tau_p_holm": number(one.p_holm),
            **parts("rho", one.spearman),
            "r": number(one.pearson.value),
            "regret_best": one.regret_best,
            "regret_median": one.regret_median,
            "anomalies": one.anomalies,
        }
        for one in correlations
    ]


def sentences(correlations: Sequence[Correlation]) -> list[str]:
    """A sentence for each setting and measure, with a warning beside pooled sparsities; then the tests."""
    said = []
    alike: dict[tuple[str, str], list[Correlation]] = defaultdict(list)
    for one in correlations:
        alike[one.setting, one.measure].append(one)
    for (setting, _), group in alike.items():
        within = [one for one in group if one.sparsity is not None]
        text = f"{setting}: {group[0].name}: τ "
        if len(within) == 1:
            text += f"{within[0].kendall} at sparsity {within[0].sparsity:g} ({within[0].basis})."
        else:
            pooled = group[-1]
            text += (
                f"{pooled.kendall} pooled over {len(within)} sparsities ({pooled.basis}){_spread(within)}. "
                "Sparsity itself moves both numbers (Simpson's paradox): go by the rows of one sparsity."
                f"{_certain(within)}"
            )
        said.append(text + (f" {alone[0].upper()}{alone[1:]}." if (alone := group[0].alone) else ""))
    return [*said, *filter(None, [tests(correlations)])]


def tests(correlations: Sequence[Correlation]) -> str:
    """The number of tests and their correction, in words; "" if nothing can be tested."""
    indices = tested(correlations)
    if not indices:
        return ""
    if all(math.isnan(correlations[index].p_holm) for index in indices):
        return "Intervals and p-values are of each alone; no τ is tested before all trials have a result."
    count = len(indices)
    return (
        f"Tests: {count:,} τ within a sparsity. Intervals and p-values are of each alone; p after Holm's "
        "correction (tau_p_holm in files) is for all of them."
    )


def _spread(within: Iterable[Correlation]) -> str:
    """The lowest and the highest τ within a sparsity, in words."""
    known = sorted((one.kendall.value, one.sparsity) for one in within if not math.isnan(one.kendall.value))
    if not known:
        return ""
    ends = [f"{value:.2f} (at {sparsity:g})".replace("-", "−") for value, sparsity in (known[0], known[-1])]
    return f"; within one, from {ends[0]} to {ends[1]}" if len(known) > 1 else f"; within one, {ends[0]}"


def _certain(within: Sequence[Correlation]) -> str:
    """The sparsities at which τ is certainly not 0 after the correction, in words."""
    sides = {
        side: [f"{o.sparsity:g}" for o in within if certain(o.p_holm) and (o.kendall.value < 0) == negative]
        for side, negative in (("below", True), ("above", False))
    }
    if all(math.isnan(o.p_holm) for o in within):
        return ""
    known = [f"{side} 0 at {', '.join(where)}" for side, where in sides.items() if where]
    return f" After Holm's correction τ is {' and '.join(known) or 'not told from 0 at any'}."


def chart(groups: Sequence[Correlation]) -> Figure:
    """A measure right after pruning against the final accuracy: a colour for each sparsity, τ in the legend.

    Args:
        groups: of one setting and one measure.
    """
    import plotly.graph_objects as go

    figure, name = go.Figure(), groups[0].headline.name
    for index, group in enumerate(groups):
        chosen = thin(len(group.before), len(groups))
        figure.add_scatter(
            x=group.before[chosen],
            y=group.after[chosen],
            mode="markers",
            name=f"{group.sparsity:g}: τ {group.kendall}",
            hovertemplate=f"%{{x:.3g}}, {html(name)} %{{y:.4g}}",
            **style(index),
        )
    # Losses of collapsed networks can be far above the others.
    spread = [float(v) for group in groups for v in group.before if v > 0]
    far = bool(spread) and max(spread) > 30 * min(spread)
    figure.update_layout(
        xaxis={"title": groups[0].name, "type": "log" if far else "linear"},
        yaxis={"title": f"test {name} after retraining"},
    )
    return figure


def _by_setting(correlations: Sequence[Correlation]) -> dict[str, dict[str, list[Correlation]]]:
    """The correlations by setting and measure."""
    settings: dict[str, dict[str, list[Correlation]]] = defaultdict(lambda: defaultdict(list))
    for one in correlations:
        settings[one.setting][one.measure].append(one)
    return settings


def _within(groups: Sequence[Correlation]) -> list[Correlation]:
    return [one for one in groups if one.sparsity is not None]


def _title(groups: Sequence[Correlation]) -> str:
    first = groups[0]
    return f"{first.name} {first.headline.named('against final accuracy')}: {first.setting}"


def _charts(correlations: Sequence[Correlation]) -> dict[str, Figure]:
    """A chart for each setting and measure."""
    return {
        _title(groups): chart(_within(groups))
        for measures in _by_setting(correlations).values()
        for groups in measures.values()
    }


def show(page: Page, correlations: Sequence[Correlation]) -> None:
    """The report's section: for each setting and measure a chart, a table, and the limits of intervals."""
    settings = _by_setting(correlations)
    if not settings:
        return
    page.heading(
        "Does the loss after pruning say what comes of it?",
        "Each point is a trial. Kendall's τ within a sparsity, with its 95 % interval over criteria and "
        "seeds; pooled over sparsities it misleads, because sparsity itself moves both numbers. "
        f"{tests(correlations)}",
    )
    for setting in page.settings(list(settings)):
        for groups in settings[setting].values():
            page.chart(_title(groups), chart(_within(groups)))
            page.table(_HEAD, [_cells(one) for one in groups])
            limits: dict[str, list[str]] = defaultdict(list)
            for one in groups:
                if one.limits:
                    limits[one.limits].append("pooled" if one.sparsity is None else f"{one.sparsity:g}")
            page.sentences(f"{', '.join(at)}: {why}" for why, at in limits.items())


_HEAD = (
    "sparsity",
    "masks",
    "of",
    "Kendall τ",
    "p (Holm)",
    "Spearman ρ",
    "Pearson r",
    "regret",
    "anomalies",
)


def _cells(one: Correlation) -> list[object]:
    """A line of the report's table."""
    return [
        f"{one.sparsity:g}" if one.sparsity is not None else "pooled (misleads)",
        f"{one.masks:,}",
        one.counts,
        one.kendall,
        "" if math.isnan(one.p_holm) else f"{one.p_holm:.2g}",
        one.spearman,
        one.pearson,
        "" if one.regret_best is None else f"{one.regret_best:.{one.headline.digits}f}",
        "" if one.anomalies is None else f"{one.anomalies:.1%}",
    ]


QUESTION = Question(
    name="correlation",
    help="Does a pruned network's loss say how accurate it will be after retraining?",
    answer=answer,
    rows=rows,
    sentences=sentences,
    charts=_charts,
    files_only=("resampled", "tau_p", "rho_p", "regret_median"),
    about_accuracy=True,
    section=Section(
        find=correlate,
        show=show,
        place=30,
        summary=Summary(
            place=30, title="Loss before retraining against accuracy after it", sentences=sentences
        ),
    ),
)
