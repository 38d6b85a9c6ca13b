"""How one process runs trials, one after another: in a worker of Ray, or where they were asked for."""

import gc
import math
import os
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from sweep import data
from sweep.engine import starts
from sweep.engine.options import Options
from sweep.parts import Part, explain, register, trace
from sweep.store import running
from sweep.store.places import Place, absolute, place
from sweep.store.states import PREFIXES, Store
from sweep.store.weights import FOLDER
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial import Result, failure, run
from sweep.trial.prefixes import Point, Shared
from sweep.trial.running import Running
from sweep.trial.scoring import ScoreCache
from sweep.trial.stages import AfterEpoch
from sweep.trial.starts import Starts
from sweep.trial.time_limit import TooLong, limited


@dataclass(frozen=True)
class Where:
    """Where workers find data and states, and what they run on. All nodes have its paths.

    Attributes:
        data_root: folder of the data sets.
        prefixes: folder of the states that trials save for each other.
        gpus: share of a GPU for each worker; 0: none.
        cpus: cores for each worker.
        parts: of one's own that trials name.
        seconds: that a trial may take.
        judge: Ray's handle of a `sweep.search.stopping.Judge`, which stops poor trials; None: none does.
        metrics: names of the metrics that each trial's final network is measured by.
        masks: each trial's final masks are part of its result.
        running: folder of what trials leave beside the results while they run; "": they leave nothing.
        checkpoint_seconds: seconds between checkpoints of a trial.
        keeps: folder of the study's results, for files of final weights; "": no weights are kept.
        weights: folder of the trained weights that trials start from.
        earlier: trial_id → canonical config of the trials whose final weights other trials start from.
    """

    data_root: str
    prefixes: str
    gpus: float = 0
    cpus: float = 1
    parts: tuple[Part, ...] = ()
    seconds: float = math.inf
    judge: Any = None
    metrics: tuple[str, ...] = ()
    masks: bool = False
    running: str = ""
    checkpoint_seconds: float = math.inf
    keeps: str = ""
    weights: str = ""
    earlier: Mapping[str, str] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """The device that trials run on, as PyTorch names it."""
        return "cuda" if self.gpus else "cpu"

    @property
    def store(self) -> Store:
        """The states that trials save for each other."""
        return Store(place(self.prefixes), self.device)

    def left(self, again: bool) -> Running:
        """What a trial leaves beside the results while it runs.

        Args:
            again: whether an earlier try of it may have left a checkpoint.
        """
        store = Store(place(self.running), self.device) if self.running else None
        return Running(store, self.checkpoint_seconds, again=again)

    @property
    def starts(self) -> Starts:
        """The trained weights that trials start from."""
        return Starts(place(self.weights), self.data_root, self.device, self.earlier)


def where_of(
    study: Study, folder: Place, options: Options, trials: Sequence[Trial], gpus: float, **of_workers: Any
) -> Where:
    """Where the trials of a study find data and states.

    Args:
        folder: of the study's results.
        trials: of every kind that runs.
        gpus: share of a GPU for each process; 0: none.
        of_workers: further attributes, of processes of Ray.
    """
    root = folder.parent
    return Where(
        absolute(options.data_root),
        absolute(root / PREFIXES),
        gpus=gpus,
        parts=tuple(study.parts.values()),
        metrics=study.metrics,
        masks=study.keep is not None,
        running=absolute(folder / running.FOLDER),
        checkpoint_seconds=60 * options.checkpoint_minutes or math.inf,
        keeps=absolute(folder) if study.keep and study.keep.weights else "",
        weights=absolute(root / FOLDER),
        earlier=starts.earlier(study, trials, root, "cuda" if gpus else "cpu"),
        **of_workers,
    )


# Seconds that a trial waits for its judge, which may be starting or out of reach.
_PATIENCE = 10

# How a worker runs a trial: `run_trial`, or a stand-in where the engine itself is tested or timed.
Run = Callable[[Trial, Where, Shared], Result]


def run_trial(trial: Trial, where: Where, shared: Shared) -> Result:
    """Run a trial; if its GPU has too little memory, clear the memory and run it once more."""
    after_epoch = _asks(where.judge, trial) if where.judge else None
    attempt = partial(
        run,
        trial,
        where.data_root,
        where.device,
        shared,
        after_epoch,
        metrics=where.metrics,
        masks=where.masks,
        keeps=place(where.keeps) if where.keeps else None,
    )
    try:
        return attempt()
    except torch.OutOfMemoryError:
        pass  # not in the handler: its traceback holds the tensors that were allocated
    shared.scores.clear()
    data.to.cache_clear()
    gc.collect()
    torch.cuda.empty_cache()
    return attempt()


def _asks(judge: Any, trial: Trial) -> AfterEpoch:
    """A function that asks the judge after each epoch; without an answer the trial goes on."""
    import ray  # only a launch on Ray has a judge
    from ray.exceptions import RayError

    def after_epoch(epoch: int, accuracy: float, last: bool) -> bool:
        try:
            poor: bool = ray.get(judge.poor.remote(trial, epoch, accuracy, last), timeout=_PATIENCE)
        except RayError:
            return False
        return poor

    return after_epoch


class Runner:
    """Runs trials in this process, with the states and the scores that they share."""

    def __init__(
        self, where: Where, run: Run = run_trial, raises: tuple[type[BaseException], ...] = ()
    ) -> None:
        """Begin. The parts become known to this process: their code is what the launch has read.

        Args:
            run: how a trial is run.
            raises: kinds of exceptions that end no trial but the run.
        """
        register(where.parts)
        self._where, self._run, self._raises = where, run, raises
        self._scores: ScoreCache = {}
        self._starts = where.starts
        self._node = os.uname().nodename

    def result(
        self, canonical: str, path: Iterable[Point], saves: Iterable[Point], pack: int, *, again: bool = False
    ) -> Result:
        """Run a trial; an exception in it becomes its result.

        Args:
            canonical: the trial's config.
            path, saves: the points of a `sweep.plan.Job`.
            pack: number of the pack that the trial is in.
            again: whether an earlier try of the trial may have left a checkpoint.
        """
        trial, where = Trial.parse(canonical), self._where
        points = tuple(Point(*p) for p in path), tuple(Point(*p) for p in saves)
        shared = Shared(where.store, *points, self._scores, self._starts, where.left(again))
        try:
            with limited(where.seconds):
                result = self._run(trial, where, shared)
        except TooLong as error:
            self._scores.clear()
            seconds = f"it took longer than the {where.seconds:g} seconds of --trial-seconds"
            result = failure(trial, f"{trace(error, where.parts) or ''}{seconds}")
        except BaseException as error:
            if isinstance(error, self._raises) or self._must_end(error):
                raise
            result = failure(trial, explain(error, canonical, where.parts) or traceback.format_exc())
        result.left = shared.running.left
        result.trial |= {"pack": pack, "node": self._node}
        return result

    def _must_end(self, error: BaseException) -> bool:
        """Whether an error is not the trial's alone: the process ends, and another one takes its pack."""
        if isinstance(error, Exception):
            # After such an error a process cannot use its GPU again.
            return isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError)
        # A part that calls sys.exit ends its trial. Ray ends a worker by an exit too, from code of its own.
        [(last, _)] = deque(traceback.walk_tb(error.__traceback__), 1)
        by_ray = last.f_globals.get("__name__", "").startswith("ray.")
        return by_ray or trace(error, self._where.parts) is None
