import io
import json
from datetime import UTC, datetime, timedelta
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweep.arms import listed, place
from sweep.engine.progress import Progress, duration
from sweep.engine.standings import Standings


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (18_600, "5 h 10 min")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_places_and_schedules_read_as_people_say_them():
    assert place({"dataset": "digits", "epochs": 1}) == "digits, 1 epoch"
    assert place({"dataset": "digits", "steps": 200}) == "digits, 200 steps"
    assert listed({"criterion": "snip", "lr": 0.1155430951647376}) == "criterion=snip lr=0.1155"


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def row(
    criterion="snip",
    status="ok",
    accuracy=0.5,
    name="a",
    begins=0.0,
    seconds=8.0,
    sparsity=0.9,
    seed=0,
    **more,
):
    """A trial that took ten seconds, so many of them training, begun so many after noon."""
    config = {"dataset": "digits", "model": "conv-5", "epochs": 2, "prune_epoch": 0, "scope": "global"}
    return {
        "trial_id": name,
        "arm": json.dumps({**config, "criterion": criterion, **more}),
        "criterion": criterion,
        "sparsity": sparsity,
        "seed": seed,
        "status": status,
        "val_accuracy": accuracy,
        "train_seconds": seconds if status == "ok" else None,
        "score_seconds": 0.75 if status == "ok" else None,
        "evaluate_seconds": 0.25 if status == "ok" else None,
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
    monkeypatch.setattr("sweep.engine.progress.time.monotonic", lambda: now[0])
    progress = Progress("small", 4, [], Console(file=io.StringIO(), width=120))
    progress.begin(2, {"a": 1.0, "b": 10.0, "c": 10.0, "d": 90.0})
    for name in "abc":
        progress.add(row(name=name))
        now[0] += 10
    # The first says nothing of the pace: 20 have taken 30 seconds, and 90 are left.
    assert "2 min 15 s to go" in progress.line()


def test_utilisation_is_the_share_of_the_workers_time_that_was_training_scoring_and_evaluation():
    progress = Progress("small", 4, [], Console(file=io.StringIO(), width=120))
    progress.begin(2, {})
    for begins in (0, 0, 10):
        progress.add(row(begins=begins))
    assert progress.utilisation() == 3 * 9 / (2 * 20)


def shown(rows):
    """What the live view and the plain line say."""
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with Progress("small", 40, [], console) as progress:
        for each in rows:
            progress.add(each)
        with console.capture() as live:
            console.print(progress._view())
        return live.get(), progress._means()


def test_means_are_over_what_all_arms_have_and_marked_provisional():
    """FORCE's easy sparsity came first: over all that is done it would lead with 0.95 against 0.75."""
    rows = [row("snip", sparsity=s, accuracy=a) for s, a in ((0.8, 0.96), (0.9, 0.94), (0.99, 0.35))]
    live, plain = shown([*rows, row("force", iterations=20, sparsity=0.8, accuracy=0.95)])
    said = "mean validation accuracy over the 1 pair of sparsity and seed that all of these have "
    where = "(digits, conv-5, 2 epochs, pruned at epoch 0)"
    assert plain == f"; provisional {said}{where}: snip 0.960, force T=20 0.950"
    assert f"provisional {said}{where}" in live and live.index("0.960") < live.index("0.950")


def test_once_all_trials_have_ended_their_mean_is_no_longer_provisional():
    progress = Progress("small", 2, [], Console(file=io.StringIO(), width=200))
    progress.add(row(seed=0))
    assert progress._means().startswith("; provisional mean validation accuracy over the 1 pair ")
    progress.add(row(seed=1))
    assert progress._means().startswith("; mean validation accuracy over the 2 pairs ")


def test_arms_that_share_nothing_yet_have_no_mean():
    live, plain = shown([row("snip", sparsity=0.8), row("force", sparsity=0.9)])
    assert plain == "" and "mean" not in live


def test_settings_and_arms_of_one_short_name_are_kept_apart():
    """The setting is that of the latest trial; dense networks are no arm of it."""
    rows = [
        row("snip", accuracy=0.9, lr=0.1),
        row("snip", accuracy=0.2, lr=0.3, score_batches=1),
        row("dense", accuracy=0.99, lr=0.3, sparsity=0.0),
        row("snip", accuracy=0.4, lr=0.3, score_batches=4),
        row("force", status="failed", accuracy=None, lr=0.3),
    ]
    assert shown(rows)[1].endswith(": snip score_batches=4 0.400, snip score_batches=1 0.200")


def test_an_arm_that_leaves_a_later_field_at_its_default_is_named_by_the_default():
    rows = [row("snip", accuracy=0.9), row("snip", accuracy=0.2, unit_score="mean")]
    assert shown(rows)[1].endswith(": snip unit_score=sum 0.900, snip unit_score=mean 0.200")


def test_of_many_arms_the_best_are_shown():
    live, plain = shown([row("oracle", accuracy=i / 50, combination=i) for i in range(20)])
    assert plain.count("combination=") == live.count("combination=") == 8
    assert "combination=19 0.380" in plain and plain.endswith(", and 12 more") and "and 12 more" in live


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 100)), max_size=40))
def test_means_are_those_of_all_results_at_once(found):
    """Whatever the order, in which arms and cells come."""
    standings, known = Standings(), {}
    for arm, seed, accuracy in found:
        if (arm, seed) in known:
            continue
        known[arm, seed] = accuracy / 100
        standings.add(row(f"c{arm}", seed=seed, accuracy=accuracy / 100))
        arms, seeds = ({key[i] for key in known} for i in (0, 1))
        cells = [s for s in seeds if all((a, s) in known for a in arms)]
        standing = standings.latest(9)
        if not cells:
            assert standing is None
            continue
        expected = {f"c{a}": fmean(known[a, s] for s in cells) for a in arms}
        assert standing.means == pytest.approx(expected)
        assert (standing.cells, standing.arms) == (len(cells), len(arms))


def test_a_question_shows_its_answer_so_far_and_no_number_that_nobody_knows():
    out = io.StringIO()
    known = ({"status": "ok"} for _ in range(3))
    with Progress("ask", None, known, Console(file=out, width=200), answer=lambda: "certain") as progress:
        progress.begin(1, {})
        progress.add(row())
    assert progress.line().startswith("ask: 4 trials, ") and "of" not in progress.line().partition(",")[0]
    assert "; certain" in out.getvalue() and "mean validation accuracy" not in out.getvalue()
