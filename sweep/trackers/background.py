"""Logs trials in the background of a launch, which a service can neither hold up nor break."""

import queue
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sweep.store.places import Place
from sweep.trackers.run import Row, Run
from sweep.trackers.service import Service, Tracker

# Epochs that wait for the service at most, together: they take less than 100 MB.
_MOST_WAITING = 100_000
# Seconds between attempts while the service fails: the first, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# Seconds after which `close` says that it waits.
_SAYS_AFTER = 2.0

# A trial's row of `trials`, and its rows of `curves` and `metrics`.
_Rows = tuple[Row, Sequence[Row], Sequence[Row]]


class Background:
    """Logs trials to a service in a thread of its own.

    A trial that the service does not take is missed: its result is not affected, and the end says by which
    command it is logged later. So is one that arrives when too much waits already.
    """

    def __init__(
        self, service: Service, folder: Place, words: Sequence[str], say: Callable[[str], object]
    ) -> None:
        """Begin; the service's library is imported in the background.

        Args:
            folder: of the study's results.
            words: tags of the study.
            say: prints a line.
        """
        self._service, self._folder, self._words, self._say = service, folder, words, say
        self._queue: queue.SimpleQueue[_Rows | None] = queue.SimpleQueue()
        # Trials handed over, tried and logged; epochs put into the queue, and taken from it. Each number is
        # changed by one thread alone.
        self._given = self._tried = self._logged = self._put = self._taken = 0
        # Of the driver's processor.
        self._seconds = 0.0
        self._failed = False
        self._closing = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._work, name=f"log to {service}", daemon=True)
        self._thread.start()

    def add(self, trial: Row, curves: Sequence[Row], metrics: Sequence[Row]) -> None:
        """Hand over one trial: its row of `trials`, and its rows of `curves` and `metrics`. Never waits."""
        self._given += 1
        if self._put - self._taken < _MOST_WAITING:
            self._put += 1 + len(curves)
            self._queue.put((trial, curves, metrics))

    def close(self, seconds: float) -> None:
        """Wait until the trials are logged, and say how many are.

        Args:
            seconds: to wait at most.
        """
        self._queue.put(None)
        self._closing.set()
        self._thread.join(min(seconds, _SAYS_AFTER))
        if self._thread.is_alive() and seconds > _SAYS_AFTER:
            left = self._given - self._logged
            self._say(f"waits up to {seconds:.0f} s until {self._service} has {left:,} more trials")
            self._thread.join(seconds - _SAYS_AFTER)
        self._over = True
        if not self._given:
            return
        each = f"{1000 * self._seconds / max(1, self._tried):.3g} ms of the driver's time each"
        trials = "1 trial" if self._given == 1 else f"{self._given:,} trials"
        if self._logged == self._given:
            self._say(f"logged {trials} to {self._service}, {each}")
        else:
            self._say(
                f"logged {self._logged:,} of {trials} to {self._service}, {each}; the rest: {self._later()}"
            )

    def _later(self) -> str:
        """The command that logs what is missed."""
        place = shlex.quote(str(self._folder))
        return f"python -m analysis export {self._service} --results {place}"

    def _work(self) -> None:
        tracker: Tracker | None = None
        pause = _FIRST_PAUSE
        while (given := self._queue.get()) is not None and not self._over:
            self._taken += 1 + len(given[1])
            self._tried += 1
            began, last = time.thread_time(), self._closing.is_set()
            try:
                if not tracker:
                    tracker = self._service.tracker(self._folder)
                    began = time.thread_time()  # imports are not of any trial
                tracker.log(Run.of(*given, self._words))
            except Exception as error:
                self._say_once(error)
                if last:  # nobody waits for a service that fails
                    break
                self._closing.wait(pause)  # it may be back soon
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._logged += 1
                pause = _FIRST_PAUSE
            self._seconds += time.thread_time() - began
        if tracker:
            tracker.close()

    def _say_once(self, error: Any) -> None:
        if not self._failed:
            self._failed = True
            why = (" ".join(str(error).split()) or type(error).__name__)[:200]
            self._say(f"{self._service}: {why}; no result is lost; what is missed there: {self._later()}")
