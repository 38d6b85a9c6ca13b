"""Results in a folder or an object store: Parquet parts, each written atomically, and a provenance file.

RESULTS/STUDY/{trials,curves,layers,metrics,masks}/part-*.parquet
RESULTS/STUDY/weights/TRIAL_ID.safetensors
RESULTS/STUDY/marks/part-*.parquet
RESULTS/STUDY/study.json
"""

import errno
import fcntl
import os
import random
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweep.errors import BadInput, StoreError
from sweep.store import lease, marks, parts
from sweep.store.lease import Busy as Busy
from sweep.store.lease import LaunchPart as LaunchPart
from sweep.store.places import Place, Remote, attempts, put
from sweep.store.schema import IDENTITIES, LARGE, SCHEMAS

Row = Mapping[str, Any]
# A part of a table: its place, and its rows.
Part = tuple[Place, pa.Table]

# Errors of file systems without locks.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
# Seconds that a part waits until what earlier parts have written is merged.
_PATIENCE = 300.0
# Bytes of rows below which the description of the columns takes most of a part.
_LITTLE = 20_000
# Rows in a row group, the unit that one of a reader's threads decodes: DuckDB's default. And the bytes of a
# row group of large rows.
_GROUP, _GROUP_BYTES = 122_880, 2**25
# Columns that a search needs.
_MEASURED = (
    "config",
    "dataset",
    "model",
    "epochs",
    "steps",
    "sparsity",
    "val_accuracy",
    "test_accuracy",
    "density",
    "macs_masked",
    "collapsed_layers",
)
# Columns that the display of a running study needs.
SHOWN = ("criterion", "scope", "sparsity", "val_accuracy")


@contextmanager
def lock(folder: Place, part: LaunchPart | None = None, *, merges: bool = False) -> Iterator[None]:
    """Hold a study's results for writing, alone or beside the other parts of a launch.

    The system releases the lock when the process ends in any way. A part waits until what earlier parts have
    written is merged.

    Args:
        part: of a launch, which writes the results; None: nobody else may write.
        merges: only to merge what parts have written.

    Raises:
        Busy: another launch holds them.
        BadInput: the folder cannot be written.
        StoreError: the store does not answer.
    """
    deadline = time.monotonic() + _PATIENCE
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(_lock(folder, part, merges))
                break
            except Busy as busy:
                patient = (part or merges) and busy.brief
                if not patient or time.monotonic() > deadline:
                    raise
            except StoreError:
                raise
            except OSError as error:
                raise BadInput(f"{folder}: {error.strerror}: choose another --results") from None
            time.sleep(random.uniform(0.1, 0.5))
        yield


@contextmanager
def _lock(folder: Place, part: LaunchPart | None, merges: bool) -> Iterator[None]:
    """Hold results at once: by a lock of the system, where a folder has such locks, and by a lease.

    A lock is released in the instant in which its process dies. On some network drives another machine does
    not see it: the lease is what it sees.
    """
    with ExitStack() as held:
        if isinstance(folder, Path):
            folder.mkdir(parents=True, exist_ok=True)
            # Not through a link: whoever can write to the folder could name any file.
            file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            held.callback(os.close, file)
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if part else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                lease.give_way(folder, part)  # says who it is
                raise Busy(folder, "another process", brief=True) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
        held.enter_context(lease.hold(folder, part, merges=merges))
        yield


def measured(root: Place) -> dict[str, Row]:
    """trial_id → the columns that a search needs, of every trial with a result in all studies of a folder."""
    return _by_trial(folders(root), _MEASURED)


def stopped(folder: Place) -> dict[str, Row]:
    """trial_id → the columns that a search needs, of every trial that was stopped early.

    A stopped trial has no result: a study that has the trial runs it.
    """
    return _by_trial([folder], _MEASURED, stopped=True)


def retraining(root: Place, trials: Collection[str]) -> dict[str, list[float]]:
    """trial_id → validation accuracy after each epoch of retraining, for the given trials."""
    columns = ("trial_id", "phase", "epoch", "val_accuracy")
    wanted = pa.array(list(trials), pa.string())
    curves: dict[str, dict[float, float]] = {}
    for folder in folders(root):
        rows = read_table(folder, "curves", columns).filter(
            (pc.field("phase") == "retrain") & pc.field("trial_id").isin(wanted)
        )
        for row in rows.to_pylist():
            curves.setdefault(row["trial_id"], {})[row["epoch"]] = row["val_accuracy"]
    return {name: [accuracy for _, accuracy in sorted(curve.items())] for name, curve in curves.items()}


def folders(root: Place) -> list[Any]:
    """What lies under a folder of results, sorted by name: the folder of each study, and other things."""
    return sorted(root.iterdir(), key=str)


def costs(folder: Place) -> list[Row]:
    """Rows of the columns that an estimate of time and money needs, of all trials."""
    return _trials(folder, ("config", "model", "device", "macs_dense", "trained_steps", "train_seconds"))


def finished(folder: Place, columns: Sequence[str] = SHOWN) -> dict[str, Row]:
    """trial_id → some columns of every trial with a result: of several rows a success, then the latest."""
    return _by_trial([folder], columns)


