"""`python -m analysis`: SQL, the papers' questions, a report and exports over the results."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO, cast

import duckdb
import typer

from analysis import output, warehouse
from analysis.output import Format
from analysis.warehouse import EACH, shell
from sweep.errors import BadInput, command
from sweep.foreign import Plain
from sweep.store.places import place

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
Results = Annotated[
    str, typer.Option("--results", help="folder or URI (s3://BUCKET/PREFIX) of all results, or of one study")
]
Study = Annotated[str | None, typer.Option(help="only trials of this study")]
Where = Annotated[str | None, typer.Option(help="only trials for which this SQL condition holds")]
Form = Annotated[Format | None, typer.Option("--format", help="default: by the name of --out, else a table")]
Out = Annotated[Path | None, typer.Option(help="write to this file, not to the terminal")]
First = Annotated[
    str, typer.Argument(help="a criterion, or criterion:scope; default: each of them", show_default=False)
]
Second = Annotated[
    str | None, typer.Argument(help="what it is compared with; default: random, or else magnitude")
]
RESULTS = "results"


class Before(StrEnum):
    """What is known of a pruned network before it is retrained, with either BatchNorm statistics."""

    TRAIN_LOSS = "pre_train_loss"
    TEST_LOSS = "pre_test_loss"
    TEST_ACCURACY = "pre_test_accuracy"
    TRAIN_LOSS_RECALIBRATED = "pre_train_loss_recalibrated"
    TEST_LOSS_RECALIBRATED = "pre_test_loss_recalibrated"
    TEST_ACCURACY_RECALIBRATED = "pre_test_accuracy_recalibrated"


class After(StrEnum):
    """What comes of it."""

    ACCURACY = "test_accuracy"
    LOSS = "test_loss"


@app.command()
def sql(
    query: Annotated[
        str | None, typer.Argument(help="a query over the views trials, curves and layers")
    ] = None,
    file: Annotated[Path | None, typer.Option("-f", help="read the query from this file")] = None,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
) -> None:
    """Answer a query over the views trials, curves and layers."""
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
    chosen = output.chosen(form, out)
    connection = warehouse.open(results, study=study, where=where)
    if chosen is Format.TABLE and out is None:
        shell.show(connection, query)
        return
    output.stream(connection, warehouse.checked(connection, query), chosen, out)


@app.command()
def views(results: Results = RESULTS) -> None:
    """Print the columns of the views."""
    connection = warehouse.open(results)
    for view in ("trials", "curves", "layers", "settings"):
        print(view)
        for name, kind, *_ in warehouse.rows(connection, f"DESCRIBE {view}"):
            print(f"  {name:32}{kind}")


@app.command(name="shell")
def prompt(results: Results = RESULTS, study: Study = None, where: Where = None) -> None:
    """Ask queries at a prompt; each ends with a semicolon."""
    shell.loop(warehouse.open(results, study=study, where=where))


@app.command()
def crossover(
    first: First = EACH,
    second: Second = None,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
) -> None:
    """Where does one criterion fall below another? By default each against random pruning."""
    from analysis.questions import crossover as question

    chosen = output.chosen(form, out)
    connection = _open(results, study, where, compared=True)
    found = question.compare(connection, *_pair(connection, first, second))
    if chosen is not Format.TABLE or out is not None:
        _write(question.rows(found), chosen, out)
        return
    print("\n".join(question.text(comparison) for comparison in found))
    print(output.fold(question.note(found), ""))


@app.command()
def correlation(
    before: Annotated[
        Before | None,
        typer.Option(help="of the pruned network, before retraining; default: both training losses"),
    ] = None,
    after: Annotated[After, typer.Option(help="after it")] = After.ACCURACY,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
) -> None:
    """Does a pruned network's loss say how accurate it will be after retraining?"""
    from analysis.questions import correlation as question

    chosen = output.chosen(form, out)
    found = question.correlate(_open(results, study, where), before and before.value, after.value)
    if before and not found:
        raise BadInput(
            f"--before {before.value}: no pruned trial here has it; leave --before out for what there is"
        )
    _write(question.rows(found), chosen, out, question.sentences(found))


@app.command()
def best(
    results: Results = RESULTS, study: Study = None, where: Where = None, form: Form = None, out: Out = None
) -> None:
    """Which schedule is best at each sparsity, and which are tied with it?"""
    from analysis.questions import best as question

    chosen = output.chosen(form, out)
    found = question.rank(_open(results, study, where, compared=True))
    _write(question.rows(found), chosen, out, [*question.sentences(found), question.note(found)])


