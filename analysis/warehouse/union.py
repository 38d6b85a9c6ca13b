"""The places whose results a connection reads: one folder or URI, or a union of several."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from analysis.warehouse.sources import duckdb_name, quoted
from sweep.errors import BadInput, StoreError
from sweep.store import parts
from sweep.store.places import Place, Remote, name_of, place

# What `analysis.open` takes: a folder or URI, or several of them.
Places = str | Place | Sequence[str | Place]


@dataclass(frozen=True)
class Member:
    """A place of a union.

    Attributes:
        name: what a person calls it, without the options of a store.
        folder: where it is, whatever the current folder.
        one_study: it is the folder of one study, not that of several.
    """

    name: str
    folder: Place
    one_study: bool

    def parts(self, table: str) -> list[Any]:
        """The parts of a table, by the pattern of their names."""
        return list(self.folder.glob(self.pattern(table)))

    def pattern(self, table: str) -> str:
        """The pattern for the names of a table's parts within the folder."""
        return parts.pattern(table, self.one_study)


def members(results: Places) -> list[Member]:
    """The places that are named, each once.

    Raises:
        BadInput: there is no place, a place does not exist or cannot be read, a place lies within another, or
            one of several has no results.
        StoreError: an object store does not answer.
    """
    several = [results] if isinstance(results, str | Path | Remote) else [*results]
    if not several:
        raise BadInput("no results are named: name a folder or a URI")
    by_folder: dict[Place, Member] = {}
    for each in map(_member, several):
        by_folder.setdefault(each.folder, each)
    found = list(by_folder.values())
    for each in found if len(found) > 1 else ():
        for other in found:
            if other is not each and is_within(each.folder, other.folder):
                raise BadInput(f"{each.name} lies within {other.name}: leave one of them out")
        if not each.parts("trials"):
            raise BadInput(
                f"{each.name}: no finished trials yet: leave it out, or see python -m sweep.launch"
            )
    return found


def _member(text: str | Place) -> Member:
    folder = place(text).resolve()
    if not folder.is_dir():
        raise BadInput(f"{text}: no such folder; run a study first, or name its results with --results")
    try:
        one_study = parts.are_of_one_study(folder)
        next(iter(folder.iterdir()), None)
    except StoreError:
        raise
    except OSError as error:
        raise BadInput(f"{text}: {error.strerror}: make it readable, or leave it out") from None
    return Member(name_of(place(text)), folder, one_study)


def is_within(one: Place, other: Place) -> bool:
    """Whether a place is another one, or lies within it."""
    return f"{duckdb_name(one)}/".startswith(f"{duckdb_name(other)}/")


def keep(connection: duckdb.DuckDBPyConnection, places: Iterable[Member]) -> None:
    """Let a connection know its places."""
    connection.execute("CREATE TABLE places (name VARCHAR, folder VARCHAR, one_study BOOLEAN)")
    connection.executemany(
        "INSERT INTO places VALUES (?, ?, ?)",
        [(each.name, str(each.folder), each.one_study) for each in places],
    )


def of(connection: duckdb.DuckDBPyConnection) -> list[Member]:
    """The places of a connection."""
    kept = connection.execute("SELECT name, folder, one_study FROM places ORDER BY rowid").fetchall()
    return [Member(name, place(folder), one_study) for name, folder, one_study in kept]


def named(places: Iterable[Member]) -> str:
    """The places in words."""
    return ", ".join(str(each.folder) for each in places)


def of_row(places: Sequence[Member]) -> str:
    """The SQL of the name of the place that a row of a table comes from."""
    return _by_place(places, [f"'{quoted(each.name)}'" for each in places])


def order(places: Sequence[Member]) -> str:
    """The SQL of the number of the place that a row of a table comes from, in the order of their naming."""
    return _by_place(places, list(map(str, range(len(places)))))


def _by_place(places: Sequence[Member], values: Sequence[str]) -> str:
    first, *others = zip(places, values, strict=True)
    cases = "".join(
        f"WHEN starts_with(filename, '{quoted(duckdb_name(each.folder))}/') THEN {value} "
        for each, value in others
    )
    return f"CASE {cases}ELSE {first[1]} END" if cases else first[1]


def patterns(places: Iterable[Member], table: str) -> list[str]:
    """The patterns by which DuckDB finds all parts of a table."""
    return [f"{glob.escape(duckdb_name(each.folder))}/{each.pattern(table)}" for each in places]


def place_of(places: Iterable[Member], name: str) -> Place:
    """The file or folder of results that has this name in DuckDB."""
    for each in places:
        if isinstance(each.folder, Remote) and name.startswith(f"{duckdb_name(each.folder)}"):
            return replace(each.folder, path=name.partition("://")[2])
    return Path(name)
