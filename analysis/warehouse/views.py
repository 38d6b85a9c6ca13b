"""The views over parts. Each trial is in them once, whatever launches, retries and other programs wrote."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from analysis.warehouse import union
from analysis.warehouse.definition import define, shown
from analysis.warehouse.sources import (
    Merged,
    are_as_written,
    can_be_read,
    compacted,
    converted,
    listed,
    matching,
    quoted,
    sorted_out,
)
from analysis.warehouse.union import Member
from sweep.errors import BadInput
from sweep.store import parts
from sweep.store.places import Remote, attempts, is_plain, read_all, size
from sweep.store.schema import KEYS, LARGE

# More parts than this, which are smaller than this many bytes on average, are loaded into memory.
_MANY, _SMALL = 300, 200_000
# Parts in an object store are loaded into memory if they are smaller than this many bytes together.
_FETCHED = 250_000_000


def create(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Create the view of a table over all sound parts of the connection's places.

    Raises:
        BadInput: the parts cannot be read, or were merged at each attempt.
    """
    places = union.of(connection)
    for last in attempts():
        try:
            return _view(connection, table, places, last)
        except duckdb.IOException as error:
            if last:
                names = union.named(places)
                raise BadInput(f"{names}: its parts cannot be read ({error}): try again") from None


def show(connection: duckdb.DuckDBPyConnection, table: str, sql: str) -> None:
    """Let the view of a table show the rows of a query, also once the table's parts are listed again.

    Args:
        sql: over the view `every_TABLE`, of all rows that count. Before the first call the table's own view
            is that view: to define two would take twice as long, as DuckDB opens every part for each.
    """
    if not shown(connection, table):
        definition = f"SELECT sql FROM duckdb_views() WHERE view_name = '{table}'"
        [(text,)] = connection.execute(definition).fetchall()
        body = text.split(" AS ", 1)[1].rstrip().rstrip(";")
        connection.execute(f"CREATE VIEW every_{table} AS {body}")
    connection.execute(f"SET VARIABLE shown_{table} = '{quoted(sql)}'")
    connection.execute(f"CREATE OR REPLACE VIEW {table} AS {sql}")


def renew(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views again. A view that lists its parts by name does not find parts merged since."""
    for table in KEYS:
        create(connection, table)


def _view(connection: duckdb.DuckDBPyConnection, table: str, places: Sequence[Member], last: bool) -> None:
    """One attempt to create the view.

    Args:
        last: no other attempt follows.
    """
    found = {each: parts.list_parts(each.folder, each.pattern(table))[::-1] for each in places}

    def require_all_parts() -> None:
        if not all(set(there) <= set(each.parts(table)) for each, there in found.items()):
            raise Merged("they are being merged")

    # From a store, every query would take many requests for each part.
    stores = [part for each, there in found.items() if isinstance(each.folder, Remote) for part in there]
    fetched = stores if table not in LARGE and sum(map(size, stores)) < _FETCHED else []
    tables = [*converted(table, zip(fetched, read_all(fetched), strict=True))]
    if fetched:
        require_all_parts()
    in_place = {
        each: there
        for each, there in found.items()
        if there and not (fetched and isinstance(each.folder, Remote))
    }
    try:
        return _define_as_written(connection, table, in_place, tables)
    except (duckdb.Error, FileNotFoundError, parts.NotAPart) as error:
        # Parts were merged since they were listed: retry. Otherwise a part is not as a launch writes it, or
        # DuckDB does not find the parts by the pattern, as in Google's store: check each part. That comes
        # last, because it downloads all of a remote store.
        changed = any(set(there) != set(each.parts(table)) for each, there in in_place.items())
        if isinstance(error, duckdb.IOException) and not last and changed:
            raise
    plain, other = sorted_out(table, _newest_first(in_place))
    require_all_parts()
    tables += converted(table, other)
    try:
        define(connection, table, listed(plain), tables)
    except duckdb.Error as error:
        if not _is_damage(error):
            raise
        define(connection, table, listed(part for part in plain if can_be_read(part, table)), tables)


def _define_as_written(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    in_place: Mapping[Member, Sequence[Any]],
    tables: Sequence[pa.Table],
) -> None:
    """Define the views over parts that are all as a launch writes them.

    Args:
        in_place: the parts of each place that has some.
        tables: the rows of more parts.

    Raises:
        parts.NotAPart: a part is not, or is not a plain file.
        Merged: there are new parts.
    """
    found = _newest_first(in_place)
    if not found:
        return define(connection, table, None, tables)
    if not are_as_written(connection, table, found):
        raise parts.NotAPart("of other types")
    few = len(found) <= _MANY or any(isinstance(part, Remote) for part in found)
    if not few and sum(part.stat().st_size for part in found) < _SMALL * len(found):
        return define(connection, table, compacted(connection, table, found), tables)
    for each, there in in_place.items():
        now = set(each.parts(table))
        if set(there) < now:
            if all(is_plain(part) for part in now):
                raise Merged("there are new ones")
            raise parts.NotAPart("some are no plain files")
    define(connection, table, matching(union.patterns(in_place, table)), tables)


def _newest_first(in_place: Mapping[Member, Sequence[Any]]) -> list[Any]:
    every = [part for there in in_place.values() for part in there]
    return sorted(every, key=lambda part: part.name, reverse=True)


def leave_damaged(connection: duckdb.DuckDBPyConnection, error: duckdb.Error) -> bool:
    """Define the views again without the parts that cannot be read; whether there were any.

    Damaged pages come to light in a query: the end of a file, which is read first, says nothing of them.

    Args:
        error: of the query.

    Raises:
        duckdb.IOException: parts are being merged.
    """
    if not _is_damage(error):
        return False
    places, some = union.of(connection), False
    for table in KEYS:
        names = connection.execute(
            f"SELECT filename FROM all_{table} EXCEPT SELECT filename FROM recoded_{table}"
        ).fetchall()
        found = [union.place_of(places, name) for (name,) in names]
        sound = [part for part in found if can_be_read(part, table)]
        if len(sound) < len(found):
            some = True
            define(connection, table, listed(sound))
    return some


def _is_damage(error: duckdb.Error) -> bool:
    return type(error) in (duckdb.Error, duckdb.InvalidInputException, duckdb.IOException)
