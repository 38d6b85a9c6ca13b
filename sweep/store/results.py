"""Results in a folder or an object store: Parquet parts that are whole or absent, and a provenance file.

RESULTS/STUDY/{trials,curves,layers}/part-*.parquet
RESULTS/STUDY/study.json
"""

import errno
import fcntl
import json
import os
import tempfile
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from sweep.errors import BadInput
from sweep.store import lease, parts
from sweep.store.places import Place, Remote, looks, put, read_all, remove_all, small
from sweep.store.schema import KEYS, SCHEMAS

Row = Mapping[str, Any]
# Where some rows of a table are, and the rows.
Part = tuple[Place, pa.Table]

# More parts than this are merged into one when a launch begins or ends.
_MANY_PARTS = 8
# Bytes of rows below which a part is mostly what describes its columns.
_LITTLE = 20_000
# Rows that a reader's thread takes at once: DuckDB's own number.
_GROUP = 122_880
# What a search has to know of a trial.
_MEASURED = (
    *("config", "dataset", "model", "epochs", "steps", "sparsity", "val_accuracy", "test_accuracy"),
    *("density", "macs_masked", "collapsed_layers"),
)


@contextmanager
def lock(folder: Place) -> Iterator[None]:
    """Hold a study's results for writing. The system lets go when the process ends, however it ends.

    Raises:
        BadInput: another launch holds them, or the folder cannot be written.
    """
    if isinstance(folder, Remote):
        with lease.hold(folder):
            yield
        return
    # The holder's name is kept apart from the locked file, which must not be replaced while it is locked.
    held: BaseFileLock
    holder, remove = folder / ".lock.pid", ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if _has_flock(folder):
            held = FileLock(folder / ".lock", blocking=False)
        else:
            held = SoftFileLock(folder / ".lock.held", blocking=False)
            remove = f"; if it has ended, remove {folder / '.lock.held'}"
        held.acquire()
        who = f"process {os.getpid()} on {os.uname().nodename}"
        put(holder, lambda file: file.write(who.encode()), sync=False)
    except Timeout:
        who = (small(holder, 200) or b"another process").decode(errors="replace")
        raise BadInput(f"{folder} is being written by {who}: wait for it, or stop it first{remove}") from None
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror}: choose another --results") from None
    try:
        yield
    finally:
        held.release()


def _has_flock(folder: Path) -> bool:
    """Whether the system lets go of locks on files there: some network drives do not know them."""
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
                return False
            raise
    return True


def measured(root: Place) -> dict[str, Row]:
    """trial_id → what a search has to know of every trial with a result, of all studies of a folder."""
    return _each(_folders(root), _MEASURED)


def stopped(folder: Place) -> dict[str, Row]:
    """The same of trials that were stopped early: they have no result, and are run if one is asked for."""
    return _each([folder], _MEASURED, stopped=True)


def retraining(root: Place, trials: Collection[str]) -> dict[str, list[float]]:
    """trial_id → validation accuracies after each epoch of retraining, of these trials."""
    columns = ("trial_id", "phase", "epoch", "val_accuracy")
    wanted = pa.array(list(trials), pa.string())
    found: dict[str, dict[float, float]] = {}
    for folder in _folders(root):
        rows = _read_all(folder, "curves", columns).filter(
            (pc.field("phase") == "retrain") & pc.field("trial_id").isin(wanted)
        )
        for row in rows.to_pylist():
            found.setdefault(row["trial_id"], {})[row["epoch"]] = row["val_accuracy"]
    return {name: [accuracy for _, accuracy in sorted(curve.items())] for name, curve in found.items()}


def _folders(root: Place) -> list[Any]:
    return sorted(root.iterdir(), key=str)


def costs(folder: Place) -> list[Row]:
    """What trials with a result have cost: rows of the columns that say so."""
    return _trials(folder, ("config", "model", "device", "macs_dense", "trained_steps", "train_seconds"))


def finished(folder: Place) -> dict[str, Row]:
    """trial_id → what is known of every trial with a result: a success before a failure, then the latest."""
    return _each([folder], ("criterion", "scope", "sparsity", "val_accuracy"))


def _each(folders: Iterable[Place], columns: Sequence[str], *, stopped: bool = False) -> dict[str, Row]:
    """trial_id → the row that counts of every trial with a result, or of those that were stopped early."""
    named = ("trial_id", "status", "finished_at", *columns)
    rows = [row for folder in folders for row in _trials(folder, named)]
    last = {row["trial_id"]: row for row in sorted(rows, key=_precedence)}
    return {name: row for name, row in last.items() if (row["status"] == "stopped") == stopped}


def _trials(folder: Place, columns: Sequence[str]) -> list[Row]:
    """Some columns of all rows that are of a trial."""
    every = dict.fromkeys((*columns, *parts.REQUIRED["trials"], "arm", "seed", "sparsity"))
    rows = _read_all(folder, "trials", tuple(every))
    sound = rows.filter(parts.are_trials(rows)).select(columns)
    if len(sound) < len(rows):
        parts.leave_rows_aside(folder, len(rows) - len(sound))
    found: list[Row] = sound.to_pylist()
    return found


