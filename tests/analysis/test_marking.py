"""Marks of trials from the command line: what they leave out of answers, tags, and the way back."""

from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from analysis import marking
from analysis.__main__ import main
from sweep.errors import BadInput
from sweep.store import launches, results
from sweep.store.places import place
from tests import commands
from tests.analysis.conftest import LATER, trial

run = partial(commands.run, main)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def every_row(folder):
    connection = analysis.open(folder)
    return {
        table: sorted(connection.execute(f"FROM {table}").fetchall(), key=str)
        for table in ("trials", "curves", "layers", "metrics", "settings")
    }


def with_rows_of_all_tables(made):
    """Another trial, with a curve, a layer and a metric."""
    curve = {"trial_id": "full", "phase": "retrain", "epoch": 1.0, "train_loss": 0.1}
    layer = {"trial_id": "full", "layer": 0, "name": "a"}
    metric = {"trial_id": "full", "name": "ece", "split": "test", "value": 0.1, "higher_is_better": False}
    results.write(made, [trial("full", seed=7, test_accuracy=0.5)], [[curve]], [[layer]], [[metric]])


@pytest.mark.slow
@pytest.mark.parametrize("of_all", [False, True])
def test_invalid_trials_are_in_no_view_and_counted_on_stderr(made, of_all):
    with_rows_of_all_tables(made)
    folder = made.parent if of_all else made
    before = every_row(folder)
    said = run("mark", "--results", folder, "--where", "seed = 7", "--as", "invalid", "--note", "bad node")
    assert said.returncode == 0 and "1 trial as invalid" in said.stdout
    after = every_row(folder)
    assert len(after["trials"]) == len(before["trials"]) - 1
    assert not after["curves"] and not after["layers"] and not after["metrics"]
    answer = run("accuracy", "--results", folder)
    assert "1 trial is left out as invalid" in answer.stderr
    assert "invalid" not in run("accuracy", "--results", folder, "--where", "seed < 3").stderr
    assert run("mark", "--results", folder, "--undo", said.stdout.split()[1][:-1]).returncode == 0
    assert every_row(folder) == before


@pytest.mark.slow
def test_a_thousand_marks_taken_back_leave_the_views_as_they_were(made):
    results.write(made, [trial(f"{n}", seed=n, test_accuracy=0.5) for n in range(10, 1010)], [[]], [[]])
    before = every_row(made)
    mark, count = marking.put(str(made), "odd", "seed >= 10")
    assert count == 1000
    marking.put(str(made), "invalid", "seed >= 10")
    assert len(every_row(made)["trials"]) == len(before["trials"]) - 1000
    assert marking.take_back_where(str(made), "invalid", "seed >= 10") == 1000
    assert marking.take_back(str(made), mark) == 1000
    assert every_row(made) == before
    assert [(row["tag"], row["trials"], row["undone"]) for row in marking.listed(str(made))] == [
        ("odd", 1000, 1000),
        ("invalid", 1000, 1000),
    ]


@pytest.mark.slow
def test_a_run_later_than_the_mark_counts_with_its_own_curves(made):
    with_rows_of_all_tables(made)
    marking.put(str(made), "invalid", "trial_id = 'full'")
    curve = {"trial_id": "full", "phase": "retrain", "epoch": 1.0, "train_loss": 0.2}
    again = trial("full", seed=7, test_accuracy=0.6, finished_at=FIRST + LATER)
    results.write(made, [again], [[curve]], [[]])
    connection = analysis.open(made)
    found = connection.execute("SELECT test_accuracy FROM trials WHERE trial_id = 'full'").fetchall()
    assert found == [(0.6,)]
    assert connection.execute("SELECT train_loss FROM curves").fetchall() == [(0.2,)]
    marking.put(str(made), "invalid", "trial_id = 'full'")
    assert not analysis.open(made).execute("FROM trials WHERE trial_id = 'full'").fetchall()


