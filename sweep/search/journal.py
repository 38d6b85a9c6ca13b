"""What Optuna remembers of a search: a journal beside the results; for a store, kept here and sent there."""

import hashlib
import time
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
# Seconds between two sendings: what a killed search has not sent, it learns again from the results.
_EVERY = 5.0


class _Backend(JournalFileBackend):
    """Optuna's, with one line for a disk that refuses."""

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


class Journal:
    """The journal of the search whose results lie at a place.

    Attributes:
        file: that Optuna writes, on this machine.
    """

    def __init__(self, folder: Place) -> None:
        self._there = folder / _NAME
        self._sent = time.monotonic()
        if isinstance(self._there, Path):
            self.file = self._there
            self._mend()
            return
        self.file = cached("journals", self._there)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # The store's is the one: another machine may have gone on meanwhile.
        content = b""
        with suppress(FileNotFoundError):
            content = self._there.read_bytes()
        self.file.write_bytes(content)
        self._mend()

    def _mend(self) -> None:
        """Clear up after a search killed while it wrote: Optuna would wait for it, or not read on."""
        with suppress(RuntimeError):  # there is none, as a rule
            JournalFileSymlinkLock(str(self.file)).release()
        with suppress(FileNotFoundError), self.file.open("r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)

    def backend(self) -> JournalFileBackend:
        """As Optuna takes it."""
        return _Backend(str(self.file))

    def send(self) -> None:
        """Bring it to the store, if that is due."""
        if isinstance(self._there, Remote) and time.monotonic() > self._sent + _EVERY:
            with suppress(OSError):
                replace(self._there, patience=0.0).write_bytes(self.file.read_bytes())
            self._sent = time.monotonic()

    def close(self) -> None:
        """Bring all of it to the store."""
        if isinstance(self._there, Remote):
            self._there.write_bytes(self.file.read_bytes())


def opened(asked: Study, search: Search, journal: Journal) -> optuna.Study:
    """What Optuna remembers, in a journal beside the results, which `optuna-dashboard` opens too."""
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

    history = named(asked.name)
    known = history.user_attrs.get("space")
    if known is None:
        history.set_user_attr("space", space)
    elif known != space:
        # The file was edited: Optuna takes no other values into a history, and would keep its directions.
        # What was measured it is told anew.
        history = named(f"{asked.name} {space}")
    # With a seed of its own each time, or what is drawn at first would be drawn again.
    history.sampler = SAMPLERS[search.sampler](search, len(history.trials))
    return history