def compact(folder: Place) -> None:
    """Merge many parts of a table into one, each row once; or leave them, if there is no room for that.

    Nobody else may be writing. A reader that listed the parts before may miss one of them and look again.
    """
    for table, schema in SCHEMAS.items():
        for unfinished in (folder / table).glob(".part-*"):
            unfinished.unlink()
        found = _parts(folder, table)
        if len(found) <= _MANY_PARTS:
            continue
        read = zip(found, _read(found, table, schema.names), strict=True)
        whole = {part: rows for part, rows in read if rows is not None}
        if len(whole) <= _MANY_PARTS:
            continue
        rows = pa.concat_tables(whole.values())
        # Of their columns only those that say which row is meant become Python's: there may be millions.
        says = (*KEYS[table], *(("status", "finished_at") if table == "trials" else ()))
        numbered = list(enumerate(rows.select(says).to_pylist()))
        if table == "trials":
            numbered.sort(key=lambda row: _precedence(row[1]))
        last = {tuple(row[column] for column in KEYS[table]): place for place, row in numbered}
        try:
            write_part(folder, table, rows.take(list(last.values())))
        except OSError:
            return
        remove_all(whole)


def _precedence(row: Row) -> tuple[bool, bool, bool, Any]:
    """Of two results of a trial, the one that sorts later counts."""
    status, when = row["status"], row["finished_at"]
    return status == "ok", status != "stopped", when is not None, when


def write(
    folder: Place, trials: Iterable[Row], curves: Iterable[Sequence[Row]], layers: Iterable[Sequence[Row]]
) -> dict[str, Part]:
    """Write one part of each table, `trials` last; what was written of each."""
    rows: dict[str, Sequence[Row]] = {
        "curves": [row for rows in curves for row in rows],
        "layers": [row for rows in layers for row in rows],
        "trials": list(trials),
    }
    return {
        table: write_part(folder, table, pa.Table.from_pylist(rows[table], schema=schema))
        for table, schema in SCHEMAS.items()
        if rows[table]
    }


def note_launch(folder: Place, study: str, spec: str, launch: Row) -> None:
    """Put the study's text and an entry about this launch into study.json."""
    path = folder / "study.json"
    try:
        earlier = list(json.loads(small(path) or "")["launches"]) if path.exists() else []
    except BadInput:
        raise
    except (ValueError, LookupError, TypeError, RecursionError, OSError):
        raise BadInput(f"{path}: damaged: move it away and launch again") from None
    text = json.dumps({"study": study, "spec": spec, "launches": [*earlier, launch]}, indent=2)
    try:
        put(path, lambda file: file.write(text.encode() + b"\n"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}: {remedy(path)} and launch again") from None


def remedy(place: Place) -> str:
    """What a person can do about a place that refuses to be written."""
    return "see to the store" if isinstance(place, Remote) else "make room"


def _parts(folder: Place, table: str) -> list[Any]:
    return parts.found(folder / table, "part-*.parquet")


def _read_all(folder: Place, table: str, columns: Sequence[str]) -> pa.Table:
    """All rows of a table; looks again if a launch that just began or ended has merged parts meanwhile."""
    for last in looks():
        try:
            found = _read(_parts(folder, table), table, columns)
            none = SCHEMAS[table].empty_table().select(columns)
            return pa.concat_tables([none, *(rows for rows in found if rows is not None)])
        except FileNotFoundError:
            if last:
                raise
    raise AssertionError("unreachable")


def _read(found: Sequence[Place], table: str, columns: Sequence[str]) -> Iterator[pa.Table | None]:
    """The rows of parts; None, with one line on stderr, of one that is damaged or not one of ours."""
    remote = read_all([part for part in found if isinstance(part, Remote)])
    for part in found:
        content = part if isinstance(part, Path) else next(remote)
        if isinstance(content, OSError):
            raise content
        try:
            yield parts.rows(content, table, columns)
        except parts.Foreign as why:
            parts.leave_aside(part, str(why))
            yield None


def write_part(folder: Place, table: str, rows: pa.Table) -> Part:
    """Write rows of a table as one part."""
    name = f"part-{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
    put(folder / table / name, lambda file: encode(rows, file, table))
    return folder / table / name, rows


def encode(rows: pa.Table, file: Any, table: str) -> None:
    """Write rows as Parquet: few of them as quickly as can be, many so that they are read quickly."""
    if rows.nbytes < _LITTLE:
        plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        pq.write_table(rows, file, store_schema=False, **plain)
        return
    # Names repeat, and thousands of arms are some megabytes of text. Numbers that were measured do not.
    unique = {"config", *(KEYS[table] if table == "trials" else ())}
    repeat = [field.name for field in rows.schema if field.type == pa.string() and field.name not in unique]
    pq.write_table(
        *(rows, file, _GROUP),
        compression="zstd",
        use_dictionary=repeat,
        dictionary_pagesize_limit=2**24,
    )
