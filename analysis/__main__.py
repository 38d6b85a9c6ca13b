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

from analysis import answers, diff, glossary, marking, merging, output, tables, tracking, warehouse
from analysis.output import Format
from analysis.questions import catalog
from analysis.questions.question import Question
from analysis.warehouse import shell
from sweep.errors import BadInput, command
from sweep.foreign import Plain
from sweep.store.places import place
from sweep.store.tables import meaning
from sweep.trackers import Service

Results = Annotated[
    list[str],
    typer.Option(
        "--results",
        help="folder or URI (s3://BUCKET/PREFIX) of all results, or of one study; several: a union",
    ),
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
RESULTS = ["results"]


def sql(
    query: Annotated[
        str | None, typer.Argument(help="a query over the views trials, curves, layers, metrics and masks")
    ] = None,
    file: Annotated[Path | None, typer.Option("-f", help="read the query from this file")] = None,
    *,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
) -> None:
    """Answer a query over the views trials, curves, layers, metrics and masks."""
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
    """Print the columns of the views, with what they mean."""
    chosen = output.format_of(form, out)
    connection = warehouse.open(results)
    columns = [
        {"view": view, "column": name, "type": kind, "meaning": meaning(view, name)}
        for view in ("trials", "curves", "layers", "metrics", "masks", "settings")
        for name, kind, *_ in warehouse.rows(connection, f"DESCRIBE {view}")
    ]
    output.write(columns, chosen, out)


def words(word: Annotated[str, typer.Argument(help="one of them; default: all")] = "") -> None:
    """Say what the words of tables, sentences and the report mean."""
    print(glossary.text(word))


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
        typer.Option("--output", help="default: report.html, in the results folder if it is one"),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="serve it on this machine, and refresh it")] = False,
    *,
    quiet: Quiet = False,
) -> None:
    """Write one HTML file, complete in itself, with all answers."""
    from analysis.report import report as page

    if watch:
        from analysis.report.watch import serve

        def render() -> str:
            return page.render(warehouse.open(results, study=study, where=where, metric=metric), results)

        serve(results, render, study)
        return
    beside = place(results[0]) if len(results) == 1 else None
    file = target or (beside / "report.html" if isinstance(beside, Path) else Path("report.html"))
    output.save(file, page.render(_open(results, study, where, metric), results).encode())
    if not quiet:
        print(f"report: {file}")


def export(
    target: Annotated[
        Path,
        typer.Argument(
            help=".csv or .parquet: all trials; .tex: accuracies; .png, .svg, .pdf: chart; "
            "mlflow, tensorboard or wandb: a run for each trial there"
        ),
    ],
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    metric: Metric = None,
    *,
    to: Annotated[
        str | None, typer.Option(help="MLflow's tracking URI, or the folder of the files of the other two")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write all trials as a tidy table, accuracies for LaTeX, the crossover chart, or runs of a tracker."""
    from analysis.report import export as exports

    if str(target) in [*Service]:
        if metric is not None:
            raise BadInput(f"{target}: a run has every metric: leave --metric out")
        connection = warehouse.open(results, study=study, where=where)
        print(tracking.export(connection, Service(str(target)), results, to))
        return
    if to is not None:
        raise BadInput(f"--to {to}: it is for {', '.join(Service)}; a file goes where its name says")
    if metric is not None and target.suffix.lower() in exports.TABLES:
        raise BadInput(f"{target}: a table has every metric: leave --metric out")
    written = exports.write(_open(results, study, where, metric), target)
    if not quiet:
        print(*(f"export: {path}" for path in written), sep="\n")


def differences(
    first: Annotated[
        str, typer.Argument(help="a trial (its id or the beginning), study, launch, criterion or --results")
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


def merge(
    places: Annotated[list[str], typer.Argument(metavar="RESULTS...", help="folders or URIs of results")],
    into: Annotated[str, typer.Option(help="the folder or URI to write to; what it has stays")],
) -> None:
    """Write the results, marks and launches of several places into one, with where each row is from."""
    for line in merging.sentences(merging.merge(places, into)):
        print(line)


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
        answer = answers.ask(question, connection, **own)
        if question.terminal and chosen is Format.TABLE and out is None and not quiet:
            print(question.terminal(answer.found))
            return
        output.write(answer.rows, chosen, out, table=partial(tables.table, files_only=question.files_only))
        if not quiet:
            _say(answer.sentences, chosen, out)

    _, *own = inspect.signature(question.answer, eval_str=True).parameters.values()
    shared = [one for one in inspect.signature(ask).parameters.values() if one.kind is not one.VAR_KEYWORD]
    if not question.about_accuracy:
        shared = [one for one in shared if one.name != "metric"]
    ask.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    return ask


def _open(
    results: list[str], study: str | None, where: str | None, metric: str | None, *, compared: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open the results as `answers.opened` does, and say on stderr which studies are unfinished."""
    connection = answers.opened(results, study, where, metric, compared=compared)
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
    app.command()(words)
    app.command(name="shell")(prompt)
    for question in catalog.QUESTIONS:
        if question.is_command:
            app.command(name=question.name, help=question.help)(_command_of(question))
    app.command()(report)
    app.command()(export)
    app.command(name="diff")(differences)
    app.command()(mark)
    app.command()(marks)
    app.command()(merge)
    return app


app = commands()


def main(program: str = "analysis") -> NoReturn:
    """The command line."""
    # Printed text may quote results, which others wrote: escape control characters.
    with redirect_stdout(cast(TextIO, Plain(sys.stdout))):
        command(app, program)


if __name__ == "__main__":
    main()
