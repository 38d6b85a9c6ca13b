"""Marks that people put on trials: of invalid trials, and tags. They lie beside the results of each study.

A mark as invalid is of the rows that a trial had when the mark was made. A row that finished later counts
again, so that a trial that was run again needs no other mark. So does a row from another source, which may
come later by a merge of results.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.store import parts
from sweep.store.places import Place
from sweep.store.schema import MARKS

Row = Mapping[str, Any]

# The tag of trials that are in no answer and are run again.
INVALID = "invalid"
# What a tag may be: at most this many characters, none of them a control character, no space at the ends.
_LONGEST = 100
_TAG = r"^[^\pC\s]([^\pC]*[^\pC\s])?$"


def is_tag(text: str) -> bool:
    """Whether a text may be a tag."""
    return bool(_are_tags(pa.array([text]))[0].as_py())


def _are_tags(texts: Any) -> Any:
    short = pc.less_equal(pc.utf8_length(texts), _LONGEST)
    return pc.and_(short, pc.match_substring_regex(texts, _TAG))


def read(folder: Place, pattern: str) -> pa.Table:
    """All rows of marks under a folder, also those of marks that were taken back.

    Rows without a mark, a trial, a time or a usable tag are counted on stderr and left aside: anybody who can
    write to the results may have written them.

    Args:
        pattern: of the parts' names within the folder.
    """
    rows = parts.read_all(folder, pattern, "marks", MARKS.names)
    if not len(rows):
        return rows
    sound = _are_tags(rows["tag"])
    for name in ("mark", "trial_id", "marked_at", "undone"):
        sound = pc.and_kleene(sound, pc.is_valid(rows[name]))
    kept = rows.filter(sound)
    if len(kept) < len(rows):
        parts.leave_rows_aside(folder, len(rows) - len(kept), "marks")
    return kept


def live(rows: pa.Table) -> pa.Table:
    """The rows of marks that nobody took back."""
    undone = rows.filter(rows["undone"])
    if not len(undone):
        return rows
    gone = set(zip(undone["mark"].to_pylist(), undone["trial_id"].to_pylist(), strict=True))
    pairs = zip(rows["mark"].to_pylist(), rows["trial_id"].to_pylist(), strict=True)
    return rows.filter(pa.array([pair not in gone for pair in pairs], pa.bool_()))


@dataclass(frozen=True)
class Invalid:
    """The trials that are marked as invalid.

    Attributes:
        until: trial_id → for each `source`, the latest `finished_at` of the rows that the mark is of; None:
            they had none. The source None stands for all of them, and "" for rows without one.
    """

    until: Mapping[str, Mapping[str | None, datetime | None]]

    def holds(self, row: Row) -> bool:
        """Whether a row of `trials` is one that a mark is of."""
        finished = row["finished_at"]
        return any(
            source in (None, row["source"] or "")
            and (finished is None or (until is not None and finished <= until))
            for source, until in self.until.get(row["trial_id"], {}).items()
        )


def invalid(folder: Place) -> Invalid:
    """The trials of a study that are marked as invalid."""
    rows = live(read(folder / "marks", parts.PART))
    marked = rows.filter(pc.equal(rows["tag"], INVALID)).select(("trial_id", "source", "until")).to_pylist()
    until: dict[str, dict[str | None, datetime | None]] = {}
    for row in marked:
        latest = until.setdefault(row["trial_id"], {})
        times = [time for time in (row["until"], latest.get(row["source"])) if time is not None]
        latest[row["source"]] = max(times, default=None)
    return Invalid(until)


def tags(folder: Place) -> defaultdict[str, list[str]]:
    """trial_id → its tags, for the trials of a study."""
    by_trial: defaultdict[str, list[str]] = defaultdict(list)
    for row in live(read(folder / "marks", parts.PART)).to_pylist():
        if row["tag"] not in (INVALID, *by_trial[row["trial_id"]]):
            by_trial[row["trial_id"]].append(row["tag"])
    return by_trial


def valid(folder: Place, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of a study's trials that are not marked as invalid.

    Args:
        rows: with `trial_id`, `source` and `finished_at`.
    """
    marked = invalid(folder)
    return (row for row in rows if not marked.holds(row))
