import errno
import fcntl
import json
import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from sweep.errors import BadInput
from sweep.store import compaction, launches, results
from sweep.store.compaction import compact
from sweep.store.schema import SCHEMAS


def rows(name, status="ok"):
    trial = {
        "trial_id": name, "criterion": "snip", "scope": "global", "sparsity": 0.9, "status": status,
        "val_accuracy": 0.5, "finished_at": datetime.now(UTC), "seed": 0,
        "config": '{"dataset":"digits","model":"conv-5","criterion":"snip"}',
    }  # fmt: skip
    curve = {"trial_id": name, "phase": "retrain", "epoch": 1.0, "train_loss": 0.1}
    layer = {"trial_id": name, "layer": 0, "name": "a", "shape": [2, 3]}
    metric = {"trial_id": name, "name": "ece", "split": "test", "value": 0.1, "higher_is_better": False}
    return trial, [curve], [layer], [metric], [mask(name)]


def mask(name, bits=b"\xa0", **columns):
    """A row of `masks`, of a layer of two times three weights."""
    fields = {"layer": 0, "name": "a", "shape": [2, 3], "params": 6, "kept": 2}
    return {"trial_id": name, "bits": bits, **fields, **columns}


def test_a_later_success_wins_over_a_failure_in_any_order(tmp_path):
    for status in ("failed", "ok", "failed"):
        results.write(tmp_path, *zip(rows("a", status), strict=True))
    assert results.finished(tmp_path)["a"]["status"] == "ok"


@pytest.mark.slow
def test_compaction_keeps_every_row_in_one_part(tmp_path):
    for i in range(20):
        results.write(tmp_path, *zip(rows(f"{i}"), strict=True))
    compact(tmp_path)
    for table in SCHEMAS:
        [part] = (tmp_path / table).glob("part-*")
        assert pq.read_table(part).num_rows == 20
    assert len(results.finished(tmp_path)) == 20


@pytest.mark.slow
def test_results_from_before_a_column_was_are_read_and_merged(tmp_path, monkeypatch):
    """Losses with fresh BatchNorm statistics came later than the others."""
    monkeypatch.setattr(compaction, "_MANY_PARTS", 1)
    folder = tmp_path / "small"
    for name in ("old", "new"):
        trial, *others = rows(name)
        config = {"protocol": 2}
        results.write(
            folder, *zip((trial | config | {"pre_train_loss_recalibrated": 1.5}, *others), strict=True)
        )
        if name == "old":
            [part] = (folder / "trials").glob("part-*")
            table = pq.read_table(part)
            pq.write_table(table.select([n for n in table.column_names if "recalibrated" not in n]), part)

    def seen():
        query = "SELECT trial_id, pre_train_loss_recalibrated FROM trials ORDER BY trial_id"
        return analysis.open(folder).execute(query).fetchall()

    assert set(results.finished(folder)) == set(results.measured(tmp_path)) == {"old", "new"}
    assert seen() == [("new", 1.5), ("old", None)]
    compact(folder)
    assert len(list((folder / "trials").glob("part-*"))) == 1
    assert seen() == [("new", 1.5), ("old", None)]


@pytest.mark.slow
def test_rows_of_launches_before_they_said_their_code_are_read_and_merged_beside_new_ones(tmp_path):
    folder, late = tmp_path / "small", {"code": "abc123-dirty", "launch": "0123456789ab"}
    for number in range(10):
        trial, *others = rows(f"{number}")
        results.write(folder, *zip((trial | (late if number > 4 else {}), *others), strict=True))
        if number <= 4:
            *_, part = sorted((folder / "trials").glob("part-*"))
            table = pq.read_table(part)
            pq.write_table(table.select([name for name in table.column_names if name not in late]), part)

    def seen():
        query = "SELECT code, launch, count(*) FROM trials GROUP BY ALL ORDER BY 3, 1 NULLS FIRST"
        return analysis.open(folder).execute(query).fetchall()

    expected = [(None, None, 5), ("abc123-dirty", "0123456789ab", 5)]
    assert seen() == expected and len(results.finished(folder)) == 10
    compact(folder)
    assert len(list((folder / "trials").glob("part-*"))) == 1
    assert seen() == expected and len(results.finished(folder)) == 10


def test_a_part_of_one_trial_is_no_larger_than_it_must_be(tmp_path):
    """Thousands of them are opened before they are merged: what describes their columns is most of the work."""
    results.write(tmp_path, *zip(rows("a"), strict=True))
    sizes = {table: next((tmp_path / table).glob("part-*")).stat().st_size for table in SCHEMAS}
    assert sizes["trials"] < 10_000 and sizes["curves"] < 3_000


