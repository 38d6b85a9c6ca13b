"""What a launch shows while it runs: a live view in a terminal, a line in a notebook, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from importlib import import_module
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweep.engine.standings import Standing, Standings

_SECONDS_BETWEEN_LINES = 5.0
_WORK = ("train_seconds", "score_seconds", "evaluate_seconds")  # columns of what a worker does for a trial
# Number of arms whose means are shown.
_SHOWN = 8


class Progress:
    """Counts finished trials and shows how far the launch is.

    The means that it shows are of validation accuracy, never of test accuracy. They are of the arms in the
    setting of the latest trial, over the sparsities and seeds that all these arms have results of. Before the
    last trial they are provisional.
    """

    def __init__(
        self,
        study: str,
        total: int | None,
        earlier: Iterable[Mapping[str, Any]],
        console: Console,
        *,
        answer: Callable[[], str] | None = None,
    ) -> None:
        """Begin.

        Args:
            total: number of trials, finished ones among them; None: nobody knows yet.
            earlier: rows of `trials` of those that are finished.
            answer: gives the answer to a question so far, which is shown in place of means.
        """
        self._answer = answer
        self.study, self.total, self.console = study, total, console
        self.done = self.finished = self.failed = self.stopped = 0
        self.standings = Standings()
        self.started = time.monotonic()
        self.workers = 1
        self._costs: Mapping[str, float] = {}
        # Expected cost of the trials to run, and of the finished ones after the first; seconds of training.
        self._cost_to_run = self._cost_done = self._busy = 0.0
        # When the first trial started and the last one finished; when the first result arrived.
        self._began: datetime | None = None
        self._ended: datetime | None = None
        self._first: float | None = None
        self._printed = 0.0
        self._notebook: Callable[[str], None] | None = None
        self._live = Live(get_renderable=self._view, console=console, refresh_per_second=4, transient=True)
        for row in earlier:
            self._note(row)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        elif not self.console.quiet:
            self._notebook = notebook_line()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()
        self._tell()

    def begin(self, workers: int, costs: Mapping[str, float]) -> None:
        """Trials are about to run.

        Args:
            workers: trials at once.
            costs: trial_id → expected cost, in any unit.
        """
        self.workers, self._costs, self._cost_to_run = workers, costs, sum(costs.values())

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one trial that just finished."""
        self._note(row)
        now = time.monotonic()
        cost = self._costs.get(row["trial_id"], 0.0)
        self._cost_to_run -= cost
        # The pace is measured from the first result on: the time before includes the start of Ray.
        if self._first is None:
            self._first = now
        else:
            self._cost_done += cost
        self.finished += 1
        self._busy += sum(row.get(column) or 0.0 for column in _WORK)
        self._began = min(self._began or row["started_at"], row["started_at"])
        self._ended = max(self._ended or row["finished_at"], row["finished_at"])
        if not self.console.is_terminal and now - self._printed >= _SECONDS_BETWEEN_LINES:
            self._printed = now
            self._tell()

    def say(self, words: str) -> None:
        """Print a line about the launch itself."""
        self.console.out(f"{self.study}: {words}", highlight=False)

    def line(self) -> str:
        """How far the launch is, in one line."""
        of_total = "" if self.total is None else f" of {self.total}"
        parts = [f"{self.study}: {self.done}{of_total} trials"]
        if self._first is not None and self.finished > 1:
            elapsed = max(time.monotonic() - self._first, 1e-9)
            parts.append(f"{(self.finished - 1) / elapsed:.2f} trials/s")
            if self._goes_on and self._cost_done:
                parts.append(f"{duration(self._cost_to_run * elapsed / self._cost_done)} to go")
            parts.append(f"workers busy {self.utilisation():.0%}")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.stopped:
            parts.append(f"{self.stopped} stopped early")
        return ", ".join([*parts, f"{duration(time.monotonic() - self.started)} so far"])

    def utilisation(self) -> float:
        """Share of the workers' time, from the first trial to the last, that was work on networks."""
        if self._began is None or self._ended is None or self._ended == self._began:
            return 0.0
        return self._busy / (self.workers * (self._ended - self._began).total_seconds())

    def _tell(self) -> None:
        """Print how far the launch is; in a notebook in place of what it printed before."""
        if self._notebook:
            self._notebook(self.line() + self._means())
        else:
            self.console.out(self.line(), self._means(), sep="", highlight=False)

    @property
    def _goes_on(self) -> bool:
        return self.total is None or self.done < self.total

    def _means(self) -> str:
        if self._answer:
            answer = self._answer()
            return f"; {answer}" if answer else ""
        standing = self.standings.latest(_SHOWN)
        if standing is None:
            return ""
        means = ", ".join(f"{name} {mean:.3f}" for name, mean in standing.means.items())
        others = f", {_others(standing)}" if _others(standing) else ""
        return f"; {_heading(standing, running=self._goes_on)}: {means}{others}"

    def _note(self, row: Mapping[str, Any]) -> None:
        self.done += 1
        self.failed += row["status"] == "failed"
        self.stopped += row["status"] == "stopped"
        if not self._answer:
            self.standings.add(row)

    def _view(self) -> Group:
        parts: list[Table | Text] = []
        if self._answer:
            parts = [Text(self._answer())]
        elif standing := self.standings.latest(_SHOWN):
            table = Table("arm", "mean", box=None, padding=(0, 2))
            for name, mean in standing.means.items():
                table.add_row(name, f"{mean:.3f}")
            parts = [Text(f"{_heading(standing, running=self._goes_on)}:"), table]
            if others := _others(standing):
                parts.append(Text(f"  {others}"))
        # The bar comes last: it does not end its line.
        return Group(*parts, Text(self.line()), ProgressBar(total=self.total, completed=self.done))


def _heading(standing: Standing, *, running: bool) -> str:
    """What the means are of."""
    pairs = "1 pair" if standing.cells == 1 else f"{standing.cells} pairs"
    mean = "provisional mean" if running else "mean"
    shared = f"the {pairs} of sparsity and seed that all of these have"
    return f"{mean} validation accuracy over {shared} ({standing.setting})"


def _others(standing: Standing) -> str:
    """How many arms are not shown; empty if all are."""
    others = standing.arms - len(standing.means)
    return f"and {others:,} more" if others else ""


def notebook_line() -> Callable[[str], None] | None:
    """A function that shows a text in a notebook, in place of the text before; None: this is no notebook."""
    ipython = sys.modules.get("IPython")
    if not ipython or not hasattr(ipython.get_ipython(), "kernel"):
        return None
    handle = import_module("IPython.display").display({"text/plain": ""}, raw=True, display_id=True)

    def show(text: str) -> None:
        handle.update({"text/plain": text}, raw=True)

    return show


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 20 s, 5 h 10 min."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60:02d} min"
