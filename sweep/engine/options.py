"""How a session runs trials, and why it ended: for commands, which start without Ray."""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from sweep.trackers import Service

TUNE = "tune"  # the name of the thread that Ray Tune runs in

AUTO: Final = "auto"
Gpus = float | Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How trials are run; no option changes a result.

    Attributes:
        data_root: folder or URI of the data sets.
        address: of a Ray cluster; None: start one on this machine.
        workers: trials at once; None: as many as there is room for.
        gpus: share of a GPU for each trial; `AUTO`: measured from the memory that trials take.
        max_hours: hours after which the session ends early.
        max_failures: number of failed trials at which the session ends early.
        retries: how often a trial whose worker died is tried again.
        trial_seconds: seconds after which a trial is ended, as failed.
        checkpoint_minutes: minutes of a trial after which it leaves a checkpoint, again and again; 0: never.
        log: service that finished trials are also logged to.
        stays: the process goes on after the session, which so ends Ray however it ends itself.
        in_process: trials run one after another in this process, without Ray.
        raise_errors: an error in a trial that runs in this process is raised; the trial has no result.
    """

    data_root: str
    address: str | None = None
    workers: int | None = None
    gpus: Gpus = 0
    max_hours: float = math.inf
    max_failures: float = math.inf
    retries: int = 3
    trial_seconds: float = math.inf
    checkpoint_minutes: float = 10
    log: Service | None = None
    stays: bool = False
    in_process: bool = False
    raise_errors: bool = False


class Ending(Enum):
    """Why a session ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    TIME = "--max-hours is over"
    FAILURES = "--max-failures is reached"
