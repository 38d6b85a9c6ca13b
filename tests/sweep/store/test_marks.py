"""Marks on disk: what they hold, and what launches make of trials that are marked as invalid."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep.store import compaction, marks, parts, results
from sweep.store.schema import MARKS
from tests.sweep.store.test_results import rows

BEFORE = datetime(2026, 1, 1, tzinfo=UTC)


def run(folder, name, *, hours=0, status="ok"):
    trial, *others = rows(name, status)
    when = BEFORE + timedelta(hours=hours)
    results.write(folder, *zip((trial | {"finished_at": when}, *others), strict=True))


def mark(folder, trial, tag=marks.INVALID, *, until=BEFORE, name="m", undone=False):
    row = {
        "mark": name, "trial_id": trial, "tag": tag, "note": "", "until": until, "who": "me",
        "marked_at": BEFORE, "undone": undone,
    }  # fmt: skip
    results.write_part(folder, "marks", pa.Table.from_pylist([row], schema=MARKS))


def test_an_invalid_trial_has_no_result_until_it_has_a_later_one(tmp_path):
    folder = tmp_path / "s"
    for name in ("a", "b"):
        run(folder, name)
    mark(folder, "a")
    assert set(results.finished(folder)) == set(results.measured(tmp_path)) == {"b"}
    run(folder, "a", hours=1, status="failed")
    assert results.finished(folder)["a"]["status"] == "failed"
    run(folder, "a", hours=2)
    assert results.finished(folder)["a"]["status"] == "ok"


def test_a_mark_that_is_taken_back_leaves_the_trial_as_it_was(tmp_path):
    run(tmp_path, "a")
    mark(tmp_path, "a")
    mark(tmp_path, "a", undone=True)
    assert set(results.finished(tmp_path)) == {"a"}
    mark(tmp_path, "a", name="another")
    assert not results.finished(tmp_path)


def test_rows_without_a_time_are_older_than_any_row_with_one(tmp_path):
    trial, *others = rows("a")
    results.write(tmp_path, *zip((trial | {"finished_at": None}, *others), strict=True))
    mark(tmp_path, "a", until=None)
    assert not results.finished(tmp_path)
    run(tmp_path, "a")
    assert set(results.finished(tmp_path)) == {"a"}


@pytest.mark.parametrize("undone", [False, True])
def test_compaction_keeps_marks_and_a_trial_with_and_without_its_mark(tmp_path, monkeypatch, undone):
    """After a failed second run the first result must still be there once the mark is taken back."""
    monkeypatch.setattr(compaction, "_MANY_PARTS", 1)
    run(tmp_path, "a")
    mark(tmp_path, "a")
    mark(tmp_path, "b", tag="fine")
    run(tmp_path, "a", hours=1, status="failed")
    run(tmp_path, "a", hours=2, status="failed")
    compaction.compact(tmp_path)
    [part] = (tmp_path / "trials").glob("part-*")
    assert pq.read_table(part).num_rows == 2
    assert len([*(tmp_path / "marks").glob("part-*")]) == 1
    if undone:
        mark(tmp_path, "a", undone=True)
        compaction.compact(tmp_path)
    assert results.finished(tmp_path)["a"]["status"] == ("ok" if undone else "failed")


def test_unsound_marks_of_others_are_counted_and_left_aside(tmp_path, capsys):
    run(tmp_path, "a")
    good = {
        "mark": "m",
        "trial_id": "a",
        "tag": "invalid",
        "until": BEFORE,
        "marked_at": BEFORE,
        "undone": False,
    }
    bad = ({"tag": None}, {"tag": "two\nlines"}, {"tag": "x" * 101}, {"marked_at": None}, {"mark": None})
    table = pa.Table.from_pylist([good | change for change in bad], schema=MARKS)
    results.write_part(tmp_path, "marks", table)
    (tmp_path / "marks" / "part-1.parquet").write_bytes(b"no Parquet")
    assert set(results.finished(tmp_path)) == {"a"}
    said = capsys.readouterr().err
    assert "5 rows of no mark: left aside" in said and "part-1.parquet: not a part" in said


def test_marks_that_another_tool_rewrote_count(tmp_path):
    """pandas writes reals for flags with gaps, and other text."""
    run(tmp_path, "a")
    mark(tmp_path, "a")
    [part] = (tmp_path / "marks").glob("part-*")
    table = pq.read_table(part)
    for name, kind in (("undone", pa.float64()), ("tag", pa.large_string())):
        values = table[name].cast(pa.int8()).cast(kind) if name == "undone" else table[name].cast(kind)
        table = table.set_column(table.schema.get_field_index(name), name, values)
    pq.write_table(table, part)
    assert not results.finished(tmp_path)


@pytest.mark.parametrize(
    ("text", "fits"), [("paper 2", True), ("", False), (" a", False), ("a\x1b", False), ("é", True)]
)
def test_what_a_tag_may_be(text, fits):
    assert marks.is_tag(text) == fits


def test_the_folder_of_all_studies_has_the_marks_of_each(tmp_path):
    for study in ("s", "t"):
        mark(tmp_path / study, study)
    found = marks.read(tmp_path, parts.pattern("marks", one_study=False))
    assert sorted(found["trial_id"].to_pylist()) == ["s", "t"]
