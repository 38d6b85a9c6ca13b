"""`python -m analysis`: SQL, the papers' questions, a report and exports over the results."""

import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO, cast

import duckdb
import typer

from analysis import diff, marking, output, tables, warehouse
from analysis.output import Format
from analysis.questions import catalog
from analysis.questions.question import Question
from analysis.warehouse import shell
from sweep.errors import BadInput, command
from sweep.foreign import Plain
from sweep.store.places import place

Results = Annotated[
    str, typer.Option("--results", help="folder or URI (s3://BUCKET/PREFIX) of all results, or of one study")
]
Study = Annotated[str | None, typer.Option(help="only trials of this study")]
Where = Annotated[str | None, typer.Option(help="only trials for which this SQL condition holds")]
Metric = Annotated[
    str | None, typer.Option(help="answer about this metric of the final networks, not their headline metric")
]
Form = Annotated[Format | None, typer.Option("--format", help="default: by the name of --out, else a table")]
Out = Annotated[Path | None, typer.Option(help="write to this file, not to the terminal")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="print the table alone, without sentences; of a file nothing")
]
RESULTS = "results"


def sql(
    query: Annotated[
        str | None, typer.Argument(help="a query over the views trials, curves, layers and metrics")
    ] = None,
    file: Annotated[Path | None, typer.Option("-f", help="read the query from this file")] = None,
    *,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
) -> None:
    """Answer a query over the views trials, curves, layers and metrics."""
    if (query is None) == (file is None):
        raise BadInput('give one query: python -m analysis sql "SELECT …", or -f FILE.sql')
    if file is not None:
        try:
            query = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(
                f"{file}: {getattr(error, 'strerror', 'not text')}: give a file with one query"
            ) from None
    assert query is not None
    chosen = output.format_of(form, out)
    connection = warehouse.open(results, study=study, where=where)
    if chosen is Format.TABLE and out is None:
        shell.show(connection, query)
        return
    output.stream(connection, warehouse.checked(connection, query), chosen, out)


def views(results: Results = RESULTS, form: Form = None, out: Out = None) -> None:
    """Print the columns of the views."""
    chosen = output.format_of(form, out)
    connection = warehouse.open(results)
    columns = [
        {"view": view, "column": name, "type": kind}
        for view in ("trials", "curves", "layers", "metrics", "settings")
        for name, kind, *_ in warehouse.rows(connection, f"DESCRIBE {view}")
    ]
    output.write(columns, chosen, out)


def prompt(results: Results = RESULTS, study: Study = None, where: Where = None) -> None:
    """Ask queries at a prompt; each ends with a semicolon."""
    shell.loop(warehouse.open(results, study=study, where=where))


def report(
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    metric: Metric = None,
    target: Annotated[
        Path | None,
        typer.Option("--output", help="default: report.html, in the results folder"),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="serve it on this machine, and refresh it")] = False,
    *,
    quiet: Quiet = False,
) -> None:
    """Write one HTML file, complete in itself, with all answers."""
    from analysis.report import report as page

    folder = place(results)
    if watch:
        from analysis.report.watch import serve

        def render() -> str:
            return page.render(warehouse.open(results, study=study, where=where, metric=metric), folder)

        serve(folder, render)
        return
    file = target or (folder / "report.html" if isinstance(folder, Path) else Path("report.html"))
    output.save(file, page.render(_open(results, study, where, metric), folder).encode())
    if not quiet:
        print(f"report: {file}")


def export(
    target: Annotated[
        Path, typer.Argument(help=".csv or .parquet: all trials; .tex: accuracies; .png, .svg, .pdf: chart")
    ],
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    metric: Metric = None,
    quiet: Quiet = False,
) -> None:
    """Write all trials as a tidy table, accuracies for LaTeX, or the crossover chart as a picture."""
    from analysis.report import export as exports

    if metric is not None and target.suffix.lower() in exports.TABLES:
        raise BadInput(f"{target}: a table has every metric: leave --metric out")
    written = exports.write(_open(results, study, where, metric), target)
    if not quiet:
        print(*(f"export: {path}" for path in written), sep="\n")


