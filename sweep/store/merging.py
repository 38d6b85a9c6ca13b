"""Results of a study from several folders written into one, each row once and with where it is from.

The folders that are read are never written to. What was written when a merge ends early stays, and the next
one goes on: a row that is there already is not written again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.store import kept, launches, marks, parts, results
from sweep.store.places import Place, name_of
from sweep.store.schema import IDENTITIES, MARKS, SCHEMAS

# Two rows of a trial with the same of these are the same row.
_SAME = ("trial_id", "source", "status", "launched_at", "started_at", "finished_at")
# Bytes of rows that are written as one part.
_PART = 100_000_000


@dataclass
class Taken:
    """What a merge takes from the folder of a study.

    Attributes:
        folder: of the study's results.
        trials: its rows of `trials`, with their source.
        new: numbers of the rows that the target does not have.
        counting: trials whose new row is the one that counts among all folders: their other rows are taken.
        marks: its rows of marks that the target does not have.
    """

    folder: Place
    trials: pa.Table
    new: list[int] = field(default_factory=list)
    counting: set[str] = field(default_factory=set)
    marks: list[dict[str, Any]] = field(default_factory=list)


def merge(target: Place, folders: Sequence[Place]) -> list[Taken]:
    """Write the results, marks and launches of a study in some folders into another one.

    Of a trial of several folders all rows of `trials` are written. Its rows of other tables do not say which
    run they are of: only those of the folder whose row of `trials` counts are written.

    Args:
        target: of the study's results; it may have some.

    Raises:
        BadInput: another process writes there, or a study.json is damaged.
        OSError: the disk or the store refused; what was written before is kept.
    """
    with results.lock(target):
        for folder in folders:
            launches.take_in(target, folder)
        taken = [Taken(folder, _with_source(folder)) for folder in folders]
        _choose(target, taken)
        # A trial is there once its row of `trials` is, and then its marks and its other rows are too.
        for each in taken:
            if each.marks:
                results.write_part(target, "marks", pa.Table.from_pylist(each.marks, schema=MARKS))
            for trial in sorted(each.counting & kept.trials(each.folder)):
                kept.copy(trial, each.folder, target)
        for table in SCHEMAS:
            for each in taken:
                _write(target, table, each)
    return taken


def _with_source(folder: Place) -> pa.Table:
    """All rows of `trials` of a folder; those that were run there get the folder as their source."""
    rows = results.described(folder, SCHEMAS["trials"].names)
    number = rows.schema.get_field_index("source")
    return rows.set_column(number, rows.schema.field(number), pc.fill_null(rows["source"], name_of(folder)))


def _choose(target: Place, taken: Sequence[Taken]) -> None:
    """Find out what the target does not have, and of each trial the folder whose row counts."""
    own = results.described(target, SCHEMAS["trials"].names)
    known = set(_columns(own, _SAME))
    best: dict[str, tuple[Any, Taken | None]] = {}
    for each in (None, *taken):
        rows = own if each is None else each.trials
        invalid = marks.invalid(target if each is None else each.folder)
        of_folder = None if each is None else name_of(each.folder)
        for number, row in enumerate(_columns(rows, _SAME)):
            values = dict(zip(_SAME, row, strict=True))
            is_new = row not in known
            if each is not None and is_new:
                known.add(row)
                each.new.append(number)
            if values["source"] == of_folder:
                values["source"] = None
            rank = not invalid.holds(values), *_comparable(results.precedence(values))
            before = best.get(values["trial_id"])
            if before is None or rank > before[0]:
                best[values["trial_id"]] = rank, each if is_new else None
    for trial, (_, each) in best.items():
        if each is not None:
            each.counting.add(trial)
    had = set(_columns(results.read_table(target, "marks", MARKS.names), IDENTITIES["marks"]))
    for each in taken:
        for mark in _marks(each):
            key = tuple(mark[name] for name in IDENTITIES["marks"])
            if key not in had:
                had.add(key)
                each.marks.append(mark)


def _columns(rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Some columns of each row. Not as mappings: there may be millions."""
    return zip(*(rows[name].to_pylist() for name in names), strict=True)


def _comparable(precedence: tuple[bool, bool, bool, Any]) -> tuple[bool, bool, bool, float]:
    """A precedence that compares with another one of which the time is not known."""
    *first, when = precedence
    return (*first, when.timestamp() if when is not None else 0.0)  # type: ignore[return-value]


def _marks(taken: Taken) -> Iterator[dict[str, Any]]:
    """The marks of a folder, each of the sources that its rows have in the target."""
    sources: dict[str, set[str]] = {}
    for trial, source in _columns(taken.trials, ("trial_id", "source")):
        sources.setdefault(trial, set()).add(source)
    here = name_of(taken.folder)
    for mark in marks.read(taken.folder / "marks", parts.PART).to_pylist():
        of_all = sources.get(mark["trial_id"], {here})
        for source in sorted(of_all) if mark["source"] is None else [mark["source"] or here]:
            yield {**mark, "source": source}


def _write(target: Place, table: str, taken: Taken) -> None:
    """Write what is taken of a table, in large parts."""
    if table == "trials":
        read = iter([taken.trials.take(pa.array(taken.new, pa.int64()))])
    else:
        read = results.read_by_part(taken.folder, table, pa.array(taken.counting, pa.string()))
    waiting: list[pa.Table] = []
    for rows in read:
        waiting += [rows] if len(rows) else []
        if sum(each.nbytes for each in waiting) > _PART:
            results.write_part(target, table, pa.concat_tables(waiting))
            waiting.clear()
    if waiting:
        results.write_part(target, table, pa.concat_tables(waiting))
