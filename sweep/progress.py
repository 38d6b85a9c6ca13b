"""What a launch shows while it runs: a live view in a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_SECONDS_BETWEEN_LINES = 5.0


@dataclass
class _Mean:
    """Validation accuracies of one criterion and scope."""

    total: float = 0.0
    count: int = 0

    @property
    def value(self) -> float:
        return self.total / self.count


class Progress:
    """Counts finished trials and shows how far the launch is.

    Means are of validation accuracy, over all sparsities and seeds so far; test accuracy is not for watching.
    """

    def __init__(
        self, study: str, total: int, earlier: Iterable[Mapping[str, Any]], console: Console
    ) -> None:
        self.study, self.total, self.console = study, total, console
        self.done = self.finished = self.failed = self.stopped = 0
        self.means: dict[tuple[str, str], _Mean] = {}
        self.started = time.monotonic()
        self.workers = 1
        self._costs: Mapping[str, float] = {}
        self._left = self._spent = self._busy = 0.0
        self._from: datetime | None = None
        self._to: datetime | None = None
        self._first: float | None = None
        self._printed = 0.0
        self._live = Live(get_renderable=self._view, console=console, refresh_per_second=4, transient=True)
        for row in earlier:
            self._note(row)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()
        self.console.out(self.line(), self._means(), sep="", highlight=False)

    def begin(self, workers: int, costs: Mapping[str, float]) -> None:
        """Trials are about to run.

        Args:
            costs: trial_id → what it is expected to take, in any unit.
        """
        self.workers, self._costs, self._left = workers, costs, sum(costs.values())

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one trial that just finished."""
        self._note(row)
        now = time.monotonic()
        cost = self._costs.get(row["trial_id"], 0.0)
        self._left -= cost
        # Starting up is over with the first result, which says nothing of the pace yet.
        if self._first is None:
            self._first = now
        else:
            self._spent += cost
        self.finished += 1
        self._busy += sum(row.get(column) or 0.0 for column in ("train_seconds", "score_seconds"))
        self._from = min(self._from or row["started_at"], row["started_at"])
        self._to = max(self._to or row["finished_at"], row["finished_at"])
        if not self.console.is_terminal and now - self._printed >= _SECONDS_BETWEEN_LINES:
            self._printed = now
            self.console.out(self.line(), self._means(), sep="", highlight=False)

    def say(self, words: str) -> None:
        """A line about the launch itself."""
        self.console.out(f"{self.study}: {words}", highlight=False)

    def line(self) -> str:
        """Where things stand, in one line."""
        parts = [f"{self.study}: {self.done} of {self.total} trials"]
        if self._first is not None and self.finished > 1:
            passed = max(time.monotonic() - self._first, 1e-9)
            parts.append(f"{(self.finished - 1) / passed:.2f}/s")
            if self.done < self.total and self._spent:
                parts.append(f"{duration(self._left * passed / self._spent)} to go")
            parts.append(f"{self.utilisation():.0%} of worker time training")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.stopped:
            parts.append(f"{self.stopped} stopped early")
        return ", ".join([*parts, f"{duration(time.monotonic() - self.started)} so far"])

    def utilisation(self) -> float:
        """Share of the workers' time, from the first trial to the last, that was training and scoring."""
        if self._from is None or self._to is None or self._to == self._from:
            return 0.0
        return self._busy / (self.workers * (self._to - self._from).total_seconds())

    def _means(self) -> str:
        means = (
            f"{criterion} {scope} {mean.value:.3f}" for (criterion, scope), mean in sorted(self.means.items())
        )
        return "; mean validation accuracy: " + ", ".join(means) if self.means else ""

    def _note(self, row: Mapping[str, Any]) -> None:
        self.done += 1
        self.failed += row["status"] == "failed"
        self.stopped += row["status"] == "stopped"
        if (accuracy := row.get("val_accuracy")) is not None:
            mean = self.means.setdefault((row["criterion"], row["scope"]), _Mean())
            mean.total, mean.count = mean.total + accuracy, mean.count + 1

    def _view(self) -> Group:
        table = Table("criterion", "scope", "trials", "mean validation accuracy", box=None, padding=(0, 2))
        for (criterion, scope), mean in sorted(self.means.items()):
            table.add_row(criterion, scope, str(mean.count), f"{mean.value:.3f}")
        # The bar comes last: it does not end its line.
        return Group(table, Text(self.line()), ProgressBar(total=self.total, completed=self.done))


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 20 s, 5 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
