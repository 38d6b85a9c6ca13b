"""Optuna's memory of a search: a journal beside the results. An object store gets copies of a local file."""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from sweep.errors import BadInput
from sweep.search.samplers import SAMPLERS
from sweep.store.places import Place, Remote, cached
from sweep.study import Study
from sweep.study.space import OBJECTIVES, Search

_NAME = "optuna.journal"
# Seconds between two copies to a store. A killed search learns what it has not sent from the results.
_EVERY = 5.0


class _Backend(JournalFileBackend):
    """Optuna's file, with one line of text for a failing disk, and a call after each write."""

    def __init__(self, file: Path, written: Callable[[], None]) -> None:
        super().__init__(str(file))
        self._written = written

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines.

        Raises:
            BadInput: the disk is full, or gone.
        """
        try:
            super().append_logs(logs)
        except OSError as error:
            raise BadInput(
                f"{self._file_path}: {error.strerror}: make room and search again, what is finished is kept"
            ) from None
        self._written()


class Journal:
    """The journal of a search, beside its results.

    Attributes:
        file: the file on this machine that Optuna writes.
    """

    def __init__(self, folder: Place) -> None:
        self._place = folder / _NAME
        self._sent = time.monotonic()
        if isinstance(self._place, Path):
            self.file = self._place
            self._mend()
            return
        self.file = cached("journals", self._place)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # The store's copy counts: another machine may have gone on with the search.
        content = b""
        with suppress(FileNotFoundError):
            content = self._place.read_bytes()
        self.file.write_bytes(content)
        self._mend()

    def _mend(self) -> None:
        """Remove the lock and the cut line of a killed search: Optuna would wait for it, or stop reading."""
        with suppress(RuntimeError):  # usually there is no lock
            JournalFileSymlinkLock(str(self.file)).release()
        with suppress(FileNotFoundError), self.file.open("r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)

    def backend(self) -> JournalFileBackend:
        """The journal as Optuna takes it."""
        return _Backend(self.file, self._send)

    def _send(self) -> None:
        """Copy the journal to the store, if that is due."""
        if isinstance(self._place, Remote) and time.monotonic() > self._sent + _EVERY:
            with suppress(OSError):
                replace(self._place, patience=0.0).write_bytes(self.file.read_bytes())
            self._sent = time.monotonic()

    def close(self) -> None:
        """Copy all of the journal to the store."""
        if isinstance(self._place, Remote):
            self._place.write_bytes(self.file.read_bytes())


def opened(study: Study, search: Search, journal: Journal) -> optuna.Study:
    """Optuna's study of a search, stored in a journal that `optuna-dashboard` opens too."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(journal.backend())
    directions: list[Literal["maximize", "minimize"]] = [
        "maximize" if OBJECTIVES[name][1] else "minimize" for name in search.objectives
    ]
    ranges = [(d.name, d.values, d.low, d.high, d.step, d.log) for d in search.dimensions]
    space = hashlib.sha256(repr((search.objectives, ranges)).encode()).hexdigest()[:8]

    def named(name: str) -> optuna.Study:
        return optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )

    optuna_study = named(study.name)
    earlier = optuna_study.user_attrs.get("space")
    if earlier is None:
        optuna_study.set_user_attr("space", space)
    elif earlier != space:
        # The file was edited. A study of Optuna's keeps its distributions and directions: another one begins,
        # and is told all results anew.
        optuna_study = named(f"{study.name} {space}")
    # Another seed each time, or the first choices of the last time would be drawn again.
    optuna_study.sampler = SAMPLERS[search.sampler](search, len(optuna_study.trials))
    return optuna_study
