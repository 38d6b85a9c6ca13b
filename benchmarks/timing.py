"""How long a piece of work takes."""

import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def processor_seconds(work: Callable[[], object]) -> float:
    """The same of this process alone: other work on the machine does not count, and two threads count twice."""
    started = time.process_time()
    work()
    return time.process_time() - started