@pytest.mark.slow
def test_a_merged_part_has_the_text_of_an_arm_once(tmp_path):
    """An arm's text is long, and thousands of arms are more than what Parquet keeps apart by itself."""
    arms = [os.urandom(500).hex() for _ in range(2_000)]
    for _ in range(9):
        found = [{**rows(str(number))[0], "arm": arm} for number, arm in enumerate(arms)]
        results.write(tmp_path, [{**row, "trial_id": os.urandom(8).hex()} for row in found], [[]], [[]])
    compact(tmp_path)
    [part] = (tmp_path / "trials").glob("part-*")
    text = sum(map(len, arms))
    assert pq.read_table(part).num_rows == 18_000 and part.stat().st_size < 1.5 * text


@pytest.mark.slow
def test_what_is_not_a_part_is_named_and_left_aside(tmp_path, capsys):
    """A file that was cut off, and one of somebody else's: the other parts are read, and merged without them."""
    for number in range(20):
        results.write(tmp_path, *zip(rows(f"{number}"), strict=True))
    broken, foreign = tmp_path / "trials" / "part-0.parquet", tmp_path / "trials" / "part-1.parquet"
    broken.write_text("hello")
    pq.write_table(pa.table({"name": ["somebody"]}), foreign)
    for _ in range(2):
        assert len(results.finished(tmp_path)) == 20
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2, "once each"
    assert f"{broken}: not a part of these results" in said[0] and "left aside" in said[0]
    assert f"{foreign}: not a part of these results (it has no column trial_id)" in said[1]
    compact(tmp_path)
    assert broken.exists() and foreign.exists()
    assert len(list((tmp_path / "trials").glob("part-*"))) == 3 and len(results.finished(tmp_path)) == 20


@pytest.mark.slow
def test_compaction_leaves_each_row_once_and_the_one_that_counts(tmp_path):
    for status in ["ok", *["failed"] * 10]:
        results.write(tmp_path, *zip(rows("a", status), strict=True))
    (tmp_path / "trials" / ".part-of-a-killed-writer").write_text("half")
    compact(tmp_path)
    [part] = (tmp_path / "trials").iterdir()
    assert pq.read_table(part)["status"].to_pylist() == ["ok"]


def test_the_latest_failure_is_the_one_that_counts(tmp_path):
    results.write(tmp_path, *zip(rows("a", "failed"), rows("a", "diverged"), strict=True))
    assert results.finished(tmp_path)["a"]["status"] == "diverged"


def test_a_results_folder_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="choose another --results"), results.lock(tmp_path / "file" / "study"):
        pass
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(BadInput, match=r"study\.json: damaged"):
        launches.note_launch(tmp_path, "small", "", {})


def hold(folder, ready):
    with results.lock(folder):
        ready.set()
        time.sleep(60)


@pytest.mark.slow
def test_a_second_writer_is_told_who_holds_the_results_until_that_one_dies(tmp_path):
    context = multiprocessing.get_context("forkserver")
    ready = context.Event()
    holder = context.Process(target=hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(60)
    with (
        pytest.raises(BadInput, match=f"is being written by process {holder.pid} on "),
        results.lock(tmp_path),
    ):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with results.lock(tmp_path):
        pass


def test_each_launch_adds_an_entry_to_study_json(tmp_path):
    launches.note_launch(tmp_path, "small", "text", {"n": 1})
    launches.note_launch(tmp_path, "small", "new text", {"n": 2})
    written = json.loads((tmp_path / "study.json").read_text())
    assert written == {"study": "small", "spec": "new text", "launches": [{"n": 1}, {"n": 2}]}


@pytest.mark.slow
def test_a_stopped_trial_is_no_result_until_it_is_run_in_full(tmp_path):
    folder = tmp_path / "small"

    def add(*found):
        results.write(folder, *zip(*found, strict=True))

    add(rows("a", "stopped"), rows("b"))
    assert set(results.finished(folder)) == set(results.measured(tmp_path)) == {"b"}
    assert set(results.stopped(folder)) == {"a"} and results.retraining(tmp_path, ["a"]) == {"a": [None]}
    add(rows("a", "diverged"))
    add(rows("a", "stopped"))  # by another search, meanwhile
    assert results.finished(folder)["a"]["status"] == "diverged" and not results.stopped(folder)
    for _ in range(9):
        add(rows("c"))
    compact(folder)
    assert results.finished(folder)["a"]["status"] == "diverged" and not results.stopped(folder)


def test_a_lock_is_taken_where_the_system_has_none_whatever_was_left_there(tmp_path, monkeypatch):
    """As on a network drive without flock, to which a folder was copied."""
    with results.lock(tmp_path):
        pass

    def no_flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_flock)
    (tmp_path / ".lock.held").touch()  # as earlier versions left
    taken = pytest.raises(BadInput, match="is being written by process")
    with results.lock(tmp_path), taken, results.lock(tmp_path):
        pass
    with results.lock(tmp_path):
        pass
    assert not list(tmp_path.glob(".lock-*"))


@pytest.mark.parametrize("text", ["[]", '{"launches": 7}', "[" * 100_000, "7", ""])
def test_a_study_json_of_somebody_else_is_one_line(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(BadInput, match="damaged: move it away and launch again"):
        launches.note_launch(tmp_path, "study", "", {})
    assert (tmp_path / "study.json").read_text() == text
