import io

import pytest
from rich.console import Console

from sweep.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (18_600, "5 h 10 min")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def row(criterion="snip", status="ok", accuracy=0.5, sparsity=0.9):
    return {
        "criterion": criterion,
        "scope": "global",
        "status": status,
        "val_accuracy": accuracy,
        "sparsity": sparsity,
    }


def test_plain_lines_count_trials_and_failures():
    out = io.StringIO()
    with Progress("small", 4, [row()], Console(file=out, width=120)) as progress:
        progress.add(row(status="failed", accuracy=None))
        progress.add(row())
    assert progress.line().startswith("small: 3 of 4 trials, ")
    assert "1 failed" in out.getvalue() and "to go" in out.getvalue()


def test_the_live_view_shows_the_best_validation_accuracy_of_each_criterion():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Progress("small", 4, [row(accuracy=0.7, sparsity=0.8)], console) as progress:
        for accuracy in (0.6, 0.9, 0.4):
            progress.add(row("force", accuracy=accuracy, sparsity=0.95))
        with console.capture() as shown:
            console.print(progress._view())
    assert "best validation accuracy" in shown.get()
    assert "0.900" in shown.get() and "0.95" in shown.get() and "0.700" in shown.get()
    assert "0.600" not in shown.get()