@app.command()
def collapse(
    results: Results = RESULTS, study: Study = None, where: Where = None, form: Form = None, out: Out = None
) -> None:
    """Where are whole layers removed, and from which prune epoch on is it safe?"""
    from analysis.questions import collapse as question

    chosen = output.chosen(form, out)
    found = question.collapse(_open(results, study, where))
    _write(found, chosen, out, question.sentences(found))


@app.command()
def accuracy(
    results: Results = RESULTS, study: Study = None, where: Where = None, form: Form = None, out: Out = None
) -> None:
    """How accurate is each criterion at each sparsity?"""
    _labelled("accuracy", results, study, where, form, out)


@app.command()
def cost(
    results: Results = RESULTS, study: Study = None, where: Where = None, form: Form = None, out: Out = None
) -> None:
    """What did each answer cost in CPU- and GPU-hours, and what is an hour worth?"""
    _labelled("cost", results, study, where, form, out)


@app.command()
def layers(
    results: Results = RESULTS, study: Study = None, where: Where = None, form: Form = None, out: Out = None
) -> None:
    """How dense is each layer, and how often is it empty?"""
    _labelled("layers", results, study, where, form, out)


@app.command()
def regimes(
    x: Annotated[str, typer.Option(help="a field of the study file: the load")] = "sparsity",
    y: Annotated[str, typer.Option(help="another one: the temperature")] = "prune_epoch",
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
) -> None:
    """How does accuracy depend on two fields together, such as sparsity and learning rate?"""
    from analysis.questions import regimes as question

    chosen = output.chosen(form, out)
    connection = _open(results, study, where)
    keys = (
        "SELECT DISTINCT unnest(json_keys(arm)) FROM (SELECT DISTINCT arm FROM trials) WHERE json_valid(arm)"
    )
    fields = ["seed", "sparsity", *(name for (name,) in warehouse.rows(connection, keys))]
    for axis in (x, y):
        if axis not in fields:
            raise BadInput(f"{axis}: no such field; there are: {', '.join(sorted(fields))}")
    _write(question.regimes(connection, x, y), chosen, out)


@app.command()
def aggregate(
    baseline: Annotated[
        str | None, typer.Option(help="a criterion, or criterion:scope, that the others are to improve on")
    ] = None,
    profiles: Annotated[
        bool, typer.Option("--profiles", help="the share of runs above each accuracy instead")
    ] = False,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
) -> None:
    """Which way to choose the mask does best over all settings and sparsities that all have?"""
    from analysis.questions import aggregate as question

    chosen = output.chosen(form, out)
    found = question.find(_open(results, study, where, compared=True), baseline)
    answer = question.profiles(found) if profiles else question.rows(found)
    _write(answer, chosen, out, question.sentences(found))


@app.command()
def better(
    first: First = EACH,
    second: Second = None,
    margin: Annotated[float, typer.Option(min=0, max=1, help="of test accuracy: better by more")] = 0.0,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
) -> None:
    """How probable is it that a run of one criterion is better than a run of another?"""
    from analysis.questions import better as question

    chosen = output.chosen(form, out)
    connection = _open(results, study, where, compared=True)
    found, over = question.find(connection, *_pair(connection, first, second), margin)
    _write(question.rows(found), chosen, out, question.sentences(found, over) or [warehouse.NO_PAIR])


@app.command()
def seeds(
    first: First = EACH,
    second: Second = None,
    difference: Annotated[float, typer.Option(min=1e-4, max=1, help="of mean test accuracy")] = 0.01,
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    form: Form = None,
    out: Out = None,
) -> None:
    """How many seeds does a difference of this size need?"""
    from analysis.questions import seeds as question

    chosen = output.chosen(form, out)
    connection = _open(results, study, where, compared=True)
    found = question.find(connection, *_pair(connection, first, second), difference)
    _write(found, chosen, out, question.sentences(found) or [warehouse.NO_PAIR])


@app.command()
def variance(
    results: Results = RESULTS, study: Study = None, where: Where = None, form: Form = None, out: Out = None
) -> None:
    """How much does test accuracy vary with the initialization, the data order, the masks, the split?"""
    from analysis.questions import variance as question

    chosen = output.chosen(form, out)
    found = question.find(_open(results, study, where))
    _write(question.rows(found), chosen, out, question.sentences(found))


