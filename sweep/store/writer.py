"""Write results in the background, in order of arrival; keep on this machine what a store does not accept."""

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from sweep.errors import BadInput
from sweep.store.parts import list_parts
from sweep.store.places import Place, Remote, cached, remedy, remove_all
from sweep.store.results import Part, Row, write, write_part
from sweep.store.schema import LARGE, SCHEMAS

# A trial's row of `trials`, and its rows of `curves`, `layers`, `metrics` and `masks`.
_Rows = tuple[Row, Sequence[Row], Sequence[Row], Sequence[Row], Sequence[Row]]
# Number of small parts of a table that are merged into one, because opening thousands takes seconds.
# And the bytes below which a part is small.
_MANY, _SMALL = 200, 100_000
# The same for tables with large rows: the bytes that small parts have together when they are merged.
_MERGED, _SMALL_OF_LARGE = 2**25, 2**23


class Writer:
    """Writes finished trials to Parquet in a thread of its own, in order of arrival.

    Trials that arrive while a part is being written go into the next part. So a trial is on disk within
    milliseconds if few trials finish, and parts grow by themselves if many do.

    Attributes:
        error: why writing ended early; None while results can be written.
    """

    def __init__(
        self, folder: Place, study: str, written: Callable[[Collection[str]], object] = lambda ids: None
    ) -> None:
        """Begin.

        Args:
            written: is called in the thread with the ids of trials that are on disk by now.
        """
        self.folder, self.study, self._tell = folder, study, written
        self.error: BaseException | None = None
        self._small: dict[str, list[Part]] = {table: [] for table in SCHEMAS}
        self._queue: queue.SimpleQueue[_Rows | None] = queue.SimpleQueue()
        self._unwritten: list[_Rows] = []
        # Numbers of trials: handed over, waited for by `flush`, and on disk.
        self._added = self._wanted = self._written = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="results", daemon=True)
        self._thread.start()

    def add(
        self,
        trial: Row,
        curves: Sequence[Row],
        layers: Sequence[Row],
        metrics: Sequence[Row] = (),
        masks: Sequence[Row] = (),
    ) -> None:
        """Hand over one trial: its row of `trials`, and its rows of the other tables."""
        self._added += 1
        self._queue.put(({**trial, "study": self.study}, curves, layers, metrics, masks))

    def flush(self) -> bool:
        """Wait until all trials handed over so far are on disk. Returns False if writing has failed."""
        with self._changed:
            self._wanted = self._added
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.error or self._written >= self._wanted)
        return self.error is None

    def close(self) -> None:
        """Wait until every trial is on disk, and end the thread.

        Raises:
            BadInput: the disk or the store refused some; results written before are kept, and those that a
                store refused are kept on this machine.
        """
        self._queue.put(None)
        self._thread.join()
        while not self._queue.empty():
            if (late := self._queue.get()) is not None:
                self._unwritten.append(late)
        if isinstance(self.error, OSError):
            kept = "what is written is kept"
            if isinstance(self.folder, Remote):
                write(_unsent(self.folder), *zip(*self._unwritten, strict=True))
                kept += f", and {len(self._unwritten)} more trials on this machine, which that launch sends"
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
            except BaseException as error:  # raised by close()
                with self._changed:
                    self.error, self._unwritten = error, arrived
                    self._changed.notify_all()
                return
            with self._changed:
                self._written += len(arrived)
                self._changed.notify_all()
            self._tell([trial["trial_id"] for trial, *_ in arrived])
            if last:
                return
            self._merge(written)
            # Writing takes at most a tenth of the time, and rows wait for at most a second.
            pause = min(1.0, 9 * (time.perf_counter() - started))
            with self._changed:
                self._changed.wait_for(lambda: self._wanted > self._written, pause)

    def _merge(self, written: Mapping[str, Part]) -> None:
        """Merge small parts into one once there are many; the end of the launch merges the rest."""
        for table, part in written.items():
            if part[1].nbytes >= (_SMALL_OF_LARGE if table in LARGE else _SMALL):
                continue
            small = self._small[table]
            small.append(part)
            if len(small) < _MANY and sum(rows.nbytes for _, rows in small) < _MERGED:
                continue
            with suppress(OSError, pa.ArrowException):  # the small parts then stay
                write_part(self.folder, table, pa.concat_tables(rows for _, rows in small))
                remove_all(place for place, _ in small)
            small.clear()


def _unsent(folder: Remote) -> Path:
    """The folder on this machine for results that a store did not accept."""
    return cached("unsent", folder)


def send(folder: Place) -> None:
    """Send to a store the results that an earlier launch on this machine could not send."""
    if not isinstance(folder, Remote):
        return
    for table in SCHEMAS:
        for part in list_parts(_unsent(folder) / table):
            with suppress(FileNotFoundError):  # another launch of a part has sent it
                (folder / table / part.name).write_bytes(part.read_bytes())
                part.unlink()
