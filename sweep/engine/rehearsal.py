"""A rehearsal of parts of one's own before a launch: a few small steps with each, in a process of its own."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType

from sweep import parts
from sweep.errors import BadInput
from sweep.parts import Part
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial.rehearsal import rehearse as try_parts
from sweep.trial.time_limit import TooLong, limited

# Seconds after which a rehearsal is given up: a part that runs forever would otherwise do so in each trial.
_LONGEST = 300.0
# Seconds that its process may take to start.
_STARTS = 60.0


def rehearse(study: Study, trials: Sequence[Trial], data_root: str, trial_seconds: float) -> None:
    """Try each part that a study names, in one trial of few steps on few images.

    Args:
        trial_seconds: that a trial may take.

    Raises:
        BadInput: the code of a part is not here, or it fails; the message names the file and the line.
    """
    for part in study.parts.values():
        if not part.here:
            raise BadInput(f"{part.label}: its code is not here: put it beside {study.path}")
    if not study.parts:
        return
    chosen = _of_each(study.parts, trials)
    longest = min(_LONGEST, 2 * trial_seconds + _STARTS)
    # Not a fork: the code gets a process as a worker's, and may end it.
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    known = tuple(study.parts.values())
    canonicals = [each.canonical for each in chosen]
    process = context.Process(
        target=_try, args=(its, known, canonicals, data_root, trial_seconds, study.metrics)
    )
    # Ctrl-C is for this process alone, which then ends the other.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # The process would run the script that this process is running, which may be what launches: it is hidden.
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    its.close()
    try:
        fault = _answer(ours, longest, known, process)
    finally:
        process.kill()
        process.join()
    if fault:
        raise BadInput(fault)


def _answer(pipe: Connection, longest: float, known: Sequence[Part], process: BaseProcess) -> str:
    """The line about the first fault; empty: there is none."""
    tried, end = known, time.monotonic() + longest
    try:
        while pipe.poll(max(0.0, end - time.monotonic())):
            answer = pipe.recv()
            if isinstance(answer, str):
                return answer
            tried = [part for part in known if part.name in answer]
    except EOFError:
        process.join()
        return _of_all(tried, f"the process that tried it {_end(process.exitcode)}, expected it to return")
    return _of_all(tried, f"no answer within {longest:g} seconds")


def _of_all(known: Sequence[Part], problem: str) -> str:
    """A line about a fault that may be any part's."""
    return f"{' or '.join(f'{part.at}: {part.short}' for part in known)}: {problem}"


def _end(code: int | None) -> str:
    """How a process ended, in words."""
    return (
        f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
    )


def _try(
    answer: Connection,
    known: tuple[Part, ...],
    canonicals: Sequence[str],
    data_root: str,
    seconds: float,
    metrics: Sequence[str],
) -> None:
    """Try trials one by one. Send the parts of each, and at the end the first fault, or an empty text."""
    # What parts print is no line of the launch, and may be endless.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    # The first optimizer imports this, which would count seconds to the first part.
    import torch._dynamo  # noqa: F401

    parts.register(known)
    for canonical in canonicals:
        trial = Trial.parse(canonical)
        tried = [part.name for part in known if f'"{part.name}"' in canonical]
        answer.send(tried + [name for name in metrics if parts.is_name(name)])
        try:
            with limited(min(seconds, _LONGEST)):
                fault = try_parts(trial, known, data_root, metrics)
        except TooLong as error:
            slow = parts.guilty(error, canonical, known)
            fault = parts.line(error, slow, f"runs longer than {seconds:g} seconds, expected to end")
        if fault:
            answer.send(fault)
            return
    answer.send("")


def _of_each(names: Iterable[str], trials: Sequence[Trial]) -> list[Trial]:
    """A few trials that name all the parts; the first one where a part is no trial's own, as a metric."""
    missing, chosen = set(names), []
    for trial in trials:
        named = {name for name in missing if f'"{name}"' in trial.canonical}
        if named:
            chosen.append(trial)
            missing -= named
        if not missing:
            break
    return chosen or list(trials[:1])
