"""Several places of results as one: whose row of a trial counts, where it is from, and what is said of it."""

from functools import partial

import pyarrow as pa
import pyarrow.fs
import pytest

import analysis
from analysis import diff, marking
from analysis.__main__ import main
from analysis.warehouse import unfinished
from sweep.errors import BadInput
from sweep.store import launches, results
from sweep.store.places import place
from tests import commands
from tests.analysis.conftest import LATER, trial
from tests.analysis.test_marking import FIRST

pytestmark = pytest.mark.slow

run = partial(commands.run, main)


def write(folder, name, accuracy, *, later=0, **columns):
    """A result of a trial with a curve that says the same accuracy."""
    row = trial(name, test_accuracy=accuracy, finished_at=FIRST + later * LATER, **columns)
    curves = [
        {"trial_id": name, "phase": "retrain", "epoch": float(epoch), "test_accuracy": accuracy}
        for epoch in range(1, 2 + later)
    ]
    results.write(folder, [row], [curves], [[]])


@pytest.fixture
def two(tmp_path):
    """Two places: one trial in each alone, and one in both, which is later and longer in the first."""
    write(tmp_path / "a" / "made", "both", 0.7, later=1, seed=2, code="new")
    write(tmp_path / "a" / "made", "of-a", 0.5, seed=0)
    write(tmp_path / "b" / "made", "of-b", 0.6, seed=1)
    write(tmp_path / "b" / "made", "both", 0.6, seed=2, code="old")
    return tmp_path / "a", tmp_path / "b"


def shown(*places, **narrowed):
    query = "SELECT trial_id, source, test_accuracy FROM trials ORDER BY trial_id"
    return analysis.open(places, **narrowed).execute(query).fetchall()


def test_each_trial_is_there_once_with_the_place_that_it_is_from(two, capsys):
    a, b = map(str, two)
    expected = [("both", a, 0.7), ("of-a", a, 0.5), ("of-b", b, 0.6)]
    assert shown(*two) == expected and shown(*two[::-1]) == expected
    assert shown(a, b, a) == expected
    assert shown(*two, where=f"source = '{b}'") == [("of-b", b, 0.6)]
    assert shown(a) == [("both", None, 0.7), ("of-a", None, 0.5)]
    write(two[1] / "made", "failed", None, status="failed", seed=5)
    write(two[0] / "made", "failed", 0.1, seed=5)
    assert ("failed", a, 0.1) in shown(*two)


def test_curves_are_of_the_row_that_counts(two):
    curves = analysis.open(two).execute("SELECT epoch, test_accuracy FROM curves WHERE trial_id = 'both'")
    # The part of the second place was written last.
    assert sorted(curves.fetchall()) == [(1.0, 0.7), (2.0, 0.7)]


def test_accuracies_that_disagree_are_counted_in_one_line_which_says_how_to_see_them(two):
    a, b = two
    words = ("--results", a, "--results", b)
    said = run("sql", "SELECT count(*) FROM trials", *words)
    assert said.stderr == (
        "1 trial has another accuracy in another place, and the latest counts: "
        f'python -m analysis sql "FROM disagreements" --results {a} --results {b}\n'
    )
    seen = analysis.open(two).execute("SELECT trial_id, source, test_accuracy, code FROM disagreements")
    assert seen.fetchall() == [("both", str(a), 0.7, "new"), ("both", str(b), 0.6, "old")]
    assert not run("sql", "FROM trials", *words, "--where", "seed < 2").stderr
    answer = diff.diff(analysis.open(two), str(a), str(b))
    assert answer.fields["code"] == {"code": ("new", "old")}
    marking.put(str(a), "invalid", "trial_id = 'both'")
    assert not run("sql", "FROM trials", *words).stderr


