"""Results of several places written into one: nothing is lost, each row is there once and says where from."""

import json
import os
from functools import partial

import pytest

import analysis
from analysis import diff, marking, merging
from analysis.__main__ import main
from sweep.errors import BadInput
from sweep.store import launches, results
from sweep.store.places import place
from sweep.store.schema import SCHEMAS
from tests import commands
from tests.analysis.conftest import LATER, trial
from tests.analysis.test_diff import entry
from tests.analysis.test_marking import FIRST
from tests.analysis.warehouse.test_union import write

pytestmark = pytest.mark.slow

run = partial(commands.run, main)


def note(folder, study, launch, hours, spec, **about):
    began = (FIRST + hours * LATER).isoformat()
    launches.note_launch(folder, study, spec, entry(launch, started_at=began), about)


@pytest.fixture
def two(tmp_path):
    """Two places with a study in common, of different text, and one study more in the second."""
    a, b = tmp_path / "a", tmp_path / "b"
    write(a / "made", "both", 0.7, later=1, seed=2, launch="la", code="new")
    write(a / "made", "of-a", 0.5, seed=0, launch="la")
    write(b / "made", "of-b", 0.6, seed=1, launch="lb")
    write(b / "made", "both", 0.6, seed=2, launch="lb", code="old")
    write(b / "other", "taken", 0.4, seed=3, study="other", source="results/first")
    note(a / "made", "made", "la", 1, "text of a", description="mine")
    note(b / "made", "made", "lb", 0, "text of b")
    note(b / "other", "other", "lo", 0, "another")
    return a, b


def every(folder, table="trials"):
    """All rows of a table, of all parts."""
    found = analysis.open(folder).execute(f"SELECT * EXCLUDE (filename, file_row_number) FROM all_{table}")
    return sorted(found.fetchall(), key=str)


def files(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and ".lock" not in path.name
    }


def test_all_rows_are_there_with_where_they_are_from(two, tmp_path):
    a, b = two
    before = files(a), files(b)
    said = run("merge", a, b, "--into", tmp_path / "c")
    assert said.returncode == 0 and "1 trial has another accuracy in another place" in said.stderr
    assert said.stdout.splitlines() == [
        f"made: from {a / 'made'} 2 rows of trials, 0 there already",
        f"made: from {b / 'made'} 2 rows of trials, 0 there already",
        f"other: from {b / 'other'} 1 row of trials, 0 there already",
    ]
    assert (files(a), files(b)) == before
    query = "SELECT trial_id, study, source, test_accuracy FROM all_trials ORDER BY ALL"
    assert analysis.open(tmp_path / "c").execute(query).fetchall() == [
        ("both", "made", str(a / "made"), 0.7),
        ("both", "made", str(b / "made"), 0.6),
        ("of-a", "made", str(a / "made"), 0.5),
        ("of-b", "made", str(b / "made"), 0.6),
        ("taken", "other", "results/first", 0.4),
    ]
    union, merged = analysis.open([a, b]), analysis.open(tmp_path / "c")
    for table in SCHEMAS:
        same = f"SELECT * {'EXCLUDE source' if table == 'trials' else ''} FROM {table}"
        rows = [sorted(each.execute(same).fetchall(), key=str) for each in (union, merged)]
        assert rows[0] == rows[1], table
    assert merged.execute("SELECT max(epoch) FROM curves WHERE trial_id = 'both'").fetchall() == [(2.0,)]


def test_launches_and_texts_of_all_places_are_kept(two, tmp_path):
    merging.merge(two, tmp_path / "c")
    known = json.loads((tmp_path / "c" / "made" / "study.json").read_text())
    assert (known["study"], known["spec"], known["description"]) == ("made", "text of a", "mine")
    assert [(each["launch"], each["spec"]) for each in known["launches"]] == [
        ("lb", "text of b"),
        ("la", "text of a"),
    ]
    assert launches.last(tmp_path / "c" / "made") == (FIRST + LATER, "text of a")
    answer = diff.diff(analysis.open(tmp_path / "c"), "la", "lb")
    assert answer.fields["code"] == {"code": ("new", "old")} and not answer.fields["versions"]
    # A later launch with another text replaces what stands beside the launches alone.
    note(tmp_path / "c" / "made", "made", "lc", 2, "text of c")
    note(two[1] / "made", "made", "ld", 3, "text of d")
    merging.merge(two, tmp_path / "c")
    known = json.loads((tmp_path / "c" / "made" / "study.json").read_text())
    assert [each["spec"][-1] for each in known["launches"]] == list("bacd") and known["spec"] == "text of d"


def test_merging_again_writes_nothing_and_later_rows_are_added(two, tmp_path):
    a, b = two
    marking.put([a], "invalid", "trial_id = 'of-a'")
    merging.merge(two, tmp_path / "c")
    before = files(tmp_path / "c")
    taken = merging.merge(two, tmp_path / "c")
    assert files(tmp_path / "c") == before
    assert not any(each.new or each.marks for some in taken.values() for each in some)
    write(a / "made", "later", 0.3, seed=7)
    merging.merge([a], tmp_path / "c")
    merging.merge([b], tmp_path / "c")
    assert len(every(tmp_path / "c")) == 6


