"""Results on disk: Parquet parts that are whole or absent, one writer at a time, a provenance file.

RESULTS/STUDY/{trials,curves,layers}/part-*.parquet
RESULTS/STUDY/study.json
"""

import json
import os
import queue
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from sweep.errors import BadInput

Row = Mapping[str, Any]

_text, _real, _whole, _flag = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_time = pa.timestamp("us", tz="UTC")
SCHEMAS: dict[str, pa.Schema] = {
    # Written in this order: a trial is there once its row of `trials` is, and then the others are too.
    "curves": pa.schema(
        {
            "trial_id": _text,
            "phase": _text,
            "epoch": _real,
            "kept": _whole,
            "train_loss": _real,
            "val_loss": _real,
            "val_accuracy": _real,
            "test_loss": _real,
            "test_accuracy": _real,
            "lr": _real,
            "seconds": _real,
        }
    ),
    "layers": pa.schema(
        {
            "trial_id": _text,
            "layer": _whole,
            "name": _text,
            "shape": pa.list_(_whole),
            "params": _whole,
            "kept": _whole,
            "density": _real,
            "effective_density": _real,
            "score_mean": _real,
            "pq_index": _real,
        }
    ),
    "trials": pa.schema(
        {
            # identity
            "trial_id": _text,
            "study": _text,
            "protocol": _whole,
            "config": _text,
            "dataset": _text,
            "model": _text,
            "criterion": _text,
            "scope": _text,
            "sparsity": _real,
            "iterations": _whole,
            "schedule": _text,
            "prune_epoch": _real,
            "epochs": _whole,
            "steps": _whole,
            "structure": _text,
            "retrain": _text,
            "rewind_epoch": _real,
            "ablation": _text,
            "seed": _whole,
            # outcome
            "status": _text,
            "error": _text,
            "pre_train_loss": _real,
            "pre_test_loss": _real,
            "pre_test_accuracy": _real,
            "train_loss": _real,
            "val_loss": _real,
            "val_accuracy": _real,
            "test_loss": _real,
            "test_accuracy": _real,
            "best_val_accuracy": _real,
            "test_accuracy_at_best_val": _real,
            "test_accuracy_selected_on_test": _real,
            "diverged": _flag,
            # network
            "params": _whole,
            "kept": _whole,
            "density": _real,
            "effective_density": _real,
            "collapsed_layers": _whole,
            "min_layer_density": _real,
            "macs_dense": _whole,
            "macs_masked": _whole,
            "mean_active_params": _real,
            # cost
            "score_seconds": _real,
            "train_seconds": _real,
            "evaluate_seconds": _real,
            "wall_seconds": _real,
            "device": _text,
            "node": _text,
            "pack": _whole,
            # when
            "started_at": _time,
            "finished_at": _time,
        }
    ),
}
# What makes two rows the same.
KEYS = {
    "trials": ("trial_id",),
    "curves": ("trial_id", "phase", "epoch"),
    "layers": ("trial_id", "layer"),
}
# More parts than this are merged into one when a launch begins or ends.
_MANY_PARTS = 8


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a study's results for writing. The system lets go when the process ends, however it ends.

    Raises:
        BadInput: another launch holds them, or the folder cannot be written.
    """
    # The holder's name is kept apart from the locked file, which must not be replaced while it is locked.
    held, holder = FileLock(folder / ".lock", blocking=False), folder / ".lock.pid"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire()
        holder.write_text(f"process {os.getpid()} on {os.uname().nodename}")
    except Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise BadInput(f"{folder} is being written by {who}: wait for it, or stop it first") from None
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror}: choose another --results") from None
    try:
        yield
    finally:
        held.release()


def finished(folder: Path) -> dict[str, Row]:
    """trial_id → what is known of every trial with a result: a success before a failure, then the latest."""
    columns = ("trial_id", "status", "criterion", "scope", "sparsity", "val_accuracy", "finished_at")
    rows = _read_all(folder, "trials", pa.schema([SCHEMAS["trials"].field(column) for column in columns]))
    return {row["trial_id"]: row for row in sorted(rows.to_pylist(), key=_precedence)}


def compact(folder: Path) -> None:
    """Merge many parts of a table into one, each row once.

    Nobody else may be writing. A reader that listed the parts before may miss one of them and look again.
    """
    for table, schema in SCHEMAS.items():
        for unfinished in (folder / table).glob(".part-*"):
            unfinished.unlink()
        parts = _parts(folder, table)
        if len(parts) <= _MANY_PARTS:
            continue
        rows = _read_all(folder, table, schema).to_pylist()
        if table == "trials":
            rows.sort(key=_precedence)
        merged = {tuple(row[column] for column in KEYS[table]): row for row in rows}
        _write(folder, table, pa.Table.from_pylist(list(merged.values()), schema=schema))
        for part in parts:
            part.unlink()


def _precedence(row: Row) -> tuple[bool, bool, Any]:
    """Of two results of a trial, the one that sorts later counts."""
    return row["status"] == "ok", row["finished_at"] is not None, row["finished_at"]


class Writer:
    """Writes finished trials to Parquet from a thread of its own, in order, without being waited for.

    Whatever has arrived while a part was being written goes into the next part. So a trial is on disk within
    milliseconds when few finish, and parts grow by themselves when many do.
    """

    def __init__(self, folder: Path, study: str) -> None:
        self.folder, self.study = folder, study
        self.error: BaseException | None = None
        self._queue: queue.SimpleQueue[tuple[Row, Sequence[Row], Sequence[Row]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="results", daemon=True)
        self._thread.start()

    def add(self, trial: Row, curves: Sequence[Row], layers: Sequence[Row]) -> None:
        """Hand over one trial's rows."""
        self._queue.put(({**trial, "study": self.study}, curves, layers))

    def close(self) -> None:
        """Wait until everything is on disk.

        Raises:
            BadInput: the disk refused something; what had been written before is kept.
        """
        self._queue.put(None)
        self._thread.join()
        if isinstance(self.error, OSError):
            raise BadInput(
                f"{self.folder}: {self.error.strerror or self.error}: results can no longer be written; "
                "make room and launch again, what is there is kept"
            ) from None
        if self.error:
            raise self.error

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            arrived = [first]
            last = False
            while not self._queue.empty() and not last:
                if (more := self._queue.get()) is None:
                    last = True
                else:
                    arrived.append(more)
            started = time.perf_counter()
            try:
                write(self.folder, *zip(*arrived, strict=True))
            except BaseException as error:  # told by close()
                self.error = error
                return
            if last:
                return
            # At most a tenth of the time goes into writing, at most a second's worth of rows waits.
            time.sleep(min(1.0, 9 * (time.perf_counter() - started)))