@app.command()
def report(
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
    target: Annotated[
        Path | None,
        typer.Option("--output", help="default: report.html, in the results folder"),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="serve it on this machine, and refresh it")] = False,
) -> None:
    """Write one HTML file, complete in itself, with all answers."""
    from analysis.report import report as page

    folder = place(results)
    if watch:
        from analysis.report.watch import serve

        serve(folder, lambda: page.render(warehouse.open(results, study=study, where=where), folder))
        return
    file = target or (folder / "report.html" if isinstance(folder, Path) else Path("report.html"))
    output.save(file, page.render(_open(results, study, where), folder).encode())
    print(f"report: {file}")


@app.command()
def export(
    target: Annotated[
        Path, typer.Argument(help=".csv or .parquet: all trials; .tex: accuracies; .png, .svg, .pdf: chart")
    ],
    results: Results = RESULTS,
    study: Study = None,
    where: Where = None,
) -> None:
    """Write all trials as a tidy table, accuracies for LaTeX, or the crossover chart as a picture."""
    from analysis.report.export import write

    for path in write(_open(results, study, where), target):
        print(f"export: {path}")


def _open(
    results: str, study: str | None, where: str | None, *, compared: bool = False
) -> duckdb.DuckDBPyConnection:
    """The results, when there is something in them to answer with.

    Args:
        compared: it takes trials of criteria: the oracle's, masks of one network, are no answer.
    """
    connection = warehouse.open(results, study=study, where=where)
    [(trials, finished, criteria)] = warehouse.rows(
        connection,
        "SELECT count(*), count(*) FILTER (status = 'ok' AND isfinite(test_accuracy)), "
        "count(*) FILTER (criterion <> 'oracle') FROM trials",
    )
    if not trials:
        narrowed = " that --study and --where leave" if study or where else ""
        raise BadInput(f"{results}: no finished trials yet{narrowed}; see python -m sweep.launch")
    if not finished:
        raise BadInput(
            f"{results}: none of {trials} trials ended with an accuracy; "
            f'see python -m analysis sql "SELECT trial_id, status, error FROM trials" --results {results}'
        )
    if compared and not criteria:
        raise BadInput(
            f"{results}: the oracle's masks alone, no criterion; see python -m analysis correlation"
        )
    for line in warehouse.provisional(connection):
        print(line, file=sys.stderr)
    return connection


def _pair(connection: duckdb.DuckDBPyConnection, first: str, second: str | None) -> tuple[str, str]:
    """What is compared with what: "" where there is nothing to compare with, and one line says so.

    Raises:
        BadInput: a criterion that is nowhere in the results.
    """
    found = warehouse.rows(
        connection, "SELECT DISTINCT criterion, scope FROM trials WHERE criterion NOT IN ('dense', 'oracle')"
    )
    known = {criterion for criterion, _ in found} | {f"{criterion}:{scope}" for criterion, scope in found}
    for name in (first, second):
        if name not in (*known, EACH, None):
            raise BadInput(f"{name}: no trials of it; there are: {', '.join(sorted(known))}")
    compared = second or warehouse.baseline(connection, first)
    if compared is None:
        names = ", ".join(sorted(known))
        print(f"no {' or '.join(warehouse.BASELINES)} to compare with: name two of: {names}", file=sys.stderr)
        return first, ""
    return first, compared


def _labelled(
    name: str, results: str, study: str | None, where: str | None, form: Format | None, out: Path | None
) -> None:
    """Answer with a query alone, naming its arms."""
    from analysis.warehouse.arms import label

    chosen = output.chosen(form, out)
    rows = warehouse.ask(_open(results, study, where, compared=name == "accuracy"), name)
    labels = label(row["arm"] for row in rows)
    named = [
        {"setting": labels[row["arm"]].setting, "criterion": labels[row["arm"]].name}
        | {key: value for key, value in row.items() if key != "arm"}
        for row in rows
    ]
    named.sort(key=lambda row: (row["setting"], row["criterion"], row["sparsity"]))
    _write(named, chosen, out)


def _write(rows: Sequence[dict[str, Any]], form: Format, out: Path | None, notes: Sequence[str] = ()) -> None:
    """The rows where they were asked for; what they come to on the terminal, never within a file."""
    output.write(rows, form, out)
    into = sys.stdout if form is Format.TABLE and out is None else sys.stderr
    for index, note in enumerate(notes):
        print(("\n" if not index and into is sys.stdout else "") + output.fold(note), file=into)


def main() -> NoReturn:
    """The command line."""
    # Whatever is printed may quote results, which others wrote.
    with redirect_stdout(cast(TextIO, Plain(sys.stdout))):
        command(app, "analysis")


if __name__ == "__main__":
    main()
