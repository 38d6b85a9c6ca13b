"""Results opened for queries: the views of one study or of all. Queries reach nothing else."""

import glob
import sys
from collections.abc import Sequence

import duckdb

from analysis.warehouse import curation, headlines, union, views
from analysis.warehouse.launches import launches
from analysis.warehouse.queries import READS, one_line_errors, rows
from analysis.warehouse.sources import duckdb_name, quoted
from analysis.warehouse.union import Member, Places
from sweep.config import DRAWN
from sweep.errors import BadInput
from sweep.store import parts
from sweep.store.places import Remote
from sweep.store.schema import KEYS
from sweep.store.sound import SOUND_IN_FULL

# In the queries that compare two criteria: every criterion but the second.
EACH = "*"
# Criteria are compared with the first of these that was run, by default.
BASELINES = ("random", "magnitude")
NO_PAIR = "No pair to compare: it takes two criteria of one setting, with a sparsity and a seed in common."

# How people name criteria: by name, by name and scope as in `random:erk`, and parts of one's own without the
# code that they are of, which stands behind an @.
_MACROS = (
    "CREATE MACRO label_of(criterion) AS split_part(criterion, '@', 1)",
    "CREATE MACRO is_criterion(named, criterion) AS named IN (criterion, label_of(criterion)) "
    "OR starts_with(named, criterion || ':') OR starts_with(named, label_of(criterion) || ':')",
    "CREATE MACRO is_named(named, criterion, scope) AS named IN (criterion, criterion || ':' || scope, "
    "label_of(criterion), label_of(criterion) || ':' || scope)",
)


def open(
    results: Places = "results",
    *,
    study: str | None = None,
    where: str | None = None,
    metric: str | None = None,
    with_invalid: bool = False,
) -> duckdb.DuckDBPyConnection:
    """A connection with the views `trials`, `curves`, `layers` and `metrics` over one study's folder, or all.

    Of several places the views are a union: the column `source` names the place where it would be NULL. A
    trial of several places is there once, as the place with the row that counts has it. The view
    `disagreements` has the trials whose accuracies differ, and a line on stderr counts them.

    A fifth view, `settings`, has the setting of each arm of all results: the config without the fields that
    choose the mask.

    The views read the files at the time of a query, so they follow a running study. They do not follow, and
    must be opened again, where the study had no result yet, has hundreds of small parts or a part of another
    tool, or is in an object store. Queries cannot read files outside the results, nor change DuckDB's
    configuration. A part that is damaged or is not of these results is named on stderr and left out.

    Trials that are marked as invalid are in no view. A line on stderr says how many of them the conditions
    would leave. The marks are read once.

    Args:
        study: only the trials of this study, also those that another study has too.
        where: only the trials for which this SQL condition over `trials` holds. `study` and `where` narrow
            the other views too.
        metric: the accuracy columns of `trials` hold this metric of the final network, or its negative where
            lower is better; columns of other networks are NULL. `where` is about the columns as written.
        with_invalid: invalid trials are in the views.

    Raises:
        BadInput: a folder does not exist or cannot be read, one of several has no results or lies within
            another, no trial is of the study or has the metric, or the condition is not valid SQL.
    """
    places = union.members(results)
    connection = duckdb.connect()
    if remote := [each.folder for each in places if isinstance(each.folder, Remote)]:
        from analysis.warehouse.object_store import register

        register(connection, remote)
    drawn = ", ".join(f"'{name}'" for name in sorted(DRAWN))
    connection.execute(f"CREATE MACRO is_drawn(criterion) AS criterion IN ({drawn})")
    for macro in _MACROS:
        connection.execute(macro)
    union.keep(connection, places)
    connection.execute("SET VARIABLE study = ?", [study])
    curation.load(connection, places, with_invalid=with_invalid)
    for table in KEYS:
        views.create(connection, table)
    _confine(connection, places)
    _load_launches(connection, places)
    _narrow(connection, study, where, metric)
    _say_left_out(connection, study, where)
    if len(places) > 1:
        _say_disagreements(connection, places)
    return connection


