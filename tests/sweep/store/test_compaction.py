"""Parts are merged within bounds of memory, and of the rows of one key the latest still counts."""

import errno

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from sweep.store import compaction, kept, parts, results
from sweep.store.compaction import compact
from sweep.store.schema import SCHEMAS
from sweep.store.writer import Writer
from tests.sweep.store.test_results import mask, rows

# A mask of a hundred thousand weights.
LARGE = {"shape": [1000, 100], "params": 100_000}


def large(name, byte, count):
    """A row of `masks` in which each byte is the same, and has this many bits."""
    return mask(name, bytes([byte]) * 12_500, kept=12_500 * count, **LARGE)


def write(folder, name, byte=0b10000001, count=2):
    trial, *others, _ = rows(name)
    results.write(folder, *zip((trial, *others, [large(name, byte, count)]), strict=True))


@pytest.fixture
def bounded(monkeypatch):
    """As if 50,000 bytes of rows, four of these masks, were much."""
    monkeypatch.setattr(compaction, "_MOST_BYTES", 60_000)
    monkeypatch.setattr(compaction, "_LITTLE", 0)


def sizes(folder):
    return [pq.read_table(part).num_rows for part in parts.list_parts(folder / "masks")]


@pytest.mark.slow
def test_large_rows_are_merged_into_parts_of_bounded_size_and_those_stay(tmp_path, bounded):
    for number in range(10):
        write(tmp_path, f"{number}")
    compact(tmp_path)
    assert sizes(tmp_path) == [4, 4, 2]
    before = parts.list_parts(tmp_path / "masks")
    for number in range(10, 20):
        write(tmp_path, f"{number}")
    compact(tmp_path)
    assert sizes(tmp_path) == [4, 4, 4, 4, 4]
    assert parts.list_parts(tmp_path / "masks")[:2] == before[:2], "full parts are written once"
    counted = analysis.open(tmp_path).execute("SELECT count(*), count(DISTINCT trial_id) FROM masks")
    assert counted.fetchall() == [(20, 20)]


@pytest.mark.slow
def test_the_mask_of_the_last_run_counts_wherever_parts_are_merged(tmp_path, bounded):
    """The first part is full and stays. Those behind it are merged, among them an older row of a trial."""
    write(tmp_path, "again", 0b10000000, 1)
    for number in range(4):
        write(tmp_path, f"{number}")
    write(tmp_path, "again", 0b11110000, 4)
    for number in range(4, 9):
        write(tmp_path, f"{number}")

    def seen():
        query = "SELECT kept FROM masks WHERE trial_id = 'again'"
        return analysis.open(tmp_path).execute(query).fetchall()

    for _ in range(3):
        assert seen() == [(50_000,)]
        compact(tmp_path)
    assert len(sizes(tmp_path)) < 11 and seen() == [(50_000,)]


def test_without_room_parts_stay_as_they_are(tmp_path, bounded, monkeypatch):
    for number in range(10):
        write(tmp_path, f"{number}")
    before = parts.list_parts(tmp_path / "masks")

    def full(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(compaction, "write_part", full)
    compact(tmp_path)
    assert parts.list_parts(tmp_path / "masks") == before


def test_a_row_group_of_large_rows_has_few_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_GROUP_BYTES", 50_000)
    write(tmp_path, "a")
    write(tmp_path, "b")
    many = results.read_table(tmp_path, "masks", SCHEMAS["masks"].names)
    for _ in range(3):
        many = pa.concat_tables([many, many])
    part, _ = results.write_part(tmp_path, "masks", many)
    assert pq.ParquetFile(part).num_row_groups >= 4


@pytest.mark.slow
def test_large_rows_are_merged_by_a_launch_once_they_are_enough(tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.store.writer._MERGED", 50_000)
    writer = Writer(tmp_path, "small")
    for number in range(9):
        trial, *others, _ = rows(f"{number}")
        writer.add(trial, *others, [large(f"{number}", 1, 1)])
        assert writer.flush()
    writer.close()
    assert len(sizes(tmp_path)) < 6 and sum(sizes(tmp_path)) == 9


def test_half_a_file_of_weights_is_never_seen_and_is_removed(tmp_path):
    for number in range(2):
        kept.write(tmp_path, f"{number}", b"weights")
    (tmp_path / "weights" / ".2.safetensors.0123abcd").write_bytes(b"wei")
    assert kept.trials(tmp_path) == {"0", "1"}
    compact(tmp_path)
    assert sorted(file.name for file in (tmp_path / "weights").iterdir()) == [
        "0.safetensors",
        "1.safetensors",
    ]


def test_what_a_study_keeps_of_a_trial_is_complete_or_is_not_kept(tmp_path):
    for name in "ab":
        write(tmp_path, name)
    for name in "bc":
        kept.write(tmp_path, name, b"weights")
    assert kept.Keep.MASKS.of(tmp_path) == {"a", "b"} and kept.Keep.WEIGHTS.of(tmp_path) == {"b"}
    assert kept.Keep.MASKS.of(tmp_path / "nowhere") == set()
