import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from sweep.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (18_600, "5 h 10 min")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def row(criterion="snip", status="ok", accuracy=0.5, name="a", begins=0.0, seconds=8.0):
    """A trial that took ten seconds, so many of them training, begun so many after noon."""
    return {
        "trial_id": name,
        "criterion": criterion,
        "scope": "global",
        "status": status,
        "val_accuracy": accuracy,
        "train_seconds": seconds if status == "ok" else None,
        "score_seconds": 1.0 if status == "ok" else None,
        "started_at": NOON + timedelta(seconds=begins),
        "finished_at": NOON + timedelta(seconds=begins + 10),
    }


def test_plain_lines_count_trials_and_failures():
    out = io.StringIO()
    with Progress("small", 4, [row()], Console(file=out, width=120)) as progress:
        progress.begin(1, dict.fromkeys("abc", 1.0))
        progress.add(row(status="failed", accuracy=None))
        progress.add(row(name="b"))
    assert progress.line().startswith("small: 3 of 4 trials, ")
    assert "1 failed" in out.getvalue() and "to go" in out.getvalue()


def test_what_is_left_is_told_from_what_trials_are_expected_to_cost(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sweep.progress.time.monotonic", lambda: now[0])
    progress = Progress("small", 4, [], Console(file=io.StringIO(), width=120))
    progress.begin(2, {"a": 1.0, "b": 10.0, "c": 10.0, "d": 90.0})
    for name in "abc":
        progress.add(row(name=name))
        now[0] += 10
    # The first says nothing of the pace: 20 have taken 30 seconds, and 90 are left.
    assert "2 min 15 s to go" in progress.line()


def test_utilisation_is_the_share_of_the_workers_time_that_was_training_and_scoring():
    progress = Progress("small", 4, [], Console(file=io.StringIO(), width=120))
    progress.begin(2, {})
    for begins in (0, 0, 10):
        progress.add(row(begins=begins))
    assert progress.utilisation() == 3 * 9 / (2 * 20)


def test_the_live_view_shows_the_mean_validation_accuracy_of_each_criterion():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Progress("small", 4, [row(accuracy=0.7)], console) as progress:
        for accuracy in (0.6, 0.9, 0.45):
            progress.add(row("force", accuracy=accuracy))
        with console.capture() as shown:
            console.print(progress._view())
    assert "mean validation accuracy" in shown.get()
    assert "0.650" in shown.get() and "0.700" in shown.get()
