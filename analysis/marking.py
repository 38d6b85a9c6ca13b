"""Marks of trials: put, taken back and listed. Results themselves never change."""

import getpass
import os
import platform
import uuid
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from analysis import warehouse
from analysis.warehouse import union
from analysis.warehouse.union import Places
from sweep.errors import BadInput
from sweep.store import marks, parts
from sweep.store import results as stored
from sweep.store.places import Place, remedy
from sweep.store.schema import MARKS

# The columns of the list of marks.
COLUMNS = ("mark", "tag", "trials", "undone", "note", "who", "when")


def put(
    results: Places, tag: str, where: str, *, study: str | None = None, note: str = ""
) -> tuple[str, int]:
    """Mark the trials for which a condition holds, beside the results of each study that has them.

    Args:
        tag: `marks.INVALID`, or any other text of at most 100 characters.

    Returns:
        The mark's id, and the number of trials.

    Raises:
        BadInput: the condition holds for no trial, the text is no tag, or the mark cannot be written.
    """
    if not marks.is_tag(tag):
        raise BadInput(f"--as {tag}: a tag has 1 to 100 characters, without spaces at its ends")
    connection = warehouse.open(results, study=study, where=where)
    to_mark = warehouse.retried(connection, lambda: _rows_to_mark(connection))
    if not len(to_mark):
        raise BadInput(f"--where {where}: no trial to mark; invalid trials are marked already")
    mark = {"mark": uuid.uuid4().hex[:8], "tag": tag, "note": note, "undone": False, **_signature()}
    places = union.of(connection)
    for name in pc.unique(to_mark["folder"]).to_pylist():
        trials = to_mark.filter(pc.equal(to_mark["folder"], name)).drop_columns("folder").to_pylist()
        _write(union.place_of(places, name), [mark | trial for trial in trials])
    return str(mark["mark"]), len(pc.unique(to_mark["trial_id"]))


def _rows_to_mark(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """For each trial of the view, study folder that has it and source: until when rows are marked."""
    return connection.sql(
        """
        SELECT trial_id, regexp_replace(filename, '/trials/[^/]*$', '') AS folder,
            coalesce(source, '') AS source, max(max(finished_at)) OVER (PARTITION BY trial_id) AS until
        FROM all_trials WHERE trial_id IN (SELECT trial_id FROM trials)
        GROUP BY trial_id, folder, coalesce(source, '')
        """
    ).to_arrow_table()


def take_back(results: Places, mark: str) -> int:
    """Take a mark back from all of its trials; returns their number.

    Raises:
        BadInput: there is no such mark, it was taken back already, or that cannot be written.
    """
    count = _undo(results, lambda rows: pc.equal(rows["mark"], mark))
    if not count:
        raise BadInput(f"--undo {mark}: no such mark, or it was taken back: see python -m analysis marks")
    return count


def take_back_where(results: Places, tag: str, where: str, *, study: str | None = None) -> int:
    """Take all marks with a tag back from the trials for which a condition holds; returns their number.

    Raises:
        BadInput: the condition holds for no trial with the tag, or that cannot be written.
    """
    connection = warehouse.open(results, study=study, where=where, with_invalid=True)
    trials = pa.array(
        [name for (name,) in warehouse.rows(connection, "SELECT trial_id FROM trials")], pa.string()
    )

    def chosen(rows: pa.Table) -> Any:
        return pc.and_(pc.equal(rows["tag"], tag), pc.is_in(rows["trial_id"], value_set=trials))

    count = _undo(results, chosen)
    if not count:
        raise BadInput(f"--where {where}: no trial is marked as {tag}: see python -m analysis marks")
    return count


def _undo(results: Places, chosen: Any) -> int:
    """Take back the marks in all rows that a function chooses; returns the number of trials."""
    trials: set[str] = set()
    for folder in _marked(results):
        rows = marks.live(marks.read(folder / "marks", parts.PART))
        rows = rows.filter(chosen(rows)) if len(rows) else rows
        if len(rows):
            _write(folder, [row | {"undone": True, **_signature()} for row in rows.to_pylist()])
            trials |= set(rows["trial_id"].to_pylist())
    return len(trials)


def listed(results: Places) -> list[dict[str, Any]]:
    """Every mark, the latest last: its tag, number of trials, and of how many it was taken back."""
    rows = [
        row
        for each in union.members(results)
        for row in marks.read(each.folder, each.pattern("marks")).to_pylist()
    ]
    rows.sort(key=lambda row: row["marked_at"])
    by_mark: dict[str, dict[str, Any]] = {}
    trials: dict[tuple[str, bool], set[str]] = {}
    for row in rows:
        # Two studies may have one trial, so that a mark of it has two rows.
        trials.setdefault((row["mark"], row["undone"]), set()).add(row["trial_id"])
        by_mark.setdefault(row["mark"], row)
    return [
        {
            "mark": name,
            "tag": mark["tag"],
            "trials": len(trials.get((name, False), ())),
            "undone": len(trials.get((name, True), ())),
            "note": mark["note"],
            "who": mark["who"],
            "when": mark["marked_at"].isoformat(timespec="seconds"),
        }
        for name, mark in by_mark.items()
    ]


def _marked(results: Places) -> Iterator[Any]:
    """The folders of the studies that have marks."""
    for each in union.members(results):
        listed = parts.list_parts(each.folder, each.pattern("marks"))
        yield from sorted({part.parent.parent for part in listed}, key=str)


def _signature() -> dict[str, Any]:
    """Who marks, and when."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # the system does not know the name of this user
        name = f"user {os.getuid()}"
    return {"who": f"{name}@{platform.node()}", "marked_at": datetime.now(UTC)}


def _write(folder: Place, rows: Collection[dict[str, Any]]) -> None:
    try:
        stored.write_part(folder, "marks", pa.Table.from_pylist(list(rows), schema=MARKS))
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror or error}: {remedy(folder)} and mark again") from None
