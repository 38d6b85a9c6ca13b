"""What a launch shows while it runs: a live view in a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts finished trials and shows how far the launch is.

    `best` is the best validation accuracy so far; test accuracy is not for watching.
    """

    def __init__(
        self, study: str, total: int, earlier: Iterable[Mapping[str, Any]], console: Console
    ) -> None:
        self.study, self.total, self.console = study, total, console
        self.done = self.finished = self.failed = 0
        self.best: dict[tuple[str, str], tuple[float, float]] = {}
        self.started = time.monotonic()
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
        self.console.out(self.line(), self._best(), sep="", highlight=False)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one trial that just finished."""
        self._note(row)
        now = time.monotonic()
        self._first = self._first or now
        self.finished += 1
        if not self.console.is_terminal and now - self._printed >= _SECONDS_BETWEEN_LINES:
            self._printed = now
            self.console.out(self.line(), self._best(), sep="", highlight=False)

    def line(self) -> str:
        """Where things stand, in one line."""
        parts = [f"{self.study}: {self.done} of {self.total} trials"]
        if rate := self._rate():
            parts.append(f"{rate:.2f}/s")
            if self.done < self.total:
                parts.append(f"{duration((self.total - self.done) / rate)} to go")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join([*parts, f"{duration(time.monotonic() - self.started)} so far"])

    def _best(self) -> str:
        best = (
            f"{criterion} {scope} {best:.3f}" for (criterion, scope), (best, _) in sorted(self.best.items())
        )
        return "; best validation accuracy: " + ", ".join(best) if self.best else ""

    def _note(self, row: Mapping[str, Any]) -> None:
        self.done += 1
        self.failed += row["status"] == "failed"
        accuracy = row.get("val_accuracy")
        key = row["criterion"], row["scope"]
        if accuracy is not None and accuracy > self.best.get(key, (0.0, 0.0))[0]:
            self.best[key] = accuracy, row["sparsity"]

    def _rate(self) -> float | None:
        """Trials a second since the first one arrived; starting up does not count."""
        if self._first is None or self.finished < 2:
            return None
        return (self.finished - 1) / max(time.monotonic() - self._first, 1e-9)

    def _view(self) -> Group:
        table = Table(
            "criterion", "scope", "best validation accuracy", "at sparsity", box=None, padding=(0, 2)
        )
        for (criterion, scope), (accuracy, sparsity) in sorted(self.best.items()):
            table.add_row(criterion, scope, f"{accuracy:.3f}", f"{sparsity:g}")
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
