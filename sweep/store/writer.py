"""Results as they arrive: written in the background, in order, and kept where a store does not take them."""

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from sweep.errors import BadInput
from sweep.store.places import Place, Remote, cached, remove_all
from sweep.store.results import Part, Row, remedy, write, write_part
from sweep.store.schema import SCHEMAS

# So many parts of a table become one that are smaller than so many bytes: to open thousands takes seconds.
_MANY, _SMALL = 200, 100_000


class Writer:
    """Writes finished trials to Parquet from a thread of its own, in order, without being waited for.

    Whatever has arrived while a part was being written goes into the next part. So a trial is on disk within
    milliseconds when few finish, and parts grow by themselves when many do.
    """

    def __init__(self, folder: Place, study: str) -> None:
        self.folder, self.study = folder, study
        self.error: BaseException | None = None
        self._small: dict[str, list[Part]] = {table: [] for table in SCHEMAS}
        self._queue: queue.SimpleQueue[tuple[Row, Sequence[Row], Sequence[Row]] | None] = queue.SimpleQueue()
        self._unwritten: list[tuple[Row, Sequence[Row], Sequence[Row]]] = []
        # How many trials were handed over, are waited for, and are on disk.
        self._added = self._wanted = self._written = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="results", daemon=True)
        self._thread.start()

    def add(self, trial: Row, curves: Sequence[Row], layers: Sequence[Row]) -> None:
        """Hand over one trial's rows."""
        self._added += 1
        self._queue.put(({**trial, "study": self.study}, curves, layers))

    def flush(self) -> bool:
        """Wait until what was handed over is on disk; False if that can no longer be."""
        with self._changed:
            self._wanted = self._added
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.error or self._written >= self._wanted)
        return self.error is None

    def close(self) -> None:
        """Wait until everything is on disk.

        Raises:
            BadInput: the disk refused something; what had been written before is kept.
        """
        self._queue.put(None)
        self._thread.join()
        while not self._queue.empty():
            if (late := self._queue.get()) is not None:
                self._unwritten.append(late)
        if isinstance(self.error, OSError):
            kept = "what is there is kept"
            if isinstance(self.folder, Remote):
                write(_unsent(self.folder), *zip(*self._unwritten, strict=True))
                kept += f", and {len(self._unwritten)} more trials on this machine, to be sent then"
            raise BadInput(
                f"{self.folder}: {self.error.strerror or self.error}: results can no longer be written; "
                f"{remedy(self.folder)} and launch again, {kept}"
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
                written = write(self.folder, *zip(*arrived, strict=True))
            except BaseException as error:  # told by close()
                with self._changed:
                    self.error, self._unwritten = error, arrived
                    self._changed.notify_all()
                return
            with self._changed:
                self._written += len(arrived)
                self._changed.notify_all()
            if last:
                return
            self._merge(written)
            # At most a tenth of the time goes into writing, at most a second's worth of rows waits.
            pause = min(1.0, 9 * (time.perf_counter() - started))
            with self._changed:
                self._changed.wait_for(lambda: self._wanted > self._written, pause)

    def _merge(self, written: Mapping[str, Part]) -> None:
        """Make one part of the small ones, once there are many; the launch's end merges all that is left."""
        for table, part in written.items():
            if part[1].nbytes >= _SMALL:
                continue
            small = self._small[table]
            small.append(part)
            if len(small) < _MANY:
                continue
            with suppress(OSError, pa.ArrowException):  # then they stay as they are
                write_part(self.folder, table, pa.concat_tables(rows for _, rows in small))
                remove_all(place for place, _ in small)
            small.clear()


def _unsent(folder: Remote) -> Path:
    """Where results wait on this machine that a store did not take."""
    return cached("unsent", folder)


def send(folder: Place) -> None:
    """Bring to a store what an earlier launch on this machine could not."""
    if isinstance(folder, Path):
        return
    for table in SCHEMAS:
        for part in sorted((_unsent(folder) / table).glob("part-*.parquet")):
            (folder / table / part.name).write_bytes(part.read_bytes())
            part.unlink()