def test_marks_of_a_place_are_of_its_rows(two):
    a, b = map(str, two)
    marking.put(a, "invalid", "trial_id = 'both'")
    assert ("both", b, 0.6) in shown(a, b)
    curves = analysis.open(two).execute("SELECT epoch, test_accuracy FROM curves WHERE trial_id = 'both'")
    assert curves.fetchall() == [(1.0, 0.6)]
    marking.put(b, "invalid", "trial_id = 'both'")
    said = run("sql", "SELECT count(*) AS n FROM trials", "--results", a, "--results", b, "--format", "csv")
    assert said.stdout.split() == ["n", "2"] and "1 trial is left out as invalid" in said.stderr
    assert analysis.open(two).execute("FROM curves WHERE trial_id = 'both'").fetchall() == []


def test_marks_are_put_listed_and_taken_back_in_every_place(two):
    before = shown(*two)
    mark, count = marking.put(two, "invalid", "trial_id IN ('both', 'of-b')")
    assert count == 2 and shown(*two) == [("of-a", str(two[0]), 0.5)]
    assert [(each["mark"], each["trials"]) for each in marking.listed(two)] == [(mark, 2)]
    assert marking.listed(two[0])[0]["trials"] == 1
    assert marking.take_back(two, mark) == 2 and shown(*two) == before


def test_every_command_takes_several_places(two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--results", "a", "--results", "b")
    for command in (
        ("views",),
        ("accuracy",),
        ("marks",),
        ("export", "x.csv"),
        ("report",),
        ("diff", "a", "b"),
    ):
        assert run(*command, *words).returncode == 0, command
    assert "of-a" in (tmp_path / "x.csv").read_text() and "of-b" in (tmp_path / "x.csv").read_text()
    assert (tmp_path / "report.html").exists()
    assert run("mark", *words, "--where", "seed = 1", "--as", "paper").returncode == 0
    query = "SELECT trial_id FROM trials WHERE list_contains(tags, 'paper')"
    assert analysis.open(two).execute(query).fetchall() == [("of-b",)]


@pytest.mark.parametrize("place", ["missing", "empty", "file", "a/made", "."])
def test_a_place_that_is_none_is_one_line(two, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    said = run("accuracy", "--results", "a", "--results", place)
    assert said.returncode == 2 and said.stderr.count("\n") == 1 and place in said.stderr


def test_no_place_is_one_line():
    with pytest.raises(BadInput, match="no results are named"):
        analysis.open([])


def test_a_study_that_one_of_the_places_misses_trials_of_is_unfinished(two):
    entry = {"launch": "1", "trials": 5, "started_at": (FIRST - LATER).isoformat()}
    launches.note_launch(two[0] / "made", "made", "", entry | {"to_run": 2})
    launches.note_launch(two[1] / "made", "made", "", entry | {"to_run": 5})
    assert unfinished(analysis.open(two)) == unfinished(analysis.open(two[1])) == {"made": (2, 5)}
    assert unfinished(analysis.open(two[0])) == {}


def test_damaged_parts_of_a_place_are_left_aside_and_the_others_read(two, capfd):
    part = two[1] / "made" / "trials" / "part-0.parquet"
    part.write_bytes(b"PAR1")
    assert len(shown(*two)) == 3
    assert str(part) in capfd.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_folder_and_two_buckets_are_one(two, bucket, monkeypatch, in_memory):
    monkeypatch.setattr("analysis.warehouse.views._FETCHED", 10**9 if in_memory else 0)
    uris = f"{bucket}/one", f"{bucket}/two"
    for folder, uri in zip(two, uris, strict=True):
        remote = place(uri)
        pa.fs.copy_files(str(folder), remote.path, destination_filesystem=remote.store)
    assert shown(*uris) == [("both", uris[0], 0.7), ("of-a", uris[0], 0.5), ("of-b", uris[1], 0.6)]
    write(two[0] / "made", "of-folder", 0.1, seed=9)
    assert {source for _, source, _ in shown(two[0], *uris)} == {str(two[0]), uris[1]}
    if not in_memory:  # which takes many requests a query; the order of places and marks know nothing of it
        return
    assert {source for _, source, _ in shown(*uris, two[0])} == {uris[0], uris[1], str(two[0])}
    marking.put(uris, "invalid", "trial_id = 'both'")
    assert [name for name, *_ in shown(*uris)] == ["of-a", "of-b"]
