"""A limit to the time of one trial, so that code which never ends costs one trial and not the study."""

import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A trial that has not ended this many times its limit, plus some seconds, ends with its process.
_TIMES, _SECONDS = 1.5, 10.0


class TooLong(BaseException):
    """A trial took longer than it may. Not an `Exception`: code that catches all of these lets it pass."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in the block after some seconds, and again each second while the block goes on.

    Where that does not end the block, as in a loop of C, the process ends. Call it in the main thread.
    """
    if math.isinf(seconds):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLong

    watch = threading.Timer(seconds * _TIMES + _SECONDS, os._exit, (1,))
    watch.daemon = True
    earlier = signal.signal(signal.SIGALRM, ring)
    watch.start()
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
        watch.cancel()
