"""Merge the parts of a study: few files are read sooner than many."""

import re
import uuid
from collections.abc import Iterator, Sequence

import pyarrow as pa

from sweep.store import kept, marks, parts
from sweep.store.places import Place, Remote, remove_all, size
from sweep.store.results import precedence, write_part
from sweep.store.schema import IDENTITIES, STORED

# More parts than this are merged when a launch begins or ends.
_MANY_PARTS = 8
# The most bytes of rows in memory, and in a merged part. Files with fewer bytes than the second hold fewer.
_MOST_BYTES, _LITTLE = 2**28, 2**22


def compact(folder: Place) -> None:
    """Merge the parts of a table if there are many, into one or a few large ones. Without room they stay.

    Each merged part has each row once. The caller holds the lock. A reader that listed the parts earlier may
    not find one, and lists them again.
    """
    kept.remove_unfinished(folder)
    for table in STORED:
        for unfinished in (folder / table).glob(".part-*"):
            unfinished.unlink()
        listed = parts.list_parts(folder / table)
        if len(listed) <= _MANY_PARTS:
            continue
        for group in _groups(listed, table):
            try:
                _merge(folder, table, group)
            except OSError:
                return


def _groups(listed: Sequence[Place], table: str) -> Iterator[Sequence[Place]]:
    """Runs of parts that are merged into one each, in the order of their names."""
    if sum(map(size, listed)) < _LITTLE:
        yield listed
        return
    group: list[Place] = []
    total = 0
    for part in listed:
        try:
            more = parts.nbytes(part.open_in_place() if isinstance(part, Remote) else part, table)
        except parts.NotAPart:  # said by whoever reads its rows
            continue
        if group and total + more > _MOST_BYTES:
            yield group
            group, total = [], 0
        group.append(part)
        total += more
    yield group


def _merge(folder: Place, table: str, group: Sequence[Place]) -> None:
    """Merge parts that follow each other into one that takes their place in the order of names.

    Of the rows of one key, that in the part of the latest name counts.
    """
    if len(group) < 2:
        return
    read = zip(group, parts.read_each(group, table, STORED[table].names), strict=True)
    valid = {part: rows for part, rows in read if rows is not None}
    if len(valid) < 2:
        return
    rows = pa.concat_tables(valid.values())
    name = re.sub(r"(-[0-9a-f]{8})?\.parquet$", f"-{uuid.uuid4().hex[:8]}.parquet", [*valid][-1].name)
    write_part(folder, table, rows.take(_that_count(folder, table, rows)), name)
    remove_all(valid)


def _that_count(folder: Place, table: str, rows: pa.Table) -> list[int]:
    """The numbers of the rows that stay when parts are merged: the last of each key.

    Of a trial that is marked as invalid two rows may stay, one of those that the mark is of and one of those
    that came later: the mark may be taken back.
    """
    key = IDENTITIES[table]
    # Only the columns that identify and order rows become Python objects: there may be millions of rows.
    if table != "trials":
        numbered = enumerate(rows.select(key).to_pylist())
        return list({tuple(row.values()): number for number, row in numbered}.values())
    invalid = marks.invalid(folder)
    trials = enumerate(rows.select((*key, "source", "status", "finished_at")).to_pylist())
    in_order = sorted(trials, key=lambda row: precedence(row[1]))
    return list({(row["trial_id"], invalid.holds(row)): number for number, row in in_order}.values())
