"""TensorBoard: a trial is a folder with an event file. Its tab HParams groups the trials of one cell."""

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweep.errors import BadInput
from sweep.store import parts
from sweep.store.places import Place, Remote
from sweep.trackers.run import Run, name
from sweep.trackers.service import Tracker

_LOG = "log"
# How the name of an event file begins: TensorBoard looks for it.
_PREFIX = "events.out.tfevents."
# How it begins while it is being written: TensorBoard does not look for that.
_PART = ".part-"


def check(results: Place, to: str | None) -> None:
    """Raise `BadInput` if the files would have to go to an object store."""
    if isinstance(results, Remote) and not to:
        raise BadInput(
            f"tensorboard: its files go to a folder, not to {results}: afterwards "
            f"python -m analysis export tensorboard --results {results} --to FOLDER"
        )


def tracker(results: Place, to: str | None) -> Tracker:
    """TensorBoard's files in the folder `to`; None: in RESULTS/STUDY/log."""
    check(results, to)
    if to:
        return TensorBoard(Path(to), "")
    assert isinstance(results, Path)
    return TensorBoard(results, _LOG, one_study=parts.are_of_one_study(results))


class TensorBoard:
    """Event files below a folder: STUDY/BELOW/ARM/TRIAL."""

    def __init__(self, folder: Path, below: str, *, one_study: bool = False) -> None:
        """Begin; nothing is written yet.

        Args:
            below: folder within that of a study; "": none.
            one_study: the folder is that of the one study.
        """
        self._folder, self._below, self._one_study = folder, below, one_study

    def log(self, run: Run) -> bool:
        """Write a trial, unless it is there as it is. An event file is complete or does not exist."""
        study = self._folder if self._one_study else self._folder / name(run.study)
        folder = study / self._below / name(run.group) / f"{name(run.name)}_{run.trial_id}"
        file = folder / f"{_PREFIX}{int(run.began):010d}.{run.version}"
        if file.exists():
            return False
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{_PART}{uuid.uuid4().hex[:8]}"
        try:
            _write(part, run)
            for earlier in folder.glob(f"{_PREFIX}*"):
                earlier.unlink(missing_ok=True)
            part.rename(file)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        return True

    def close(self) -> None:
        """Nothing is open."""


def _write(path: Path, run: Run) -> None:
    """Write the event file of a trial."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer.record_writer import RecordWriter

    def scalars(values: Any, time: float, step: int) -> Event:
        each = [Summary.Value(tag=key, simple_value=value) for key, value in values.items()]
        return Event(wall_time=time, step=step, summary=Summary(value=each))

    # The seed tells the trials of a group apart, and a group has one value of each parameter.
    params = {key: value for key, value in run.params.items() if key != "seed"}
    told = {**params, "group": run.group, "status": run.status, "tags": run.tags.get("tags", "")}
    started = summary_v2.hparams_pb(told, trial_id=run.cell, start_time_secs=run.began)
    events = [
        Event(wall_time=run.began, file_version="brain.Event:2"),
        Event(wall_time=run.began, summary=started),
        *(scalars(point.values, point.time, point.step) for point in run.points),
        scalars(run.numbers, run.ended, len(run.points)),
    ]
    with path.open("xb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
