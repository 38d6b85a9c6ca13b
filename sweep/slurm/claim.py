"""Which run of a job may go on: after a node fails SLURM runs its job again, while the first run may go on.

RESULTS/.slurm-JOB   how often the job had run before when its latest run began; only where it runs again
"""

from contextlib import suppress
from dataclasses import replace

from sweep.slurm.allocation import Allocation
from sweep.store.places import Place, Remote, put, small


class Claim:
    """The claim of one run of a job. Each run begins after its job has gone back into the queue once more."""

    def __init__(self, results_root: Place, run: Allocation) -> None:
        self._restarts = run.restarts
        file = results_root / f".slurm-{run.job}"
        # A store that is away is asked again by the next call.
        self._file = replace(file, patience=0.0) if isinstance(file, Remote) else file

    def take(self) -> None:
        """Take the place of earlier runs, which end when they see it."""
        if self._restarts and not self.lost():
            with suppress(OSError):
                put(self._file, lambda file: file.write(str(self._restarts).encode()))

    def lost(self) -> bool:
        """Whether a later run has taken its place."""
        with suppress(OSError, ValueError):
            return int((small(self._file, 20) or b"0").decode()) > self._restarts
        return False

    def release(self) -> None:
        """Remove the claim, if it is that of this run."""
        if self._restarts and not self.lost():
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