def test_a_merge_into_a_folder_with_results_keeps_them(two, tmp_path):
    a, b = two
    own = every(a)
    merging.merge([b], a)
    assert all(row in every(a) for row in own) and len(every(a)) == 5
    query = "SELECT trial_id, source FROM trials ORDER BY ALL"
    assert analysis.open(a).execute(query).fetchall() == [
        ("both", None), ("of-a", None), ("of-b", str(b / "made")), ("taken", "results/first"),
    ]  # fmt: skip
    assert analysis.open(a).execute("SELECT max(epoch) FROM curves WHERE trial_id = 'both'").fetchall() == [
        (2.0,)
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_a_trial_that_is_invalid_in_one_place_is_the_other_places(two, tmp_path, order):
    a, b = two
    mark, _ = marking.put(a, "invalid", "trial_id = 'both'")
    marking.put(b, "paper", "trial_id = 'of-b'")
    for each in two[::order]:
        merging.merge([each], tmp_path / "c")
    merged = analysis.open(tmp_path / "c")
    found = merged.execute("SELECT source, test_accuracy FROM trials WHERE trial_id = 'both'").fetchall()
    assert found == [(str(b / "made"), 0.6)]
    assert results.finished(tmp_path / "c" / "made", ("test_accuracy",))["both"]["test_accuracy"] == 0.6
    if order == 1:  # a part of the first place was written before
        curves = merged.execute("SELECT epoch, test_accuracy FROM curves WHERE trial_id = 'both'").fetchall()
        assert (1.0, 0.6) in curves
    assert merged.execute("SELECT trial_id FROM trials WHERE tags = ['paper']").fetchall() == [("of-b",)]
    marking.take_back(tmp_path / "c", mark)
    found = analysis.open(tmp_path / "c").execute("SELECT test_accuracy FROM trials WHERE trial_id = 'both'")
    assert found.fetchall() == [(0.7,)]


def test_marks_of_the_merged_folder_are_of_the_rows_that_it_had(two, tmp_path):
    a, b = two
    merging.merge([a], tmp_path / "c")
    marking.put(tmp_path / "c", "invalid", "trial_id = 'both'")
    merging.merge([b], tmp_path / "c")
    found = analysis.open(tmp_path / "c").execute("SELECT test_accuracy FROM trials WHERE trial_id = 'both'")
    assert found.fetchall() == [(0.6,)]


def _merge_and_die(results_of, into, after):
    """End the process at once after a number of written parts."""
    count = 0
    real = results.write_part

    def part(*words):
        nonlocal count
        if count == after:
            os._exit(9)
        count += 1
        return real(*words)

    results.write_part = part
    merging.merge(results_of, into)


@pytest.mark.parametrize("after", range(4))
def test_a_merge_that_died_goes_on(two, tmp_path, after):
    marking.put(two[0], "paper", "trial_id = 'of-a'")
    if (pid := os.fork()) == 0:
        try:
            _merge_and_die(two, tmp_path / "c", after)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    merging.merge(two, tmp_path / "c")
    merging.merge(two, tmp_path / "whole")
    again, whole = (analysis.open(tmp_path / name) for name in ("c", "whole"))
    for table in SCHEMAS:
        rows = [each.execute(f"FROM {table} ORDER BY ALL").fetchall() for each in (again, whole)]
        assert rows[0] == rows[1], table
    texts = [(tmp_path / name / "made" / "study.json").read_text() for name in ("c", "whole")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("into", "says"),
    [("a", "in common"), ("a/new", "in common"), ("b/made", "the folder of one study"), (".", "in common")],
)
def test_a_folder_that_is_none_to_write_to_is_one_line(two, tmp_path, monkeypatch, into, says):
    monkeypatch.chdir(tmp_path)
    said = run("merge", "a", "b", "--into", into)
    assert said.returncode == 2 and says in said.stderr and said.stderr.count("\n") == 1


def test_what_is_damaged_or_locked_is_one_line_and_nothing_is_written(two, tmp_path):
    with results.lock(tmp_path / "c" / "made"), pytest.raises(BadInput, match="is being written by process"):
        merging.merge(two, tmp_path / "c")
    (two[1] / "made" / "study.json").write_text("{")
    with pytest.raises(BadInput, match=r"study\.json: damaged: move it away and merge again"):
        merging.merge(two, tmp_path / "c")
    assert not [*(tmp_path / "c").rglob("part-*")]


def test_the_folder_of_one_study_is_that_of_its_study_whatever_it_is_called(two, tmp_path):
    a, b = two
    copy = (a / "made").rename(tmp_path / "copy of it")
    merging.merge([copy, b / "made"], tmp_path / "c")
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["made"]
    assert len(analysis.open(tmp_path / "c").execute("FROM trials").fetchall()) == 3


def test_places_may_be_in_buckets(two, tmp_path, bucket):
    merging.merge(two, f"{bucket}/c")
    taken = merging.merge(two, f"{bucket}/c")
    assert not any(each.new for some in taken.values() for each in some)
    merging.merge([f"{bucket}/c"], tmp_path / "back")
    rows = [every(where) for where in (place(f"{bucket}/c"), tmp_path / "back")]
    assert rows[0] == rows[1] and len(rows[0]) == 5


def test_many_rows_of_early_results_without_times_are_merged_once(tmp_path):
    rows = [trial(f"t{number}", seed=number) | {"finished_at": None} for number in range(50)]
    results.write(tmp_path / "a" / "made", rows, [[]], [[]])
    for _ in range(2):
        merging.merge([tmp_path / "a"], tmp_path / "c")
    assert len(every(tmp_path / "c")) == 50
