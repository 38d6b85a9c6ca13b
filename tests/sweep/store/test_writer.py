import threading
import time

import pyarrow.parquet as pq
import pytest

import analysis
from analysis import warehouse
from analysis.warehouse import shell
from sweep.errors import BadInput
from sweep.store import parts, results
from sweep.store import writer as writer_module
from sweep.store.schema import SCHEMAS
from sweep.store.writer import Writer
from tests.sweep.store.test_results import rows


def test_a_trial_is_on_disk_at_once_and_all_of_them_after_closing(tmp_path):
    writer = Writer(tmp_path, "small")
    writer.add(*rows("a"))
    deadline = time.monotonic() + 2
    while not results.finished(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(results.finished(tmp_path)) == {"a"}
    for i in range(50):
        writer.add(*rows(f"b{i}"))
    writer.close()
    assert len(results.finished(tmp_path)) == 51
    table = pq.read_table(next((tmp_path / "trials").glob("part-*")))
    assert table.schema.equals(SCHEMAS["trials"]) and table["study"][0].as_py() == "small"


@pytest.mark.slow
def test_many_results_share_parts(tmp_path):
    writer = Writer(tmp_path, "small")
    for i in range(2000):
        writer.add(*rows(f"{i}"))
    writer.close()
    assert len(list((tmp_path / "trials").glob("part-*"))) < 50


@pytest.mark.slow
def test_parts_are_merged_while_a_launch_runs_and_no_row_is_ever_missing(tmp_path, monkeypatch):
    """A day's sweep would leave tens of thousands of them, each some work for whoever looks at it meanwhile."""
    monkeypatch.setattr(writer_module, "_MANY", 5)
    writer, kept = Writer(tmp_path, "small"), None
    done, seen, errors = [0], [], []

    def look():
        try:
            while done[0] < 33:
                least = done[0]
                for connection in (kept, analysis.open(tmp_path)):
                    for table in SCHEMAS:
                        [[count]] = warehouse.rows(connection, f"SELECT count(*) FROM {table}")
                        seen.append(count >= least)
                        shell.show(connection, f"FROM {table}")
        except BaseException as error:
            errors.append(error)

    for number in range(33):
        trial, *others = rows(f"{number}")
        writer.add(trial, *others)
        assert writer.flush()
        done[0] = number + 1
        assert len(results.finished(tmp_path)) == number + 1
        for table in SCHEMAS:
            assert len(list((tmp_path / table).glob("part-*"))) <= 6 + 5
        if number == 0:
            kept = analysis.open(tmp_path)
            reader = threading.Thread(target=look)
            reader.start()
    reader.join()
    writer.close()
    assert not errors and seen and all(seen)


def test_rows_that_cannot_be_written_are_an_error_not_a_loss(tmp_path):
    writer = Writer(tmp_path, "small")
    trial, *others = rows("a")
    writer.add({**trial, "seed": "seven"}, *others)
    with pytest.raises(Exception, match="seven"):
        writer.close()


def test_a_disk_that_refuses_is_one_line_and_keeps_what_was_written(tmp_path):
    writer = Writer(tmp_path, "small")
    writer.add(*rows("a"))
    while not results.finished(tmp_path):
        time.sleep(0.01)
    for table in SCHEMAS:
        (tmp_path / table).rename(tmp_path / f"kept-{table}")
        (tmp_path / table).write_text("in the way")
    writer.add(*rows("b"))
    with pytest.raises(BadInput, match="results can no longer be written; make room and launch again"):
        writer.close()
    assert list((tmp_path / "kept-trials").glob("part-*"))


@pytest.mark.slow
def test_whoever_waits_finds_on_disk_what_was_handed_over(tmp_path):
    """A search tells Optuna only what a kill can no longer take back."""
    writer = Writer(tmp_path, "small")
    for number in range(20):
        writer.add(*rows(f"{number}"))
        assert writer.flush()
        assert len(results.finished(tmp_path)) == number + 1
    trial, *others = rows("last")
    writer.add({**trial, "seed": "seven"}, *others)
    assert not writer.flush() and not writer.flush()


@pytest.mark.slow
def test_a_reader_outlasts_that_parts_are_merged_under_it(tmp_path, monkeypatch):
    """However often a part that it has just listed is gone."""
    results.write(tmp_path, *zip(rows("a"), strict=True))
    [part] = (tmp_path / "trials").glob("part-*")
    gone = [part.with_name(f"part-{number}.parquet") for number in range(5)]
    listed = parts.list_parts
    monkeypatch.setattr(
        parts,
        "list_parts",
        lambda folder, *pattern: [
            *([gone.pop()] if gone and folder.name == "trials" else []),
            *listed(folder, *pattern),
        ],
    )
    assert set(results.finished(tmp_path)) == {"a"} and not gone
