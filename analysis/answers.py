"""Questions asked from Python: `analysis.crossover(results, "snip")` prints as the command does."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import duckdb
from pydantic import TypeAdapter, ValidationError
from typer.models import ArgumentInfo

from analysis import cells, tables, warehouse
from analysis.charts import Figure
from analysis.page import Page, plain
from analysis.questions import catalog
from analysis.questions.question import Question, Row
from analysis.results import Results
from analysis.warehouse import ACCURACIES, Headline, Places
from sweep.errors import BadInput
from sweep.foreign import terminal
from sweep.store.places import Remote

# Rows that a notebook shows.
_SHOWN = 200
# The arguments that all questions share, beside their own.
_SHARED = {
    "results": "`Results`, or the folder or URI of all results or of one study, or several of them",
    "study": "only trials of this study",
    "where": "only trials for which this SQL condition holds",
    "metric": "answer about this metric of the final networks, not their headline metric",
}


class Answer:
    """An answer: it prints as on the command line, and a notebook shows it as a table.

    Attributes:
        question: that it answers.
        found: the answer as the question computes it.
        provisional: a line for each study that is still running.
    """

    def __init__(
        self, question: Question[Any], found: Any, headline: Headline, provisional: Sequence[str] = ()
    ) -> None:
        """An answer.

        Args:
            headline: what it is about, if it is about accuracies.
        """
        self.question, self.found, self.provisional = question, found, tuple(provisional)
        self._headline = headline

    @cached_property
    def rows(self) -> list[Row]:
        """The answer as rows with equal keys."""
        return self._headline.columns(self.question.rows(self.found))

    @cached_property
    def sentences(self) -> list[str]:
        """The answer in words."""
        return list(self.question.sentences(self.found))

    @cached_property
    def charts(self) -> Mapping[str, Figure]:
        """The answer's charts by title, as figures of Plotly. Text of others in them is no markup."""
        import plotly.graph_objects as go

        drawn = self.question.charts(self.found) if self.question.charts else {}
        return {title: go.Figure(plain(figure)) for title, figure in drawn.items()}

    def df(self) -> Any:
        """The rows as a DataFrame of pandas."""
        import pandas

        return pandas.DataFrame(self.rows)

    def plot(self, title: str | None = None) -> Figure:
        """A chart of the answer.

        Args:
            title: of the chart; None: the first.

        Raises:
            BadInput: the answer has no such chart.
        """
        if not self.charts:
            raise BadInput(f"{self.question.name}: this answer has no chart: df() has its rows")
        if title is None:
            return next(iter(self.charts.values()))
        if title not in self.charts:
            raise BadInput(f"{title}: no such chart; there are: {'; '.join(self.charts)}")
        return self.charts[title]

    def __str__(self) -> str:
        if self.question.terminal:
            said = self.question.terminal(self.found)
        else:
            names = [*self.rows[0]] if self.rows else []
            table = tables.table(self.rows, names, self.question.files_only)
            said = "\n".join([table, *map(tables.fold, self.sentences)])
        return terminal("\n".join([*self.provisional, said.rstrip("\n")]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        page = Page(self._headline)
        page.sentences([*self.provisional, *self.sentences])
        if self.rows:
            columns = cells.columns(self.rows[:_SHOWN], [*self.rows[0]])
            page.table(
                [column.name for column in columns],
                [[*row] for row in zip(*(column.cells for column in columns), strict=True)],
            )
        if len(self.rows) > _SHOWN:
            page.sentences([f"and {len(self.rows) - _SHOWN:,} rows more: df() has all"])
        return "".join(page.parts)


def ask(question: Question[Any], connection: duckdb.DuckDBPyConnection, **own: Any) -> Answer:
    """The answer to a question.

    Args:
        own: the question's own options.

    Raises:
        BadInput: the results have no answer, or an option is not one.
    """
    found = question.answer(connection, **own)
    headline = warehouse.headline(connection) if question.about_accuracy else ACCURACIES
    return Answer(question, found, headline, warehouse.provisional(connection))


def opened(
    results: Places, study: str | None, where: str | None, metric: str | None, *, compared: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open results that have trials to answer with.

    Args:
        compared: the question needs trials of criteria; the oracle's alone do not do.

    Raises:
        BadInput: there are no trials, no finished ones, or none of criteria.
    """
    connection = warehouse.open(results, study=study, where=where, metric=metric)
    [(trials, finished, criteria)] = warehouse.rows(
        connection,
        "SELECT count(*), count(*) FILTER (status = 'ok' AND isfinite(test_accuracy)), "
        "count(*) FILTER (NOT is_drawn(criterion)) FROM trials",
    )
    several = [results] if isinstance(results, str | Path | Remote) else results
    named = ", ".join(map(str, several))
    if not trials:
        narrowed = " that --study and --where leave" if study or where else ""
        raise BadInput(f"{named}: no finished trials yet{narrowed}; see python -m sweep.launch")
    if not finished:
        raise BadInput(
            f"{named}: none of {trials} trials ended with {f'a {metric}' if metric else 'an accuracy'}; "
            'see python -m analysis sql "SELECT trial_id, status, error FROM trials" '
            f"{' '.join(f'--results {each}' for each in several)}"
        )
    if compared and not criteria:
        raise BadInput(f"{named}: the oracle's masks alone, no criterion; see python -m analysis correlation")
    return connection


def functions() -> dict[str, Callable[..., Answer]]:
    """The questions as functions, by name: those that the command line has."""
    return {each.name: _function(each) for each in catalog.QUESTIONS if each.is_command}


@cache
def _function(question: Question[Any]) -> Callable[..., Answer]:
    """A question as a function of results, with its options as arguments."""
    _, *options = inspect.signature(question.answer, eval_str=True).parameters.values()
    own = {option.name: _Option(option) for option in options}
    shared = [name for name in _SHARED if name != "metric" or question.about_accuracy]
    signature = _signature([*own.values()], shared)

    def function(*words: Any, **named: Any) -> Answer:
        given = signature.bind(*words, **named)
        chosen = {name: own[name].checked(value) for name, value in given.arguments.items() if name in own}
        given.apply_defaults()
        results = given.arguments["results"]
        connection = opened(
            results.folder if isinstance(results, Results) else results,
            given.arguments["study"],
            given.arguments["where"],
            given.arguments.get("metric"),
            compared=question.compares_criteria,
        )
        return ask(question, connection, **chosen)

    helps = {"results": _SHARED["results"], **{name: each.help for name, each in own.items()}}
    helps |= {name: _SHARED[name] for name in shared}
    arguments = "\n".join(f"    {name}: {text}" for name, text in helps.items())
    function.__doc__ = f"{question.help}\n\nArgs:\n{arguments}\n\nReturns:\n    The `Answer`.\n"
    function.__name__ = function.__qualname__ = question.name
    function.__module__ = "analysis"
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


class _Option:
    """An option of a question, as its command declares it.

    Attributes:
        help: what it is.
        parameter: of the function.
    """

    def __init__(self, declared: inspect.Parameter) -> None:
        annotated = get_origin(declared.annotation) is Annotated
        self._type, *infos = get_args(declared.annotation) if annotated else [declared.annotation]
        self._info = infos[0] if infos else None
        self.help = getattr(self._info, "help", None) or ""
        word = isinstance(self._info, ArgumentInfo)
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if word else inspect.Parameter.KEYWORD_ONLY
        self.parameter = declared.replace(annotation=self._type, kind=kind)

    def checked(self, value: Any) -> Any:
        """A value as the question takes it.

        Raises:
            BadInput: it takes no such value.
        """
        name, least = self.parameter.name, getattr(self._info, "min", None)
        try:
            converted = TypeAdapter(self._type).validate_python(value)
        except ValidationError as error:
            raise BadInput(f"{name}={value!r}: {error.errors()[0]['msg'].lower()}") from None
        if least is not None and converted is not None and not converted >= least:
            raise BadInput(f"{name}={value!r}: give a number from {least:g} on")
        return converted


def _signature(own: Sequence[_Option], shared: Sequence[str]) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    results = inspect.Parameter(
        "results",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default="results",
        annotation=Places | Results,
    )
    others = [
        inspect.Parameter(name, keyword, default=None, annotation=str | None)
        for name in shared
        if name != "results"
    ]
    first = [each.parameter for each in own if each.parameter.kind is not keyword]
    rest = [each.parameter for each in own if each.parameter.kind is keyword]
    return inspect.Signature([results, *first, *rest, *others], return_annotation=Answer)
