"""What a trial leaves beside the results while it runs: its curves so far, and checkpoints."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from sweep.store import running
from sweep.store.states import State, Store
from sweep.study.identity import PROTOCOL, Trial

# Of checkpoints. Raise it when a trial would go on otherwise from the same content.
_FORMAT = 1
# Seconds between two versions of the curves, and the most epochs of one: more are thinned out evenly.
_SHOW_EVERY, _SHOWN = 10.0, 300


class Running:
    """What one trial leaves in its study's folder for running trials; without a store nothing.

    A trial leaves its first checkpoint when it has run for `every` seconds, so a short one leaves none.

    Attributes:
        store: of the study's folder for running trials; None: there is none.
        left: whether the trial, or an earlier try of it, may have left something.
        started: when the trial began; that of the earlier try that it goes on from.
    """

    def __init__(self, store: Store | None = None, every: float = math.inf, *, again: bool = False) -> None:
        """Leave nothing yet.

        Args:
            every: seconds between checkpoints.
            again: whether an earlier try of the trial may have left a checkpoint.
        """
        self.store, self._every, self.left = store, every, again
        self.started, self._before, self._clock = datetime.now(UTC), 0.0, time.perf_counter()
        self._due = self._show_at = math.inf

    def begin(self, trial: Trial) -> None:
        """The trial begins."""
        self._trial = trial
        parts = (PROTOCOL, _FORMAT, torch.__version__, trial.canonical)
        self._key = f"{trial.id}-{hashlib.sha256('@'.join(map(str, parts)).encode()).hexdigest()[:16]}"
        self.started, self._before, self._clock = datetime.now(UTC), 0.0, time.perf_counter()
        self._due, self._show_at = self._clock + self._every, self._clock + _SHOW_EVERY

    @property
    def seconds(self) -> float:
        """Seconds of the trial; those of the earlier try until its checkpoint count."""
        return self._before + time.perf_counter() - self._clock

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint. This is asked before each step."""
        return time.perf_counter() >= self._due

    @property
    def keeps(self) -> bool:
        """Whether there are checkpoints."""
        return self.store is not None and self._every < math.inf

    def load(self) -> State | None:
        """The checkpoint of an earlier try; None: there is none, or it is not of this trial and version."""
        state = self.store.load(self._key) if self.store and self.keeps and self.left else None
        if state is None:
            return None
        try:
            started, before = datetime.fromisoformat(state["started"]), state["seconds"]
            sound = state["key"] == self._key and type(before) is float and 0 <= before < math.inf
            sound = sound and started.tzinfo is not None
        except (LookupError, TypeError, ValueError):
            sound = False
        if not sound:
            self.forget()
            return None
        self.started, self._before = started, before
        return state

    def save(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Leave a checkpoint in place of the last one.

        A state that cannot be saved, as that of an optimizer with unusual content, leaves the trial without
        further checkpoints: no trial fails by one.
        """
        assert self.store
        self.left = True
        identity = {"key": self._key, "seconds": self.seconds, "started": self.started.isoformat()}
        try:
            self.store.save(self._key, {**state(), **identity})
        except torch.AcceleratorError:
            raise
        except Exception:  # pickle and code of one's own raise many kinds
            self._every = math.inf
        self._due = time.perf_counter() + self._every

    def forget(self) -> None:
        """Remove the checkpoint, as the trial begins again."""
        if self.store:
            self.store.remove(self._key)
        self.begin(self._trial)

    def show(self, curves: Sequence[Mapping[str, Any]], done: float, epochs: float, headline: str) -> None:
        """Leave the curves, unless the last ones are only seconds old.

        Args:
            done: epochs of training until now.
            epochs: of the whole training.
            headline: the metric in the columns of accuracy.
        """
        if not self.store or time.perf_counter() < self._show_at:
            return
        self.left = True
        few = curves[:: max(1, math.ceil(len(curves) / _SHOWN))]
        few = few if few[-1] is curves[-1] else [*few, curves[-1]]
        content = {
            "trial_id": self._trial.id,
            "config": self._trial.canonical,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "done": done,
            "epochs": epochs,
            "seconds": self.seconds,
            "headline": headline,
            "curves": [[row["phase"], row["epoch"], _finite(row["val_accuracy"])] for row in few],
        }
        running.show(self.store.folder, self._trial.id, content)
        self._show_at = time.perf_counter() + _SHOW_EVERY


def _finite(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return value if math.isfinite(value) else None
