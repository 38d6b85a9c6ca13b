"""Which schedule is best at each sparsity, and which are tied with it?"""

from collections import defaultdict
from collections.abc import Sequence

from analysis.charts import Figure, error_bars, style
from analysis.page import Page
from analysis.questions.question import Question, Row, Section, Summary
from analysis.statistics.estimates import number
from analysis.statistics.ranking import Ranked, rank
from analysis.warehouse import ACCURACIES


def rows(ranked: Sequence[Ranked]) -> list[Row]:
    """One row for each schedule and sparsity, as numbers."""
    return [
        {
            "setting": one.setting,
            "sparsity": one.sparsity,
            "rank": one.rank,
            "schedule": one.schedule,
            "validation_accuracy": number(one.validation.value),
            "validation_half_width": one.validation.half_width,
            "test_accuracy": number(one.test.value),
            "test_half_width": one.test.half_width,
            "selected_test_low": one.selected[0] if one.selected else None,
            "selected_test_high": one.selected[1] if one.selected else None,
            "lost": one.validation.lost,
            "behind": one.behind.value if one.behind else None,
            "behind_half_width": one.behind.half_width if one.behind else None,
            "tied": one.tied,
            "density": one.density,
            "hours": one.hours,
            "on_density_front": one.on_density_front,
            "on_cost_front": one.on_cost_front,
            "density_front_tied": one.density_front_tied,
            "cost_front_tied": one.cost_front_tied,
        }
        for one in ranked
    ]


def sentences(ranked: Sequence[Ranked]) -> list[str]:
    """For each sparsity the best schedule, its test accuracy, and the schedules tied with it."""
    said = []
    alike: dict[tuple[str, float], list[Ranked]] = defaultdict(list)
    for one in ranked:
        alike[one.setting, one.sparsity].append(one)
    for one, *others in alike.values():
        place = f"{one.setting}, sparsity {one.sparsity:g}"
        ended = [other for other in others if not other.nothing_finished]
        nothing = [other for other in (one, *others) if other.nothing_finished]
        failed = (
            f"; no trial finished: {_some([f'{o.schedule} ({o.validation.lost} lost)' for o in nothing])}"
        )
        if one.nothing_finished:
            said.append(f"{place}{failed}")
            continue
        ties = [other.schedule for other in ended if other.tied]
        if one.unfinished:
            rest = f"; provisional, {one.unfinished}: nothing is certain before all have a result"
        else:
            rest = f"; tied with it: {_some(ties)}" if ties else "; better than all others" if ended else ""
        lost = sum(other.validation.lost for other in (one, *ended))
        said.append(
            f"{place}: {one.schedule}, test {one.headline.name} {one.quoted}{rest}"
            + (f"; {lost} trials lost" if lost else "")
            + (failed if nothing else "")
        )
    return said


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def note(ranked: Sequence[Ranked]) -> str:
    """How the best was chosen, and what tied means; printed below every answer."""
    places = len({(one.setting, one.sparsity) for one in ranked})
    measured = ranked[0].headline if ranked else ACCURACIES
    return (
        f"Chosen by validation {measured.name}.{measured.direction} (selected): the interval of the best's "
        f"test {measured.name} is corrected "
        "for the choice among all schedules; the mean itself is partly luck. ± are 95 % Student-t intervals "
        "over seeds. Tied: not told from the best at 5 %, corrected for the choice among all schedules and "
        f"for all places (settings and sparsities: {places}) of this answer."
    )


def charts(ranked: Sequence[Ranked]) -> dict[str, Figure]:
    """Validation means against density, and against hours, with 95 % intervals and the front of the means.

    Schedules that are off the front, but not certainly, are drawn hollow.
    """
    import plotly.graph_objects as go

    figures = {}
    for price, kind, name in (("hours", "cost", "against cost"), ("density", "density", "against density")):
        priced = sorted((one for one in ranked if getattr(one, price)), key=lambda one: getattr(one, price))
        if not priced:
            continue
        scale = 3600 if price == "hours" else 1
        figure = go.Figure()
        front = [one for one in priced if getattr(one, f"on_{kind}_front")]
        near = [one for one in priced if getattr(one, f"{kind}_front_tied")]  # with the front itself
        tied = [one for one in near if not getattr(one, f"on_{kind}_front")]
        rest = [one for one in priced if not getattr(one, f"{kind}_front_tied")]
        for points, label, index, symbol in (
            (rest, "certainly off the front", 6, "circle"),
            (tied, "not certainly off it", 1, "circle-open"),
            (front, "Pareto front of the means", 1, "square"),
        ):
            colour = style(index)
            figure.add_scatter(
                x=[getattr(one, price) * scale for one in points],
                y=[one.validation.value for one in points],
                error_y=error_bars([one.validation for one in points]),
                name=label,
                text=[f"{one.schedule}, sparsity {one.sparsity:g}: test {one.quoted}" for one in points],
                hovertemplate="%{text}",
                mode="lines+markers" if points is front else "markers",
                line=colour["line"],
                marker=colour["marker"] | {"symbol": symbol},
            )
        axis = "density" if price == "density" else "seconds a trial"
        figure.update_layout(
            xaxis={"title": axis, "type": "log"}, yaxis={"title": f"validation {priced[0].headline.name}"}
        )
        figures[name] = figure
    return figures


def show(page: Page, ranked: Sequence[Ranked]) -> None:
    """The report's section: for each setting the Pareto fronts and a table of the best and the tied."""
    settings = list(dict.fromkeys(one.setting for one in ranked))
    if not settings:
        return
    page.heading(
        "Which schedule is best?",
        f"{note(ranked)} Bars of the chart are those of validation {page.headline.name}; its hollow points "
        "are not on the front, and not certainly off it.",
    )
    for setting in page.settings(settings):
        figures = charts([one for one in ranked if one.setting == setting])
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


def _with_note(ranked: Sequence[Ranked]) -> list[str]:
    return [*sentences(ranked), note(ranked)]


def _charts(ranked: Sequence[Ranked]) -> dict[str, Figure]:
    """The charts of each setting."""
    return {
        f"{setting}: {name}": figure
        for setting in dict.fromkeys(one.setting for one in ranked)
        for name, figure in charts([one for one in ranked if one.setting == setting]).items()
    }


QUESTION = Question(
    name="best",
    help="Which schedule is best at each sparsity, and which are tied with it?",
    answer=rank,
    rows=rows,
    sentences=_with_note,
    charts=_charts,
    files_only=(
        "selected_test_low",
        "selected_test_high",
        "on_density_front",
        "on_cost_front",
        "density_front_tied",
        "cost_front_tied",
    ),
    compares_criteria=True,
    about_accuracy=True,
    section=Section(
        find=rank,
        show=show,
        place=60,
        summary=Summary(place=20, title="Best schedules, by validation accuracy", sentences=sentences),
    ),
)