def _by_trial(folders: Iterable[Place], columns: Sequence[str], *, stopped: bool = False) -> dict[str, Row]:
    """trial_id → the row that counts, of every trial with a result, or of every trial stopped early."""
    needed = tuple(dict.fromkeys(("trial_id", "source", "status", "finished_at", *columns)))
    rows = [row for folder in folders for row in marks.valid(folder, _trials(folder, needed))]
    last = {row["trial_id"]: row for row in sorted(rows, key=precedence)}
    return {name: row for name, row in last.items() if (row["status"] == "stopped") == stopped}


def _trials(folder: Place, columns: Sequence[str]) -> list[Row]:
    trials: list[Row] = described(folder, columns).to_pylist()
    return trials


def described(folder: Place, columns: Sequence[str]) -> pa.Table:
    """Some columns of all rows that describe a trial."""
    rows = read_table(folder, "trials", _telling(*columns))
    sound = rows.filter(parts.are_trials(rows)).select(columns)
    if len(sound) < len(rows):
        parts.leave_rows_aside(folder, len(rows) - len(sound))
    return sound


def configs(folder: Place) -> pa.ChunkedArray:
    """The canonical config of every row that describes a trial."""
    rows = read_table(folder, "trials", _telling())
    return rows.filter(parts.are_trials(rows))["config"]


def _telling(*columns: str) -> tuple[str, ...]:
    """Some columns, and those that tell whether a row describes a trial."""
    return tuple(dict.fromkeys((*columns, *parts.REQUIRED["trials"], "arm", "seed", "sparsity")))


def precedence(row: Row) -> tuple[bool, bool, bool, Any]:
    """A sort key: of several rows of a trial, the last in this order counts."""
    status, when = row["status"], row["finished_at"]
    return status == "ok", status != "stopped", when is not None, when


def write(
    folder: Place,
    trials: Iterable[Row],
    curves: Iterable[Sequence[Row]],
    layers: Iterable[Sequence[Row]],
    metrics: Iterable[Sequence[Row]] = (),
    masks: Iterable[Sequence[Row]] = (),
) -> dict[str, Part]:
    """Write one part of each table, `trials` last.

    Args:
        trials: the row of each trial in `trials`.
        curves: the rows of each trial in `curves`.
        layers: the rows of each trial in `layers`.
        metrics: the rows of each trial in `metrics`.
        masks: the rows of each trial in `masks`.

    Returns:
        Table → the part written, for tables with rows.
    """
    rows: dict[str, Sequence[Row]] = {
        "curves": [row for rows in curves for row in rows],
        "layers": [row for rows in layers for row in rows],
        "metrics": [row for rows in metrics for row in rows],
        "masks": [row for rows in masks for row in rows],
        "trials": list(trials),
    }
    return {
        table: write_part(folder, table, pa.Table.from_pylist(rows[table], schema=schema))
        for table, schema in SCHEMAS.items()
        if rows[table]
    }


def read_table(folder: Place, table: str, columns: Sequence[str], only: pa.Array | None = None) -> pa.Table:
    """All rows of a table of a study.

    Args:
        only: ids of the trials whose rows to return; None: of all trials.
    """
    return parts.read_all(folder / table, parts.PART, table, columns, only)


def trials_in(folder: Place, table: str) -> set[str]:
    """The ids of the trials that have rows in a table of a study. Reads no other column."""
    found: set[str] = set()
    for last in attempts():
        try:
            for part in parts.list_parts(folder / table):
                found |= _trials_of(part, table)
            return found
        except FileNotFoundError:
            if last:
                raise
    raise AssertionError("unreachable")


def _trials_of(part: Place, table: str) -> set[str]:
    try:
        return parts.trials_in(part.open_in_place() if isinstance(part, Remote) else part, table)
    except parts.NotAPart as why:
        parts.leave_aside(part, str(why))
        return set()


def read_by_part(folder: Place, table: str, only: pa.Array) -> Iterator[pa.Table]:
    """The rows that some trials have in a table, one part after another: all of them may not fit in memory.

    If a launch merges parts meanwhile, some rows come twice.

    Args:
        only: ids of the trials.
    """
    wanted = set(only.to_pylist())
    for last in attempts() if wanted else ():
        try:
            for part in parts.list_parts(folder / table):
                if wanted & _trials_of(part, table):
                    for rows in parts.read_each([part], table, SCHEMAS[table].names, only):
                        if rows is not None:
                            yield rows
            return
        except FileNotFoundError:
            if last:
                raise


def write_part(folder: Place, table: str, rows: pa.Table, name: str = "") -> Part:
    """Write rows of a table as one part.

    Args:
        name: of the part; "": one that says when it was written, and sorts so.
    """
    name = name or f"part-{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
    put(folder / table / name, lambda file: encode(rows, file, table))
    return folder / table / name, rows


def encode(rows: pa.Table, file: Any, table: str) -> None:
    """Write rows as Parquet: few rows so that writing is fast, many rows so that reading is fast."""
    if rows.nbytes < _LITTLE:
        plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        pq.write_table(rows, file, store_schema=False, **plain)
        return
    group = max(1, min(_GROUP, _GROUP_BYTES * len(rows) // rows.nbytes)) if table in LARGE else _GROUP
    # Names repeat, and thousands of arms are megabytes of text; measured numbers do not repeat.
    unique = {"config", *(IDENTITIES[table] if table == "trials" else ())}
    repeat = [field.name for field in rows.schema if field.type == pa.string() and field.name not in unique]
    pq.write_table(
        rows,
        file,
        group,
        compression="zstd",
        use_dictionary=repeat,
        dictionary_pagesize_limit=2**24,
    )
