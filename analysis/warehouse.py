"""Results as DuckDB views `trials`, `curves` and `layers`: each trial once, nothing else within reach."""

import glob
import json
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from analysis.labels import CHOICE
from sweep.errors import BadInput
from sweep.schema import KEYS, SCHEMAS
from sweep.storage import Place, Remote, place, read_all

# Which of several rows with the same key is looked at, where they can differ.
_PRECEDENCE = {"trials": "ORDER BY (status = 'ok') DESC, (status <> 'stopped') DESC, finished_at DESC"}
# A folder named seed=7 is no column.
_OPTIONS = "union_by_name = true, hive_partitioning = false, filename = true, file_row_number = true"
# More parts than this, and smaller than this many bytes on average, are taken into memory.
_MANY, _SMALL = 300, 200_000
# Of an object store, less than this in all is taken into memory.
_FETCHED = 250_000_000
# What a row cannot be without.
_REQUIRED = {**KEYS, "trials": ("trial_id", "status", "config")}
# A config less seed and sparsity.
_ARM = """regexp_replace(config, '"seed":[0-9]+,"sparsity":[-+.0-9e]+,', '')"""
_READS = {duckdb.StatementType.SELECT}


def open(
    results: str | Place = "results", *, study: str | None = None, where: str | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection with the views `trials`, `curves` and `layers` over one study's folder, or over all.

    A fourth, `settings`, has each arm's setting: its config less all that chooses the mask.

    The views read what is on disk at the time of a query, so a running study can be watched (one without any
    result yet, of hundreds of small parts, or in an object store must be opened again). Queries cannot reach
    files outside the results, nor change settings. A part that is damaged or not of these results is named on
    stderr and left aside.

    Args:
        study: only the trials run for this study.
        where: only the trials for which this SQL condition over `trials` holds. Both also narrow `curves` and
            `layers`.

    Raises:
        BadInput: the folder does not exist, or the condition is none.
    """
    folder = place(results)
    folder = folder.resolve() if isinstance(folder, Path) else folder
    connection = duckdb.connect()
    if not (folder.is_dir() if isinstance(folder, Path) else folder.exists()):
        raise BadInput(f"{results}: no such folder; run a study first, or name its results with --results")
    one_study = (folder / "study.json").exists() or (folder / "trials").exists()
    if isinstance(folder, Remote):
        from analysis.within import Within

        connection.register_filesystem(Within(folder))
    for table in KEYS:
        # Without a part the view would not know its columns.
        connection.register("nothing_yet", SCHEMAS[table].empty_table())
        connection.execute(f"CREATE TABLE no_{table} AS FROM nothing_yet")
        connection.unregister("nothing_yet")
        pattern = f"{table}/part-*.parquet" if one_study else f"*/{table}/part-*.parquet"
        _view(connection, table, folder, pattern)
    # A pattern is held against these as it is written, a file as it is named.
    allowed = ", ".join(f"'{_quoted(text)}'" for text in (_named(folder), glob.escape(_named(folder))))
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    _narrow(connection, study, where)
    return connection


def files(results: Place, name: str) -> list[Place]:
    """The files of this name that one study has beside its results, or each of all."""
    found: list[Place] = [*results.glob(name)] or [*results.glob(f"*/{name}")]
    return sorted(found, key=str)


def _named(where: Place) -> str:
    """The name by which DuckDB finds it."""
    return str(where) if isinstance(where, Path) else f"{where.scheme}://{where.path}"


def _view(connection: duckdb.DuckDBPyConnection, table: str, folder: Place, pattern: str) -> None:
    """Create the view of a table; sound parts only."""
    parts: list[Any] = sorted(folder.glob(pattern), key=lambda part: part.name, reverse=True)
    if not parts:
        _create(connection, table, None)
        return
    if isinstance(folder, Remote) and sum(part.size for part in parts) < _FETCHED:
        _create(connection, table, _fetched(connection, table, parts))
        return
    source = f"read_parquet('{_quoted(f'{glob.escape(_named(folder))}/{pattern}')}', {_OPTIONS})"
    missing = " OR ".join(f"{name} IS NULL" for name in _REQUIRED[table])
    with suppress(duckdb.Error, FileNotFoundError):
        few = len(parts) <= _MANY or isinstance(folder, Remote)
        if not few and sum(part.stat().st_size for part in parts) < _SMALL * len(parts):
            source = _compacted(connection, table, parts)
        _create(connection, table, source)
        found = connection.execute(f"DESCRIBE {table}").fetchall()
        # A column of another type turns all of it into that type; what has no key is not a row of ours.
        if {row[:2] for row in found} >= {
            row[:2] for row in connection.execute(f"DESCRIBE no_{table}").fetchall()
        } and not connection.execute(f"SELECT 1 FROM all_{table} WHERE {missing} LIMIT 1").fetchone():
            return
    sound = [part for part in parts if _is_sound(part, table)]
    _create(connection, table, f"read_parquet({_listed(sound)}, {_OPTIONS})" if sound else None)


def _compacted(connection: duckdb.DuckDBPyConnection, table: str, parts: Sequence[Path]) -> str:
    """Take many small parts into memory at once: opening each anew for every query would take seconds.

    Without looking through all of them for their columns first, which takes as long again: the newest part
    has every column, and older ones without some of them make this fail, for the slower way to be taken.
    """
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"CREATE OR REPLACE TABLE parts_{table} AS FROM read_parquet({_listed(parts)}, "
        "hive_partitioning = false, filename = true, file_row_number = true)"
    )
    connection.execute("RESET preserve_insertion_order")
    return f"parts_{table}"


def _fetched(connection: duckdb.DuckDBPyConnection, table: str, parts: Sequence[Remote]) -> str | None:
    """Take the parts of an object store into memory: every query would take many requests for each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for part, content in zip(parts, read_all(parts), strict=True):
        if isinstance(content, FileNotFoundError):  # merged into another meanwhile
            continue
        if isinstance(content, OSError):
            raise content
        if _is_sound(part, table, pa.BufferReader(content)):
            rows = pq.read_table(pa.BufferReader(content))
            name = pa.repeat(_named(part), len(rows))
            numbers = pa.array(range(len(rows)), pa.int64())
            found.append(rows.append_column("filename", name).append_column("file_row_number", numbers))
    if not found:
        return None
    connection.register("fetched", pa.concat_tables(found, promote_options="permissive"))
    connection.execute(f"CREATE OR REPLACE TABLE parts_{table} AS FROM fetched")
    connection.unregister("fetched")
    return f"parts_{table}"


def _listed(parts: Sequence[Place]) -> str:
    return "[" + ", ".join(f"'{_quoted(glob.escape(_named(part)))}'" for part in parts) + "]"


def _create(connection: duckdb.DuckDBPyConnection, table: str, source: str | None) -> None:
    """A view of all rows of a source, and one of each row once.

    Few rows are there twice, if any. Looking by the keys alone for those that do not count, and leaving them
    out of one pass over the others, is several times faster than sorting whole rows, and needs no memory.
    """
    key = ", ".join(KEYS[table])
    rows = f"FROM no_{table} SELECT *, '' AS filename, 0 AS file_row_number"
    if source:
        rows += f" UNION ALL BY NAME FROM {source}"
    connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS {rows}")
    named = "SELECT * EXCLUDE (filename, file_row_number)"
    arm = "arm"
    with suppress(duckdb.Error):
        # Results of before there was this column.
        if table == "trials" and connection.execute("FROM all_trials WHERE arm IS NULL LIMIT 1").fetchone():
            arm = f"coalesce(arm, {_ARM})"
            named += f" REPLACE ({arm} AS arm)"
    if table == "trials":
        # Of all rows: that of a trial that does not count has the same arm.
        connection.execute(
            f"""CREATE OR REPLACE VIEW settings AS
            SELECT arm, json_merge_patch(arm, '{json.dumps(dict.fromkeys(CHOICE))}')::VARCHAR AS setting
            FROM (SELECT DISTINCT {arm} AS arm FROM all_trials)"""
        )
    connection.execute(
        f"""CREATE OR REPLACE VIEW {table} AS
        WITH twice AS (SELECT hash({key}) AS h FROM all_{table} GROUP BY 1 HAVING count(*) > 1),
        superseded AS (
            SELECT hash(filename, file_row_number) AS h
            FROM (FROM all_{table} WHERE hash({key}) IN (FROM twice)
                  QUALIFY row_number() OVER (PARTITION BY {key} {_PRECEDENCE.get(table, "")}) > 1)
        )
        {named} FROM all_{table}
        WHERE hash(filename, file_row_number) NOT IN (FROM superseded)"""
    )


def _is_sound(part: Place, table: str, content: Any = None) -> bool:
    """Whether a file is a part of this table; if not, one line on stderr says so.

    Args:
        content: of the part, if it was read already.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if isinstance(part, Remote) and content is None:
            content = pa.BufferReader(part.read_bytes())
        schema = pq.read_schema(part if content is None else content)
    except FileNotFoundError:  # merged into another meanwhile
        return False
    except (pa.ArrowException, OSError):
        why = "damaged"
    else:
        missing = [name for name in _REQUIRED[table] if name not in schema.names]
        other = [
            field.name
            for field in SCHEMAS[table]
            if field.name in schema.names and not _alike(schema.field(field.name).type, field.type)
        ]
        if not missing and not other:
            return True
        why = f"no {missing[0]} in it" if missing else f"{other[0]} is of another type"
    print(f"{part}: not a part of {table} ({why}): left aside; move it away", file=sys.stderr)
    return False


def _alike(one: Any, other: Any) -> bool:
    """Whether a column of the one type can stand for one of the other."""
    import pyarrow.types as types

    return bool(one == other or types.is_null(one) or all(map(types.is_temporal, (one, other))))


def _narrow(connection: duckdb.DuckDBPyConnection, study: str | None, where: str | None) -> None:
    """Put views of some trials in the place of those of all."""
    if study is None and where is None:
        return
    conditions = []
    if study is not None:
        known = [row[0] for row in rows(connection, "SELECT DISTINCT study FROM trials ORDER BY 1")]
        if study not in known:
            raise BadInput(f"--study {study}: no trials of it here; there are: {', '.join(known) or 'none'}")
        conditions.append(f"study = '{_quoted(study)}'")
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
    with told():
        connection.execute(
            f"CREATE OR REPLACE VIEW trials AS FROM every_trials AS trials WHERE {' AND '.join(conditions)}"
        )
    for table in ("curves", "layers"):
        connection.execute(
            f"CREATE OR REPLACE VIEW {table} AS FROM every_{table} "
            "WHERE trial_id IN (SELECT trial_id FROM trials)"
        )


def reading(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """The answer to somebody's query, which may only read.

    Raises:
        BadInput: it is not SQL, does something other than read, or cannot be answered.
    """
    with told():
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _READS:
            raise BadInput("one query only: a SELECT, FROM, DESCRIBE or SUMMARIZE over the results")
        return connection.sql(statements[0].query)


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    """All rows of one of our own queries."""
    with told():
        return connection.execute(sql).fetchall()


def ask(
    connection: duckdb.DuckDBPyConnection, name: str, variables: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The rows of one of the SQL files beside this module, as mappings.

    Args:
        variables: SQL variables that the query looks at; each has a default there.
    """
    with told():
        for variable, value in (variables or {}).items():
            connection.execute(f"SET VARIABLE {variable} = '{_quoted(value)}'")
        answer = connection.execute(query(name))
        columns = [column[0] for column in answer.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in answer.fetchall()]


def query(name: str) -> str:
    """The text of one of the SQL files beside this module."""
    return (Path(__file__).parent / "queries" / f"{name}.sql").read_text()


def _quoted(text: str) -> str:
    return text.replace("'", "''")


@contextmanager
def told() -> Generator[None]:
    """Whatever DuckDB has against a query or a file, as one line."""
    try:
        yield
    except duckdb.Error as error:
        raise BadInput(str(error)) from None
