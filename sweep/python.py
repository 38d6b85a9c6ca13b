"""Launches from Python: `sweep.run(study, workers=2)` does what `python -m sweep.launch` does."""

import io
import math
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict, TypeVar, Unpack

import typer
from rich.console import Console

from analysis.results import Results
from sweep.engine import reuse
from sweep.engine.options import Gpus, Options
from sweep.errors import BadInput
from sweep.launching import Again, Launch
from sweep.options import cluster_here, gpus, launch_part
from sweep.store.places import place
from sweep.study import Study
from sweep.study.given import load

T = TypeVar("T")

# The exit code of a launch that was interrupted.
_INTERRUPTED = 130


class Further(TypedDict, total=False):
    """Further arguments of `run`, which are options of `python -m sweep.launch` too.

    Attributes:
        address: of a Ray cluster; by default that of RAY_ADDRESS, or one that is started here.
        max_hours: hours after which to stop.
        max_failures: failed trials after which to stop.
        trial_seconds: seconds after which a trial is ended, as failed.
        part: its number, from 1 on, and how many parts there are, of a study that several launches run at
            once, each a part.
    """

    address: str
    max_hours: float
    max_failures: int
    trial_seconds: float
    part: tuple[int, int]


# The least that each number may be.
_LEAST = {"workers": 1, "max_trials": 1, "max_hours": 0, "max_failures": 1, "trial_seconds": 0.1}
# What trials in one process have no use for.
_OF_RAY = ("workers", "address", "trial_seconds")


def run(
    study: Study | str | Path,
    *,
    workers: int | None = None,
    gpus_per_trial: Gpus = 0,
    results: str | Path = "results",
    known: str | Iterable[str] = (),
    data_root: str | Path = "data",
    download: bool = False,
    max_trials: int | None = None,
    retry_failed: bool = False,
    rerun: str | None = None,
    ray: bool = True,
    raise_errors: bool = False,
    quiet: bool = False,
    dry_run: bool = False,
    **further: Unpack[Further],
) -> Results:
    """Run the trials of a study that have no result yet. A failed trial is a row that says why.

    Args:
        study: the study, or its file.
        workers: trials at once; None: as many as have room.
        gpus_per_trial: share of a GPU each trial gets; "auto": by its memory.
        results: folder or URI of the results of all studies.
        known: more results to take over trials from.
        data_root: folder or URI of the data sets.
        download: get data sets that are missing.
        max_trials: trials to run now, at most.
        retry_failed: run failed trials again.
        rerun: run trials again for whose results this condition in SQL holds.
        ray: False: run trial after trial in this process, for a debugger; the results are the same.
        raise_errors: with `ray=False` raise a trial's error; the trial then has no result.
        quiet: print nothing.
        dry_run: say what would run, and run nothing.
        further: as `Further` says.

    Returns:
        The results of the study, with those of earlier launches.

    Raises:
        BadInput: the study or an argument cannot be run; one line says what to correct.
        StoreError: an object store does not answer.
        KeyboardInterrupt: after Ctrl-C, once what is finished is on disk. The same call goes on.
    """
    launch = Launch(
        results_root=place(str(results)),
        options=_options(data_root, workers, gpus_per_trial, further, ray=ray, raise_errors=raise_errors),
        libraries=reuse.libraries([known] if isinstance(known, str) else map(str, known)),
        again=Again(rerun, retry_failed),
        most=_checked("max_trials", max_trials),
        part=_part(further.get("part")),
        download=download,
        dry_run=dry_run,
    )
    return _launched(launch, study if isinstance(study, Study) else load(study), quiet=quiet)


def _options(
    data_root: str | Path,
    workers: int | None,
    share: Gpus,
    further: Further,
    *,
    ray: bool,
    raise_errors: bool,
) -> Options:
    """How the trials are run.

    Raises:
        BadInput: an argument is out of its range, or has no use.
    """
    if raise_errors and ray:
        raise BadInput("raise_errors=True: errors are raised where ray=False runs the trials: add it")
    if unknown := further.keys() - Further.__annotations__:
        raise TypeError(f"run() got an unexpected keyword argument {min(unknown)!r}")
    for name, value in {"workers": workers, **further}.items():
        _checked(name, value)
        if name in _OF_RAY and value is not None and not ray:
            raise BadInput(f"{name}: ray=False runs one trial after another in this process: leave it out")
    try:
        chosen = gpus(str(share))
    except typer.BadParameter as error:
        raise BadInput(f"gpus_per_trial: {error}") from None
    address = cluster_here(further.get("address") or os.environ.get("RAY_ADDRESS")) if ray else None
    return Options(
        data_root=str(data_root),
        workers=workers,
        gpus=chosen,
        stays=True,
        in_process=not ray,
        raise_errors=raise_errors,
        address=address,
        max_hours=further.get("max_hours", math.inf),
        max_failures=further.get("max_failures", math.inf),
        trial_seconds=further.get("trial_seconds", math.inf),
    )


def _part(given: tuple[int, int] | None) -> tuple[int, int] | None:
    """The part of a launch that is given.

    Raises:
        BadInput: there is no such part.
    """
    try:
        return None if given is None else launch_part("/".join(map(str, given)))
    except typer.BadParameter as error:
        raise BadInput(f"part: {error}") from None


def _checked(name: str, value: T) -> T:
    """An argument that may be None, or else at least what `_LEAST` says.

    Raises:
        BadInput: it is less.
    """
    if (
        value is not None
        and name in _LEAST
        and not (isinstance(value, int | float) and value >= _LEAST[name])
    ):
        raise BadInput(f"{name}={value}: give a number from {_LEAST[name]} on, or leave it out")
    return value


def _launched(launch: Launch, study: Study, *, quiet: bool) -> Results:
    """Run a launch, and leave the process as it was."""
    if study.search:
        raise BadInput(f"{study.name} searches: give its file to python -m sweep.search")
    # A live view would draw over the prompt of a debugger. A notebook is no terminal, whatever it tells rich.
    live = sys.stdout.isatty() and not launch.options.in_process
    nowhere = io.StringIO() if quiet else None
    console = Console(file=nowhere, force_terminal=live, force_jupyter=False, quiet=quiet)
    with _signals_kept():
        code = launch.run(study, console)
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    return Results(launch.results_root / study.name)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put the handlers of signals back as they were: a launch ends with signals ignored.

    Raises:
        BadInput: this is not the main thread, which alone gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise BadInput("sweep.run: call it in the main thread, which gets Ctrl-C")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
