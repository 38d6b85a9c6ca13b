"""The results of a launch as they come in: written and counted; states that nobody needs are removed."""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sweep.engine import provenance
from sweep.engine.progress import Progress
from sweep.plan import Job
from sweep.store import launches, running
from sweep.store.lease import LaunchPart
from sweep.store.places import Place
from sweep.store.states import Claims, Store
from sweep.store.writer import Writer
from sweep.study import Study
from sweep.trackers.background import Background
from sweep.trackers.service import Service
from sweep.trial import Result

# Seconds that a launch waits at its end for the service that trials are logged to; and after an interrupt.
_LOG_SECONDS, _LOG_SECONDS_INTERRUPTED = 60.0, 3.0


def entry(study: Study, counts: Mapping[str, int] | None, part: LaunchPart | None) -> dict[str, Any]:
    """The entry of this launch in study.json.

    Args:
        counts: of trials; None: not known yet.
        part: of the launch that this is.
    """
    which = {"part": f"{part.number}/{part.of}", "division": part.division} if part else {}
    return provenance.here(study.parts.values()) | dict(counts or {}) | which


def note(folder: Place, study: Study, launch: Mapping[str, Any], part: LaunchPart | None) -> None:
    """Note a launch in study.json.

    Raises:
        BadInput: study.json is damaged, or cannot be read or written.
    """
    launches.note_launch(folder, study.name, study.text, launch, study.about, alone=part is None)


class Incoming:
    """The results of one launch. Whatever has been added is on disk once `close` returns.

    Attributes:
        claims: on states that trials save for each other; None: nothing is claimed yet.
        failed: number of trials that failed.
    """

    def __init__(
        self,
        study: Study,
        folder: Place,
        progress: Progress,
        counts: Mapping[str, int] | None = None,
        log: Service | None = None,
        part: LaunchPart | None = None,
    ) -> None:
        """Begin; nothing is written yet.

        Args:
            folder: of the study's results.
            counts: of trials, for the launch's entry in study.json; None: not known yet.
            log: service that finished trials are also logged to.
            part: as which results are written, beside other parts; None: by this launch alone.
        """
        self.claims: Claims | None = None
        self.failed = 0
        self._study, self._folder, self._progress = study, folder, progress
        self._part, self._launch = part, entry(study, counts, part)
        self._columns = {
            "launch": self._launch["launch"],
            "code": provenance.code(self._launch),
            "launched_at": datetime.fromisoformat(self._launch["started_at"]),
        }
        # Trials that may have left something beside the results, until their result is on disk.
        self._left: set[str] = set()
        self._writer = Writer(folder, study.name, self._remove_left)
        self._log = Background(log, folder, study.tags, progress.say) if log else None

    @property
    def broken(self) -> bool:
        """Whether results can no longer be written; `close` then says why."""
        return self._writer.error is not None

    def note_launch(self) -> None:
        """Note the launch in study.json.

        Raises:
            BadInput: study.json is damaged, or cannot be read or written.
        """
        note(self._folder, self._study, self._launch, self._part)

    def claim(self, store: Store, jobs: Iterable[Job]) -> None:
        """Claim the states that jobs go on from."""
        needs = {job.trial.id: set(job.loads) for job in jobs if job.loads}
        self.claims = Claims(store, self._study.name, needs, self._part)

    def add(self, result: Result) -> None:
        """Take a trial's result."""
        own = [name for name in self._study.parts if json.dumps(name) in result.trial["config"]]
        code = " ".join([self._columns["code"], *own])
        row = result.trial | self._columns | {"code": code}
        if result.left:
            self._left.add(row["trial_id"])
        self._writer.add(row, result.curves, result.layers, result.metrics, result.masks)
        self._progress.add(result.trial)
        if self._log:
            self._log.add(row | {"study": self._study.name}, result.curves, result.metrics)
        self.failed += result.trial["status"] == "failed"
        if self.claims:
            self.claims.done(result.trial["trial_id"])

    def flush(self) -> bool:
        """Wait until all results are on disk. Returns False if writing has failed."""
        return self._writer.flush()

    def close(self) -> None:
        """Wait until all results are on disk, and take no more.

        Raises:
            BadInput: the disk or the store refused some.
        """
        self._writer.close()

    def clean(self) -> None:
        """Remove what trials have left for others and for their own next try: all have a result."""
        if self.claims:
            self.claims.close()
            if self._part is None:  # trials of other parts may be running
                running.clean(self._folder / running.FOLDER)

    def _remove_left(self, trial_ids: Collection[str]) -> None:
        """Remove what trials have left while they ran, as their results are on disk."""
        for trial_id in self._left.intersection(trial_ids):
            running.remove(self._folder / running.FOLDER, trial_id)
            self._left.discard(trial_id)

    def end_log(self, *, interrupted: bool) -> None:
        """Wait, but not for long, until all results are logged to the service, if there is one."""
        if self._log:
            self._log.close(_LOG_SECONDS_INTERRUPTED if interrupted else _LOG_SECONDS)
