"""Following a job: its state while it waits, what it prints while it runs, and how it ended."""

import os
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from sweep.errors import BadInput
from sweep.foreign import terminal
from sweep.reporter import conclude, note
from sweep.slurm import queue

# Seconds between questions to SLURM, for the sake of its controller rarer while nothing happens.
_OFTEN, _SELDOM = 1.0, 15.0
# How often a job that has failed is looked at before its end counts.
_LOOKS = 8
# Bytes at the end of an earlier log that are shown.
_TAIL = 2000


class Log:
    """The log of a job, which may not be there yet."""

    def __init__(self, path: Path, *, tail: bool) -> None:
        """Begin to read.

        Args:
            tail: show only the end of what is there already.
        """
        self.path, self._rest = path, ""
        self._place = 0
        with suppress(OSError):
            self._place = max(0, path.stat().st_size - _TAIL) if tail else 0
        self._torn = self._place > 0  # begins in the middle of a line

    def relay(self, console: Console) -> bool:
        """Print the lines that have come; whether there were any."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._place:  # a job that runs again may begin its log anew
                    self._place = 0
                file.seek(self._place)
                new = file.read()
        except OSError:
            return False
        self._place += len(new)
        *lines, self._rest = (self._rest + new.decode(errors="replace")).split("\n")
        if self._torn and lines:
            self._torn = False
            del lines[0]
        for line in lines:
            console.out(terminal(line), highlight=False)
        return bool(new)


def follow(number: str, name: str, console: Console, *, tail: bool) -> int:
    """Follow a job to its end, and through the jobs that it submits in its place.

    Args:
        name: of the job.
        tail: show only the end of a log that is there already.

    Returns:
        The exit code of its launch; 130 if the job is cancelled, or after Ctrl-C, which leaves the job alone.
    """
    try:
        while True:
            job = _to_its_end(number, console, tail=tail)
            following = queue.find(name)
            if following in (None, number):
                return _conclude(number, job, console)
            number, tail = following or number, False
    except KeyboardInterrupt:
        conclude(console, f"job {number} goes on: the same command follows it, scancel {number} cancels it")
        note(console, job=number)
        return 130


def _to_its_end(number: str, console: Console, *, tail: bool) -> queue.Job | None:
    """Follow one job; what SLURM says of it at its end, None: SLURM has forgotten the job."""
    log: Log | None = None
    last, said, pause = None, "", _OFTEN
    while True:
        try:
            job = queue.show(number)
        except BadInput as error:  # SLURM's controller is away: jobs go on without it
            console.out(str(error), highlight=False)
            time.sleep(_SELDOM)
            continue
        if job is None:
            return last
        last = job
        line = _line(job)
        if line != said and job.state != "COMPLETING" and not job.ended:
            said, pause = line, _OFTEN
            console.out(line, highlight=False)
        log = log or Log(job.log, tail=tail)
        grew = log.relay(console)
        if job.ended:
            time.sleep(_OFTEN)  # a network drive shows the end of a file late
            log.relay(console)
            if job.state == "COMPLETED" or not _runs_again(number):
                return job
        until = time.monotonic() + pause
        while time.monotonic() < until:
            time.sleep(min(_OFTEN, pause))
            if log.relay(console):
                grew = True
                break
        pause = _OFTEN if grew else min(2 * pause, _SELDOM)


def _runs_again(number: str) -> bool:
    """Whether a job that seems to have ended is in the queue again, as one that SLURM requeues is soon."""
    for _ in range(_LOOKS):
        with suppress(BadInput):
            job = queue.show(number)
            if job is None or not job.ended:
                return job is not None
        time.sleep(_OFTEN)
    return False


def _line(job: queue.Job) -> str:
    """Where a job stands, in one line."""
    if job.state == "PENDING":
        begins = f", not before {time.strftime('%H:%M', time.localtime(job.begins))}" if job.begins else ""
        return f"job {job.number} waits in the queue ({job.reason}{begins})"
    where = f" on {job.nodes}" if job.nodes else ""
    return f"job {job.number} is {job.state.lower()}{where}; its log: {job.log}"


def _conclude(number: str, job: queue.Job | None, console: Console) -> int:
    """Say how a job ended; the exit code."""
    if job is None or not job.ended:
        conclude(
            console, f"job {number} is over, and SLURM has forgotten it: launch again to see what is done"
        )
        note(console, job=number)
        return 1
    code = 130 if job.state == "CANCELLED" else job.code or (0 if job.state == "COMPLETED" else 1)
    note(console, job=number, log=str(job.log), state=job.state)
    conclude(console, f"job {number}: {job.state.lower()}; its log: {job.log}")
    return code