def differences(
    first: Annotated[
        str, typer.Argument(help="a trial (its id or the beginning), study, launch or criterion")
    ],
    second: Annotated[str, typer.Argument(help="another of the same kind")],
    *,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Say what differs: config, code, packages, hardware, and accuracy in the cells that both have."""
    chosen = output.format_of(form, out)
    answer = diff.diff(_open(results, study, where, None), first, second)
    output.write(diff.rows(answer, short=chosen is Format.TABLE), chosen, out, diff.COLUMNS)
    if not quiet:
        _say(diff.sentences(answer), chosen, out)


def mark(
    undone: Annotated[str | None, typer.Argument(metavar="MARK", help="the mark to take back")] = None,
    *,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    tag: Annotated[
        str | None, typer.Option("--as", help="invalid: in no answer, and run again; or any tag")
    ] = None,
    note: Annotated[str, typer.Option(help="why")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="take MARK back, or marks of these trials")] = False,
) -> None:
    """Mark the trials for which --where holds as invalid, or with a tag; --undo takes marks back."""
    if undone is not None:
        if not undo or where or tag or study:
            raise BadInput(f"a mark is taken back with: python -m analysis mark --undo {undone}")
        count = marking.take_back(results, undone)
        print(f"mark {undone}: taken back from {_trials(count)}")
        return
    if where is None or tag is None:
        raise BadInput('which trials, and as what? python -m analysis mark --where "seed = 3" --as invalid')
    if undo:
        count = marking.take_back_where(results, tag, where, study=study)
        print(f"{tag}: taken back from {_trials(count)}")
        return
    made, count = marking.put(results, tag, where, study=study, note=note)
    print(f"mark {made}: {_trials(count)} as {tag}; to take it back: python -m analysis mark --undo {made}")


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count:,} trials"


def marks(results: Results = RESULTS, form: Form = None, out: Out = None) -> None:
    """List the marks of trials, with their notes."""
    output.write(marking.listed(results), output.format_of(form, out), out, marking.COLUMNS)


def _command_of(question: Question[Any]) -> Callable[..., None]:
    """The function behind a question's command: its own parameters first, then those that all share."""

    def ask(
        *,
        results: Results = RESULTS,
        study: Study = None,
        where: Where = None,
        metric: Metric = None,
        form: Form = None,
        out: Out = None,
        quiet: Quiet = False,
        **own: Any,
    ) -> None:
        chosen = output.format_of(form, out)
        connection = _open(results, study, where, metric, compared=question.compares_criteria)
        answer = question.answer(connection, **own)
        if question.terminal and chosen is Format.TABLE and out is None and not quiet:
            print(question.terminal(answer))
        else:
            rows = question.rows(answer)
            if question.about_accuracy:
                rows = warehouse.headline(connection).columns(rows)
            output.write(rows, chosen, out, table=partial(tables.table, files_only=question.files_only))
            if not quiet:
                _say(question.sentences(answer), chosen, out)

    _, *own = inspect.signature(question.answer, eval_str=True).parameters.values()
    shared = [one for one in inspect.signature(ask).parameters.values() if one.kind is not one.VAR_KEYWORD]
    if not question.about_accuracy:
        shared = [one for one in shared if one.name != "metric"]
    ask.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    return ask


def _open(
    results: str, study: str | None, where: str | None, metric: str | None, *, compared: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open the results, and say on stderr which studies are unfinished.

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
    if not trials:
        narrowed = " that --study and --where leave" if study or where else ""
        raise BadInput(f"{results}: no finished trials yet{narrowed}; see python -m sweep.launch")
    if not finished:
        raise BadInput(
            f"{results}: none of {trials} trials ended with {f'a {metric}' if metric else 'an accuracy'}; "
            f'see python -m analysis sql "SELECT trial_id, status, error FROM trials" --results {results}'
        )
    if compared and not criteria:
        raise BadInput(
            f"{results}: the oracle's masks alone, no criterion; see python -m analysis correlation"
        )
    for line in warehouse.provisional(connection):
        print(line, file=sys.stderr)
    return connection


def _say(notes: Sequence[str], form: Format, out: Path | None) -> None:
    """Write notes to the terminal, never into a file: below a table there, else on stderr."""
    into = sys.stdout if form is Format.TABLE and out is None else sys.stderr
    for index, note in enumerate(notes):
        print(("\n" if not index and into is sys.stdout else "") + tables.fold(note), file=into)


def commands() -> typer.Typer:
    """The command line's commands, in the order of its help."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(sql)
    app.command()(views)
    app.command(name="shell")(prompt)
    for question in catalog.QUESTIONS:
        if question.is_command:
            app.command(name=question.name, help=question.help)(_command_of(question))
    app.command()(report)
    app.command()(export)
    app.command(name="diff")(differences)
    app.command()(mark)
    app.command()(marks)
    return app


app = commands()


def main(program: str = "analysis") -> NoReturn:
    """The command line."""
    # Printed text may quote results, which others wrote: escape control characters.
    with redirect_stdout(cast(TextIO, Plain(sys.stdout))):
        command(app, program)


if __name__ == "__main__":
    main()
