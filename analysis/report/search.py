"""The answers of searches in the report, from the file that a search writes beside its results."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.charts import error_bars
from analysis.page import Page
from analysis.warehouse import Places, files
from analysis.warehouse.headlines import ACCURACY
from sweep.arms import listed
from sweep.means import UNBOUNDED, Mean
from sweep.store.places import small

FILE = "search.json"
_AXES = {"density": "density", "cost": "multiply-adds of an image"}


def show(page: Page, results: Places, studies: Collection[str] | None) -> None:
    """Write the section on searches, if there were any.

    Args:
        studies: only searches of these studies; None: all.
    """
    metric = page.headline.curves
    paths = [path for path in files(results, FILE) if studies is None or path.parent.name in studies]
    if paths:
        page.heading(
            "What did the search find?",
            f"Chosen by validation {metric}: means over seeds, with 95 % Student-t intervals. The best of "
            f"many is partly lucky, and its test {metric} is of the same runs: both are selected. For a test "
            f"{metric} to quote run best.yaml, beside the results, with seeds that did not choose.",
        )
    for path in paths:
        try:
            answer = json.loads(small(path) or "")
            name = str(answer["study"])
            sentences, table, fronts = _sentences(answer), _table(answer, metric), _fronts(answer, metric)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            page.sentences([f"{path}: damaged; the same search writes it again"])
            continue
        page.subheading(name)
        page.sentences(sentences)
        if table:
            page.table(
                ["schedule", "seeds", "validation (selected)", "test (selected)", "density", "multiply-adds"],
                table,
            )
        if fronts:
            page.chart(f"Front of {name}", *fronts.values(), choices=list(fronts))


def _sentences(answer: Mapping[str, Any]) -> list[str]:
    stopped = f", {answer['stopped']} of them stopped early" if answer["stopped"] else ""
    known = f"{answer['known']} schedules known before"
    sentences = [f"{answer['trials']} trials run{stopped}; {known}; sampler {answer['sampler']}"]
    if not answer["best"]:
        sentences.append(f"no schedule has {answer['seeds']} seeds yet, or none is an answer")
    for objective, shares in answer["importances"].items():
        ranked = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        sentences.append(f"what mattered for {objective}: {ranked}")
    return sentences


def _table(answer: Mapping[str, Any], metric: str) -> list[list[object]]:
    return [
        [
            _name(one),
            len(one["val_accuracy"]),
            _mean(one["val_accuracy"], metric),
            _mean(one["test_accuracy"], metric),
            f"{one['density']:.4g}",
            f"{one['cost']:,.0f}",
        ]
        for one in answer["best"]
    ]


def _mean(values: Sequence[float], metric: str) -> Mean:
    """The mean of a headline metric; the interval of accuracies alone is cut, to 0 and 1."""
    return Mean.of(values) if metric == ACCURACY else Mean.of(values, UNBOUNDED)


def _fronts(answer: Mapping[str, Any], metric: str) -> dict[str, go.Figure]:
    """A chart of the headline metric against each other objective, by its name."""
    figures = {}
    for objective in answer["objectives"]:
        if objective in _AXES and len(answer["best"]) > 1:
            figure = go.Figure()
            for name, column in (("validation", "val_accuracy"), ("test", "test_accuracy")):
                means = [_mean(one[column], metric) for one in answer["best"]]
                figure.add_scatter(
                    x=[one[objective] for one in answer["best"]],
                    y=[mean.value for mean in means],
                    error_y=error_bars(means),
                    text=[_name(one) for one in answer["best"]],
                    mode="markers",
                    name=name,
                )
            figure.update_layout(
                xaxis={"title": _AXES[objective], "type": "log"}, yaxis={"title": f"{metric}, 95 % interval"}
            )
            figures[f"{metric} against {objective}"] = figure
    return figures


def _name(one: Mapping[str, Any]) -> str:
    return listed(one["schedule"])