def _load_launches(connection: duckdb.DuckDBPyConnection, places: Sequence[Member]) -> None:
    """Load the latest launch of each study of each place, and what studies ask."""
    connection.execute(
        "CREATE TABLE launches (study VARCHAR, trials BIGINT, to_run BIGINT, began DOUBLE[], place VARCHAR)"
    )
    connection.execute("CREATE TABLE questions (study VARCHAR, question VARCHAR)")
    read = [(launches(each.folder), each.name) for each in places]
    if latest := [(*launch, name) for (of_place, _), name in read for launch in of_place]:
        connection.executemany("INSERT INTO launches VALUES (?, ?, ?, ?, ?)", latest)
    if asked := [pair for (_, of_place), _ in read for pair in of_place.items()]:
        connection.executemany("INSERT INTO questions VALUES (?, ?)", asked)


def _confine(connection: duckdb.DuckDBPyConnection, places: Sequence[Member]) -> None:
    """Let queries read the results and nothing else, and change no setting."""
    # DuckDB compares a file's name with the first text, and an unexpanded pattern with the second.
    names = [duckdb_name(each.folder) for each in places]
    allowed = ", ".join(f"'{quoted(text)}'" for name in names for text in (name, glob.escape(name)))
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET enable_external_access = false")
    # In a notebook without ipywidgets there is no progress bar, and DuckDB refuses to switch it off.
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() != [(False,)]:
        connection.execute("SET enable_progress_bar = false")
    connection.execute("SET lock_configuration = true")


def _say_left_out(connection: duckdb.DuckDBPyConnection, study: str | None, where: str | None) -> None:
    """Say on stderr how many trials that the conditions would leave are invalid."""
    conditions = [] if study is None else [f"study = '{quoted(study)}'"]
    conditions += [] if where is None else [f"({where}\n)"]
    with one_line_errors():
        count = curation.left_out(connection, conditions)
    if count:
        trials = "1 trial is" if count == 1 else f"{count:,} trials are"
        print(f"{trials} left out as invalid: python -m analysis marks", file=sys.stderr)


def _say_disagreements(connection: duckdb.DuckDBPyConnection, places: Sequence[Member]) -> None:
    """Say on stderr how many trials of a union have several accuracies."""
    seen = (
        "SELECT count(DISTINCT trial_id) FROM disagreements WHERE trial_id IN (SELECT trial_id FROM trials)"
    )
    [(count,)] = rows(connection, seen)
    if count:
        trials = "1 trial has" if count == 1 else f"{count:,} trials have"
        named = " ".join(f"--results {each.name}" for each in places)
        print(
            f"{trials} another accuracy in another place, and the latest counts: "
            f'python -m analysis sql "FROM disagreements" {named}',
            file=sys.stderr,
        )


def unfinished(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, int]]:
    """Studies whose latest launch still misses trials, by name.

    A study is unfinished if fewer trials have ended in its latest launch than that launch had to run. Trials
    that failed or diverged have ended. All trials of a study count, also those that `study` and `where`
    exclude; but only studies with a trial in the connection are returned. A launch that was ended early, by a
    person or by --max-trials, leaves its study unfinished.

    Each row names its launch, so no two clocks are compared. Early rows do not: of these count those that
    ended after the launch began. The parts of a launch count as one launch. The latest launch is read as the
    connection is opened; the trials that have ended are counted at each call.

    A study is not returned if its study.json is missing or damaged or has no number of trials, as that of a
    search or of an early launch. Of a study of several places the trials of unfinished launches are added.

    Returns:
        For each study how many trials have a result, and how many the latest launch asked for.
    """
    missing = rows(
        connection,
        f"""
        WITH ended AS (
            SELECT study, place, count(DISTINCT hash(trial_id)) AS trials
            FROM (SELECT *, {union.of_row(union.of(connection))} AS place FROM all_trials)
            JOIN launches USING (study, place)
            WHERE to_run > 0 AND status <> 'stopped'
                AND coalesce(list_contains(began, epoch(launched_at)), epoch(finished_at) >= list_min(began))
            GROUP BY study, place
        )
        SELECT study, sum(launches.trials - to_run + coalesce(ended.trials, 0))::BIGINT,
            sum(launches.trials)::BIGINT
        FROM launches LEFT JOIN ended USING (study, place)
        WHERE coalesce(ended.trials, 0) < to_run
        GROUP BY study ORDER BY study
        """,
    )
    present = {name for (name,) in rows(connection, "SELECT DISTINCT study FROM trials")} if missing else ()
    return {study: (done, trials) for study, done, trials in missing if study in present}