def write(
    folder: Path, trials: Iterable[Row], curves: Iterable[Sequence[Row]], layers: Iterable[Sequence[Row]]
) -> None:
    """Write one part of each table, `trials` last."""
    rows: dict[str, Sequence[Row]] = {
        "curves": [row for rows in curves for row in rows],
        "layers": [row for rows in layers for row in rows],
        "trials": list(trials),
    }
    for table, schema in SCHEMAS.items():
        if rows[table]:
            _write(folder, table, pa.Table.from_pylist(rows[table], schema=schema))


def note_launch(folder: Path, study: str, spec: str, launch: Row) -> None:
    """Put the study's text and an entry about this launch into study.json."""
    path = folder / "study.json"
    try:
        earlier = json.loads(path.read_text())["launches"] if path.exists() else []
    except (ValueError, KeyError, TypeError, OSError):
        raise BadInput(f"{path}: damaged: move it away and launch again") from None
    text = json.dumps({"study": study, "spec": spec, "launches": [*earlier, launch]}, indent=2)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_text(text + "\n")
    temporary.replace(path)


def _parts(folder: Path, table: str) -> list[Path]:
    return sorted((folder / table).glob("part-*.parquet"))


def _read_all(folder: Path, table: str, schema: pa.Schema) -> pa.Table:
    """All rows of a table; looks again if a launch that just began or ended has merged parts meanwhile."""
    for attempts_left in (2, 1, 0):
        try:
            return pa.concat_tables(
                [schema.empty_table(), *(_read(p, schema) for p in _parts(folder, table))]
            )
        except FileNotFoundError:
            if not attempts_left:
                raise
    raise AssertionError


def _read(part: Path, schema: pa.Schema) -> pa.Table:
    try:
        return pq.read_table(part, schema=schema, partitioning=None)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"{part}: not a part of these results ({str(error).splitlines()[0]}): move it away, launch again"
        ) from None


def _write(folder: Path, table: str, rows: pa.Table) -> None:
    """A part appears under its name only once it is complete and on the disk itself."""
    (folder / table).mkdir(parents=True, exist_ok=True)
    name = f"part-{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
    temporary = folder / table / f".{name}"
    with temporary.open("wb") as file:
        pq.write_table(rows, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / table / name)
