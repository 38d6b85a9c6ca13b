"""Results opened to be asked: the views of one study or of all, and nothing else within reach."""

import glob
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import resources
from operator import itemgetter
from typing import Any, TypeVar

import duckdb

from analysis.warehouse import views
from analysis.warehouse.views import named, quoted
from sweep.errors import BadInput
from sweep.store import parts
from sweep.store.places import Place, Remote, attempts, is_small, place, read_all
from sweep.store.schema import KEYS

T = TypeVar("T")

# Names every criterion but what it is compared with, to the queries that compare two.
EACH = "*"
# What they are compared with unless something else is asked for: the first of these that was run.
BASELINES = ("random", "magnitude")
NO_PAIR = "No pair to compare: it takes two criteria of one setting, with a sparsity and a seed in common."
_READS = {duckdb.StatementType.SELECT}
# Study, trials asked for, trials to run, seconds since 1970.
Launch = tuple[str, int, int, float]


def open(
    results: str | Place = "results", *, study: str | None = None, where: str | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection with the views `trials`, `curves` and `layers` over one study's folder, or over all.

    A fourth, `settings`, has the setting of each arm of all results: the config less all that chooses masks.

    The views read what is on disk at the time of a query, so a running study can be watched (one without any
    result yet, of hundreds of small parts, with a part of another tool, or in an object store must be opened
    again). Queries cannot reach
    files outside the results, nor change settings. A part that is damaged or not of these results is named on
    stderr and left aside.

    Args:
        study: only the trials run for this study.
        where: only the trials for which this SQL condition over `trials` holds. Both also narrow `curves` and
            `layers`.

    Raises:
        BadInput: the folder does not exist, or the condition is none.
    """
    folder = place(results).resolve()
    connection = duckdb.connect()
    if not folder.is_dir():
        raise BadInput(f"{results}: no such folder; run a study first, or name its results with --results")
    # A study may have the name of a table.
    one_study = (folder / "study.json").exists() or bool([*(folder / "trials").glob("part-*")])
    if isinstance(folder, Remote):
        from analysis.warehouse.object_store import Within

        connection.register_filesystem(Within(folder))
    connection.execute(f"SET VARIABLE results = '{quoted(str(folder))}'")
    for table in KEYS:
        views.create(connection, table, folder, parts.pattern(table, one_study))
    # A pattern is held against these as it is written, a file as it is named.
    allowed = ", ".join(f"'{quoted(text)}'" for text in (named(folder), glob.escape(named(folder))))
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET lock_configuration = true")
    connection.execute("CREATE TABLE launches (study VARCHAR, trials BIGINT, to_run BIGINT, began DOUBLE)")
    if launches := _launches(folder):
        connection.executemany("INSERT INTO launches VALUES (?, ?, ?, ?)", launches)
    _narrow(connection, study, where)
    return connection


def unfinished(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, int]]:
    """Studies whose latest launch still misses trials: name → trials that have a result, trials asked for.

    A study is among them if one trial of the connection, narrowed or not, is of it, and if fewer trials of it
    than its latest launch had to run have ended in that launch: well, failed or diverged, whatever `study`
    and `where` leave of them. A row says in which launch it was made, so that no two clocks are compared; of
    rows from before they said so, those that ended since the launch began count. Both numbers are of the
    whole study as it was launched last. A launch that was ended early, by a person or by --max-trials, leaves
    a study unfinished. That a launch is the latest was known when the connection was opened; how many trials
    have ended is known when this is asked.

    Nothing is known of a study whose study.json does not say how many trials there are (searches, launches of
    earlier versions), is damaged or missing: it is not among them.
    """
    missing = rows(
        connection,
        """
        WITH ended AS (
            SELECT study, count(DISTINCT hash(trial_id)) AS trials
            FROM all_trials JOIN launches USING (study)
            WHERE to_run > 0 AND status <> 'stopped'
                AND coalesce(epoch(launched_at) = began, epoch(finished_at) >= began)
            GROUP BY study
        )
        SELECT study, launches.trials - to_run + coalesce(ended.trials, 0), launches.trials
        FROM launches LEFT JOIN ended USING (study)
        WHERE coalesce(ended.trials, 0) < to_run
        ORDER BY study
        """,
    )
    here = {name for (name,) in rows(connection, "SELECT DISTINCT study FROM trials")} if missing else ()
    return {study: (done, asked) for study, done, asked in missing if study in here}


def _launches(folder: Place) -> list[Launch]:
    """The latest launch of each study of which it is known."""
    latest: dict[str, Launch] = {}
    for content in read_all(path for path in files(folder, "study.json") if is_small(path)):
        if isinstance(content, bytes) and (launch := _launch(content)):
            # Of two folders with one study, as of a copy, the one that was launched last.
            latest[launch[0]] = max(launch, latest.get(launch[0], launch), key=itemgetter(3))
    return list(latest.values())


def _launch(content: bytes) -> Launch | None:
    """The latest launch of a study.json; None where it does not say, or nobody would have written that."""
    try:
        known = json.loads(content)
        launch = known["launches"][-1]
        study, trials, to_run = known["study"], launch["trials"], launch["to_run"]
        study.encode()
        began = datetime.fromisoformat(launch["started_at"])
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None
    if not type(trials) is type(to_run) is int or not 0 <= to_run <= trials < 2**63 or not began.tzinfo:
        return None
    return study, trials, to_run, began.timestamp()


def files(results: Place, name: str) -> list[Place]:
    """The files of this name that one study has beside its results, or each of all."""
    found: list[Place] = [*results.glob(name)] or [*results.glob(f"*/{name}")]
    return sorted(found, key=str)


def _narrow(connection: duckdb.DuckDBPyConnection, study: str | None, where: str | None) -> None:
    """Put views of some trials in the place of those of all."""
    if study is None and where is None:
        return
    conditions = []
    if study is not None:
        known = [row[0] for row in rows(connection, "SELECT DISTINCT study FROM trials ORDER BY 1")]
        if study not in known:
            raise BadInput(f"--study {study}: no trials of it here; there are: {', '.join(known) or 'none'}")
        conditions.append(f"study = '{quoted(study)}'")
    if where is not None:
        try:
            statements = connection.extract_statements(f"SELECT 1 FROM trials WHERE ({where}\n)")
            if not where.strip() or len(statements) != 1 or statements[0].type not in _READS:
                raise BadInput(f"--where {where}: not a condition")
            connection.execute(f"EXPLAIN SELECT 1 FROM trials WHERE ({where}\n)")
        except duckdb.Error as error:
            raise BadInput(f"--where {where}: {error}") from None
        conditions.append(f"({where}\n)")
    for table in KEYS:
        definition = rows(connection, f"SELECT sql FROM duckdb_views() WHERE view_name = '{table}'")[0][0]
        body = definition.split(" AS ", 1)[1].rstrip().rstrip(";")
        connection.execute(f"CREATE VIEW every_{table} AS {body}")
    with _told():
        try:
            connection.execute(
                "CREATE OR REPLACE VIEW trials AS "
                f"FROM every_trials AS trials WHERE {' AND '.join(conditions)}"
            )
            for table in ("curves", "layers"):
                connection.execute(
                    f"CREATE OR REPLACE VIEW {table} AS FROM every_{table} "
                    "WHERE trial_id IN (SELECT trial_id FROM trials)"
                )
        except duckdb.BinderException:
            why = "a condition on a trial's columns, without a query in it"
            raise BadInput(f"--where {where}: {why}") from None


def left(connection: duckdb.DuckDBPyConnection) -> set[str] | None:
    """The studies of the trials that a narrowed connection has; None of one that has all."""
    if not rows(connection, "SELECT 1 FROM duckdb_views() WHERE view_name = 'every_trials'"):
        return None
    return {name for (name,) in rows(connection, "SELECT DISTINCT study FROM trials")}


def provisional(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """A line for each unfinished study, to stand above any answer from it."""
    return [
        f"Provisional: {done:,} of {asked:,} trials of {study}. Nothing is certain before all have a result."
        for study, (done, asked) in unfinished(connection).items()
    ]


def running(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """How far its study is, in words, of each arm with trials of an unfinished study."""
    said = {
        study: f"{done:,} of {asked:,} trials of {study}"
        for study, (done, asked) in unfinished(connection).items()
    }
    if not said:
        return {}
    arms = rows(connection, "SELECT DISTINCT arm, study FROM trials")
    return {arm: said[study] for arm, study in arms if study in said}


def baseline(connection: duckdb.DuckDBPyConnection, other_than: str = "") -> str | None:
    """The first of `BASELINES` that was run, and is not another name; None if there is none."""
    known = {name for (name,) in rows(connection, "SELECT DISTINCT criterion FROM trials WHERE sparsity > 0")}
    return next((name for name in BASELINES if name in known and name != other_than.partition(":")[0]), None)


def checked(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Somebody's query, which may only read.

    Raises:
        BadInput: it is not SQL, or does something other than read.
    """
    with _told():
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _READS:
            raise BadInput("one query only: a SELECT, FROM, DESCRIBE or SUMMARIZE over the results")
        return statements[0].query


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    """All rows of one of our own queries."""
    return answer(connection, sql)[1]


def ask(
    connection: duckdb.DuckDBPyConnection, name: str, variables: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The rows of one of the SQL files beside this module, as mappings.

    Args:
        variables: SQL variables that the query looks at; each has a default there.
    """
    for variable, value in (variables or {}).items():
        connection.execute(f"SET VARIABLE {variable} = '{quoted(value)}'")
    columns, found = answer(connection, query(name))
    return [dict(zip(columns, row, strict=True)) for row in found]


def answer(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows of a query."""

    def read() -> tuple[list[str], list[tuple[Any, ...]]]:
        found = connection.execute(sql)
        return [column[0] for column in found.description or ()], found.fetchall()

    return again(connection, read)


def again(connection: duckdb.DuckDBPyConnection, read: Callable[[], T]) -> T:
    """What reads from the views, done again where a launch merges parts before all of them are read.

    It is also done again without parts that turn out to be damaged as they are read.

    Raises:
        BadInput: DuckDB cannot answer.
    """
    with _told():
        for last in attempts():
            try:
                return _without_damaged(connection, read, last)
            except duckdb.IOException:
                if last:
                    raise
                views.renew(connection)
    raise AssertionError("unreachable")


def _without_damaged(connection: duckdb.DuckDBPyConnection, read: Callable[[], T], last: bool) -> T:
    """What reads from the views; where nothing is merged any longer, without parts that are damaged."""
    try:
        return read()
    except duckdb.Error as error:
        merged = isinstance(error, duckdb.IOException) and not last
        if merged or not views.leave_damaged(connection, error):
            raise
    return read()


def query(name: str) -> str:
    """The text of one of the SQL files beside this module."""
    return (resources.files("analysis") / "queries" / f"{name}.sql").read_text(encoding="utf-8")


@contextmanager
def _told() -> Generator[None]:
    """Whatever DuckDB has against a query or a file, as one line."""
    try:
        yield
    except duckdb.Error as error:
        raise BadInput(str(error)) from None