def _narrow(
    connection: duckdb.DuckDBPyConnection, study: str | None, where: str | None, metric: str | None
) -> None:
    """Narrow the views to the trials that the conditions leave, and put a metric in place of accuracies."""
    if study is not None and not rows(connection, "SELECT study FROM trials LIMIT 1"):
        every = [str(row[0]) for row in rows(connection, "SELECT DISTINCT study FROM all_trials ORDER BY 1")]
        raise BadInput(f"--study {study}: no trials of it here; there are: {', '.join(every) or 'none'}")
    if where is not None:
        try:
            statements = connection.extract_statements(f"SELECT 1 FROM trials WHERE ({where}\n)")
            if not where.strip() or len(statements) != 1 or statements[0].type not in READS:
                raise BadInput(f"--where {where}: not a condition")
            connection.execute(f"EXPLAIN SELECT 1 FROM trials WHERE ({where}\n)")
        except duckdb.Error as error:
            raise BadInput(f"--where {where}: {error}") from None
    if study is None and where is None and metric is None:
        return
    trials = "FROM every_trials AS trials"
    if where is not None:
        trials += f" WHERE ({where}\n)"
    others = {
        table: f"FROM every_{table} WHERE trial_id IN (SELECT trial_id FROM trials)"
        for table in KEYS
        if table != "trials"
    }
    with one_line_errors():
        try:
            for table, sql in {"trials": trials, **others}.items():
                views.show(connection, table, sql)
        except duckdb.BinderException:
            why = "a condition on a trial's columns, without a query in it"
            raise BadInput(f"--where {where}: {why}") from None
        if metric is not None:
            views.show(connection, "trials", headlines.shown(connection, trials, metric))


def count_unsound(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Say on stderr how many rows the view of a table leaves out that only a look at large columns tells."""
    [(count,)] = rows(
        connection, f"SELECT count(*) FROM all_{table} WHERE ({SOUND_IN_FULL[table]}) IS NOT TRUE"
    )
    if count:
        parts.leave_rows_aside(union.named(union.of(connection)), count, table)


def narrowed_studies(connection: duckdb.DuckDBPyConnection) -> set[str] | None:
    """The studies that have trials in a narrowed connection; None if it has all trials."""
    if rows(connection, "SELECT getvariable('shown_trials')") == [(None,)]:
        return None
    return {name for (name,) in rows(connection, "SELECT DISTINCT study FROM trials")}


def provisional(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Lines to be printed above any answer: on each unfinished study, and each that chose its own trials."""
    lines = [
        f"Provisional: {done:,} of {trials:,} trials of {study}. Nothing is certain before all have a result."
        for study, (done, trials) in unfinished(connection).items()
    ]
    return lines + [
        f"{study} chose its trials by their results, which the intervals of other questions do not allow "
        "for: python -m analysis asked has those that do"
        for study in questions(connection)
    ]


def questions(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What each study with a trial in the connection asks, by name, as the JSON of its study.json."""
    asked = dict(rows(connection, "SELECT study, question FROM questions ORDER BY study"))
    present = {name for (name,) in rows(connection, "SELECT DISTINCT study FROM trials")} if asked else ()
    return {study: question for study, question in asked.items() if study in present}


def running(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """For each arm with trials of an unfinished study, how far that study is, in words."""
    said = {
        study: f"{done:,} of {trials:,} trials of {study}"
        for study, (done, trials) in unfinished(connection).items()
    }
    if not said:
        return {}
    arms = rows(connection, "SELECT DISTINCT arm, study FROM trials")
    return {arm: said[study] for arm, study in arms if study in said}


def baseline(connection: duckdb.DuckDBPyConnection, other_than: str = "") -> str | None:
    """The first of `BASELINES` that was run; None if there is none.

    Args:
        other_than: a criterion, or criterion:scope, that cannot be its own baseline.
    """
    known = {name for (name,) in rows(connection, "SELECT DISTINCT criterion FROM trials WHERE sparsity > 0")}
    return next(
        (name for name in BASELINES if name in known and not f"{other_than}:".startswith(f"{name}:")), None
    )