@pytest.mark.slow
def test_a_tag_stays_with_a_trial_that_is_run_again(made, add):
    marking.put(str(made), "paper", "seed = 1 AND criterion = 'snip'")
    marking.put(str(made), "a paper", "seed = 1 AND sparsity = 0.9 AND criterion = 'snip'")
    add(trial("snip-global-0.9-1", seed=1, test_accuracy=0.1, finished_at=FIRST + LATER))
    connection = analysis.open(made, where="list_contains(tags, 'paper')")
    found = connection.execute("SELECT sparsity, tags FROM trials ORDER BY sparsity").fetchall()
    assert len(found) == 5 and found[1] == (0.9, ["a paper", "paper"]) and found[0] == (0.8, ["paper"])
    untagged = analysis.open(made).execute("SELECT count(*) FROM trials WHERE tags = []").fetchall()
    assert untagged == [(40,)]


@pytest.mark.slow
def test_a_trial_of_two_studies_is_marked_beside_both(made):
    other = made.parent / "other"
    shared = trial("snip-global-0.9-1", seed=1, study="other", finished_at=FIRST + LATER)
    results.write(other, [shared], [[]], [[]])
    marking.put(str(made.parent), "invalid", "trial_id = 'snip-global-0.9-1'")
    assert not results.finished(other) and "snip-global-0.9-1" not in results.finished(made)
    assert [row["trials"] for row in marking.listed(str(made.parent))] == [1]


def test_a_column_of_tags_that_another_tool_wrote_is_not_the_tags(made):
    [part] = (made / "trials").glob("part-*")
    rows = pq.read_table(part)
    pq.write_table(rows.append_column("Tags", pa.array(["mine"] * len(rows))), part)
    assert analysis.open(made).execute("SELECT DISTINCT tags FROM trials").fetchall() == [([],)]


@pytest.mark.parametrize(
    "words",
    [
        ("--where", "seed = 99", "--as", "x"),
        ("--where", "nonsense", "--as", "x"),
        ("--where", "seed = 1", "--as", "two\nlines"),
        ("--where", "seed = 1"),
        ("--as", "invalid"),
        ("--undo", "12345678"),
        ("--undo", "--where", "seed = 1", "--as", "x"),
        ("12345678",),
    ],
)
def test_what_cannot_be_marked_is_said_in_one_line_and_leaves_nothing(made, words):
    answer = run("mark", "--results", made, *words)
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1
    assert not (made / "marks").exists()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_one_line(made, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(results, "put", refuse)
    with pytest.raises(BadInput, match="Permission denied"):
        marking.put(str(made), "invalid", "seed = 1")


@pytest.mark.slow
def test_marks_are_listed_with_note_and_author(made):
    run("mark", "--results", made, "--where", "seed = 1", "--as", "odd", "--note", "from\x1b[31m node 3")
    shown = run("marks", "--results", made).stdout
    assert "odd" in shown and "node 3" in shown and "\x1b" not in shown and "@" in shown
    assert run("marks", "--results", made, "--format", "csv").stdout.startswith("mark,tag,trials,undone,")


@pytest.mark.slow
@pytest.mark.parametrize("of_all", [False, True])
def test_marks_lie_in_an_object_store_beside_the_results(bucket, of_all):
    folder = place(f"{bucket}/results") / "made"
    rows = [trial(f"{seed}", seed=seed, test_accuracy=0.5) for seed in range(3)]
    results.write(folder, rows, [[]], [[]])
    launches.note_launch(folder, "made", "", {})
    opened = str(folder.parent if of_all else folder)
    mark, _ = marking.put(opened, "invalid", "seed = 1")
    assert set(results.finished(folder)) == {"0", "2"}
    assert analysis.open(opened).execute("SELECT count(*) FROM trials").fetchall() == [(2,)]
    assert marking.take_back(opened, mark) == 1
    assert analysis.open(opened).execute("SELECT count(*) FROM trials").fetchall() == [(3,)]
