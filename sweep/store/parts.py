"""Parts, the Parquet files of results: which files count as parts, and how their rows are read.

People rewrite results with other programs. pandas turns whole numbers with gaps into reals, and text into
another encoding of text; other tools write single precision or categories. Launches and analyses both use
this module, so that both count the same trials.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweep.store.columns import NotAPart as NotAPart
from sweep.store.columns import alike, converted, reason
from sweep.store.places import Place, attempts, is_plain, readable_all
from sweep.store.schema import IDENTITIES, LARGE, STORED

# Pattern for the names of parts, in the folder of their table.
PART = "part-*.parquet"
# Columns that a part must have.
REQUIRED: dict[str, Sequence[str]] = {
    **IDENTITIES,
    "trials": ("trial_id", "status", "config"),
    "marks": ("mark", "trial_id", "undone"),
}
# What a row of each table describes.
_SUBJECTS = {
    "trials": "trial",
    "curves": "epoch",
    "layers": "layer",
    "metrics": "metric",
    "masks": "mask",
    "marks": "mark",
}
# Fields that every config has, with text as value.
_TEXT_FIELDS = ("dataset", "model", "criterion")
# Rows that are decoded at a time, at most, and their bytes in tables with large rows.
_BATCH, _BATCH_BYTES = 65_536, 2**26


def are_of_one_study(folder: Place) -> bool:
    """Whether a folder holds the results of one study, and not a folder for each of several studies."""
    # A folder `trials` may also be that of a study with this name.
    return (folder / "study.json").exists() or bool([*(folder / "trials").glob(PART)])


def pattern(table: str, one_study: bool) -> str:
    """The pattern for the parts of a table, under the folder of one study or the folder of several."""
    return f"{table}/{PART}" if one_study else f"*/{table}/{PART}"


def list_parts(folder: Place, pattern: str = PART) -> list[Any]:
    """The parts under a folder, sorted by name.

    A name that matches but is no plain file (see `places.is_plain`) is left aside, with a line on stderr.
    """
    every: list[Any] = sorted(folder.glob(pattern), key=lambda part: (part.name, str(part)))
    plain = [part for part in every if is_plain(part)]
    for part in every if len(plain) < len(every) else ():
        # A part that no longer exists was merged after it was listed.
        if part not in plain and os.path.lexists(part):
            leave_aside(part, "no plain file")
    return plain


def fits(part: Path | bytes, table: str) -> bool:
    """Whether the columns of a part have the types of the table, or types that DuckDB reads as the same.

    Reads only the end of the file; `read_rows` finds out whether its pages can be read.

    Raises:
        NotAPart: the file is no part of this table.
        FileNotFoundError: the file does not exist.
    """
    try:
        schema = pq.read_schema(_file(part))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise NotAPart(reason(error)) from None
    _check_columns(schema, table)
    ours = STORED[table]
    return all(
        alike(schema.field(name).type, ours.field(name).type) for name in ours.names if name in schema.names
    )


def may_have(part: Path | bytes | pa.NativeFile, trials: pa.Array) -> bool:
    """Whether a part of `trials` names a success of some trials. Reads two columns, not the whole file.

    Args:
        trials: ids of trials.

    Raises:
        NotAPart: the file is no part of `trials`, or one of the two columns is damaged.
        FileNotFoundError: the file does not exist.
    """
    ours = [STORED["trials"].field(name) for name in ("trial_id", "status")]
    with _opened(part, "trials") as file:
        for batch in file.iter_batches(_BATCH, columns=[field.name for field in ours]):
            names, statuses = (converted(batch[field.name], field, len(batch)) for field in ours)
            if pc.any(pc.and_kleene(pc.is_in(names, trials), pc.equal(statuses, "ok"))).as_py():
                return True
    return False


def trials_in(part: Path | bytes | pa.NativeFile, table: str) -> set[str]:
    """The ids of the trials that a part has rows of. Reads one column, not the whole file.

    Raises:
        NotAPart: the file is no part of this table, or the column is damaged.
        FileNotFoundError: the file does not exist.
    """
    ours, found = STORED[table].field("trial_id"), set()
    with _opened(part, table) as file:
        for batch in file.iter_batches(_BATCH, columns=[ours.name]):
            found |= set(pc.unique(converted(batch[ours.name], ours, len(batch))).to_pylist())
    return found - {None}


def nbytes(part: Path | pa.NativeFile, table: str) -> int:
    """The bytes of a part's rows before they are compressed. Reads the end of the file.

    Raises:
        NotAPart: the file is no part of this table.
        FileNotFoundError: the file does not exist.
    """
    with _opened(part, table) as file:
        return _nbytes(file)


def read_rows(
    part: Path | bytes, table: str, columns: Sequence[str] | None = None, only: pa.Array | None = None
) -> pa.Table:
    """The rows of a part, converted to the types of the table; NULL in columns that the part lacks.

    Every page is read, also of columns that are not returned: either all rows of a part count or none.

    Args:
        part: a file, or the content of one.
        columns: columns of the table to return; None for all of them, and the further columns of the part.
        only: ids of the trials whose rows to return; None: of all trials.

    Raises:
        NotAPart: the file is no part of this table, a page is damaged, or a value does not fit its column.
        FileNotFoundError: the file does not exist.
    """
    ours = STORED[table]
    read: list[pa.Table] = []
    with _opened(part, table) as file:
        for batch in file.iter_batches(_at_a_time(file, table)):
            content = {name: batch[name] for name in file.schema_arrow.names}
            for field in ours:
                content[field.name] = converted(content.get(field.name), field, len(batch))
            rows = pa.table({name: content[name] for name in (content if columns is None else columns)})
            read.append(rows if only is None else rows.filter(pc.is_in(content["trial_id"], only)))
    empty = ours.empty_table() if columns is None else ours.empty_table().select(columns)
    return pa.concat_tables([empty, *read], promote_options="default")


def read_all(
    folder: Place, pattern: str, table: str, columns: Sequence[str], only: pa.Array | None = None
) -> pa.Table:
    """All rows of the parts under a folder; tries again if a launch merged parts meanwhile.

    Args:
        pattern: of the parts' names within the folder.
        only: ids of the trials whose rows to return; None: of all trials.
    """
    for last in attempts():
        try:
            read = read_each(list_parts(folder, pattern), table, columns, only)
            none = STORED[table].empty_table().select(columns)
            return pa.concat_tables([none, *(rows for rows in read if rows is not None)])
        except FileNotFoundError:
            if last:
                raise
    raise AssertionError("unreachable")


def read_each(
    listed: Sequence[Place], table: str, columns: Sequence[str], only: pa.Array | None = None
) -> Iterator[pa.Table | None]:
    """The rows of each part; None, with a line on stderr, for a file that is damaged or no part."""
    for part, content in zip(listed, readable_all(listed), strict=True):
        if isinstance(content, OSError):
            raise content
        try:
            yield read_rows(content, table, columns, only)
        except NotAPart as why:
            leave_aside(part, str(why))
            yield None


def config(text: str | None) -> dict[str, Any] | None:
    """The fields of a config or an arm from its JSON in a row; None if the text is no such JSON.

    The fields may be those of any version.
    """
    try:
        fields = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not all(isinstance(fields.get(name), str) for name in _TEXT_FIELDS):
        return None
    plain = all(value is None or isinstance(value, str | int | float) for value in fields.values())
    return fields if plain else None


def are_trials(rows: pa.Table) -> pa.Array:
    """For each row of `trials`, whether it describes a trial; other programs may have written rows too.

    `sweep.store.sound.SOUND` is the same condition in SQL, except for the arm.

    Args:
        rows: with the required columns, `sparsity`, `seed` and `arm`.
    """
    sparsity = rows["sparsity"]
    within = pc.and_kleene(pc.greater_equal(sparsity, 0.0), pc.less(sparsity, 1.0))
    present = [pc.is_valid(rows[name]) for name in (*REQUIRED["trials"], "seed")]
    # Rows from before there was the column `arm` have their config instead.
    arm = pc.coalesce(rows["arm"], rows["config"])
    valid = pa.array([text for text in pc.unique(arm).to_pylist() if config(text)], pa.string())
    sound = pc.is_in(arm, value_set=valid)
    for flags in (*present, pc.fill_null(within, False)):
        sound = pc.and_(sound, flags)
    return sound


def leave_rows_aside(place: object, count: int, table: str = "trials") -> None:
    """Print once, on stderr, that rows are left aside, because they describe nothing of this table."""
    rows = "1 row" if count == 1 else f"{count:,} rows"
    _print_once(f"{place}: {rows} of no {_SUBJECTS[table]}: left aside")


def leave_aside(part: object, reason: str) -> None:
    """Print once, on stderr, that a file is left aside."""
    _print_once(f"{part}: not a part of these results ({reason}): left aside; move it away")


@cache
def _print_once(line: str) -> None:
    print(line, file=sys.stderr)


def _nbytes(file: pq.ParquetFile) -> int:
    return sum(int(file.metadata.row_group(n).total_byte_size) for n in range(file.num_row_groups))


def _at_a_time(file: pq.ParquetFile, table: str) -> int:
    """How many rows of a part are decoded at a time."""
    if table not in LARGE:
        return _BATCH
    within: int = _BATCH_BYTES * file.metadata.num_rows // max(1, _nbytes(file))
    return max(1, min(_BATCH, within))


@contextmanager
def _opened(part: Path | bytes | pa.NativeFile, table: str) -> Iterator[pq.ParquetFile]:
    """A part opened for reading; an error of Parquet in the block becomes `NotAPart`."""
    try:
        with pq.ParquetFile(_file(part)) as file:
            _check_columns(file.schema_arrow, table)
            yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise NotAPart(reason(error)) from None


def _file(part: Path | bytes | pa.NativeFile) -> Any:
    return pa.BufferReader(part) if isinstance(part, bytes) else part


def _check_columns(schema: pa.Schema, table: str) -> None:
    if missing := [name for name in REQUIRED[table] if name not in schema.names]:
        raise NotAPart(f"it has no column {missing[0]}")
    if twice := [name for name in schema.names if schema.names.count(name) > 1]:
        raise NotAPart(f"it has the column {twice[0]} twice")
