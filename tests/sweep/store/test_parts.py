"""A launch and an analysis count the same trials, whatever program has written their parts."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from analysis import warehouse
from sweep.config import Config
from sweep.store import compaction, parts, results
from sweep.store.schema import SCHEMAS
from sweep.study.identity import Trial

TRIALS = [
    Trial.of(Config(dataset="digits", model="conv-5", criterion="snip", sparsity=0.9, epochs=1, seed=seed))
    for seed in range(4)
]
WHEN = datetime(2026, 1, 1, 12, 30, 0, 5, tzinfo=UTC)
ROWS = [
    trial.columns()
    | {"study": "s", "status": "ok", "test_accuracy": 0.5, "val_accuracy": 0.5, "diverged": False}
    | {"launched_at": WHEN, "finished_at": WHEN}
    for trial in TRIALS
]
TABLE = pa.Table.from_pylist(ROWS, schema=SCHEMAS["trials"])


def recoded(table=TABLE, **columns):
    """The rows with some columns of another type: a function of the column, or a type."""
    return pa.table(
        {name: columns[name](table[name]) if name in columns else table[name] for name in table.column_names}
    )


def to(kind):
    return lambda column: column.cast(kind)


def with_gaps_as_nan(column):
    return pa.chunked_array([[float("nan") if v is None else float(v) for v in column.to_pylist()]])


KINDS = {
    "as written": TABLE,
    "text in 64 bits": recoded(**dict.fromkeys(("trial_id", "config", "status"), to(pa.large_string()))),
    "text of views": recoded(trial_id=to(pa.string_view()), arm=to(pa.string_view())),
    "text as bytes": recoded(trial_id=to(pa.binary()), criterion=to(pa.binary())),
    "categories": recoded(
        criterion=lambda c: c.dictionary_encode(), trial_id=lambda c: c.dictionary_encode()
    ),
    "whole numbers as reals": recoded(epochs=to(pa.float64()), seed=to(pa.float32())),
    "gaps as NaN": recoded(steps=with_gaps_as_nan, epochs=with_gaps_as_nan),
    "small whole numbers": recoded(epochs=to(pa.int8()), seed=to(pa.uint16())),
    "single precision": recoded(sparsity=to(pa.float32()), prune_epoch=to(pa.float32())),
    "decimals": recoded(sparsity=lambda c: pa.chunked_array([[Decimal("0.9")] * 4])),
    "flags as numbers": recoded(diverged=lambda c: pa.chunked_array([[0.0, 0.0, 0.0, 0.0]])),
    "times without a zone": recoded(finished_at=to(pa.timestamp("us")), launched_at=to(pa.timestamp("ns"))),
    "times in another zone": recoded(finished_at=to(pa.timestamp("ns", tz="Asia/Tokyo"))),
    "times as text": recoded(
        finished_at=lambda c: pa.chunked_array([["2026-01-01 12:30:00.000005Z"] * 4]),
    ),
    "numbers as text": recoded(sparsity=lambda c: pa.chunked_array([["0.9"] * 4])),
    "through pandas": pa.Table.from_pandas(TABLE.to_pandas()),
}


def part(folder, table, number=1):
    path = folder / "trials" / f"part-{number}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def seen(folder):
    """What an analysis sees of what a trial is, as JSON."""
    columns = "trial_id, criterion, sparsity, epochs, steps, seed, diverged, epoch_us(finished_at)"
    found = warehouse.rows(analysis.open(folder), f"SELECT {columns} FROM trials ORDER BY seed")
    return json.dumps(found)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What an analysis sees of the rows as they are written."""
    folder = tmp_path_factory.mktemp("plain")
    part(folder, TABLE)
    return seen(folder)


@pytest.mark.slow
@pytest.mark.parametrize("beside", ["nothing", "a truncated part", "one of another kind"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_counts_for_both_whatever_wrote_it(kind, beside, plain, tmp_path, capfd):
    part(tmp_path / "s", KINDS[kind])
    if beside == "a truncated part":
        (tmp_path / "s" / "trials" / "part-2.parquet").write_bytes(b"PAR1 half copied")
    if beside == "one of another kind":
        part(tmp_path / "s", KINDS["single precision"], 2)
        part(tmp_path / "s", KINDS["text in 64 bits"], 3)
    finished = results.finished(tmp_path / "s")
    assert set(finished) == {trial.id for trial in TRIALS}
    assert {row["sparsity"] for row in finished.values()} == {0.9}
    assert seen(tmp_path / "s") == plain
    assert len(capfd.readouterr().err.splitlines()) == (beside == "a truncated part")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("epochs", [1.5, 1.0, 1.0, 1.0]),
        ("sparsity", ["a lot", "0.9", "0.9", "0.9"]),
        ("trial_id", [1, 2, 3, 4]),
        ("trial_id", [b"\xff", b"b", b"c", b"d"]),
    ],
)
def test_a_part_with_a_value_that_is_none_of_its_column_counts_for_neither(column, values, tmp_path, capfd):
    where = part(tmp_path / "s", recoded(**{column: lambda _: pa.chunked_array([values])}))
    part(tmp_path / "s", TABLE.slice(0, 1), 2)
    assert len(results.finished(tmp_path / "s")) == 1
    connection = analysis.open(tmp_path / "s")
    assert warehouse.rows(connection, "SELECT count(*) FROM trials") == [(1,)]
    [line] = capfd.readouterr().err.splitlines()
    assert str(where) in line and column in line and line.endswith("left aside; move it away")


def test_merging_leaves_the_types_that_a_launch_writes(tmp_path):
    for number in range(9):
        part(tmp_path / "s", KINDS["single precision" if number % 2 else "through pandas"], number)
    compaction.compact(tmp_path / "s")
    [merged] = (tmp_path / "s" / "trials").glob("part-*")
    assert parts.fits(merged, "trials") and pq.read_table(merged)["sparsity"].to_pylist() == [0.9] * 4


@pytest.mark.slow
@pytest.mark.parametrize("beside", ["of another kind", "no plain file", "damaged"])
def test_who_has_opened_results_sees_all_rows_after_a_merge_beside_a_foreign_part(beside, tmp_path, capfd):
    """Such results are read by a list of parts: it must not outlive what is on it."""
    own = [part(tmp_path / "s", TABLE.slice(number, 1), number) for number in range(3)]
    if beside == "of another kind":
        part(tmp_path / "s", recoded(TABLE.slice(0, 1), sparsity=to(pa.float32())), 8)
    if beside == "no plain file":
        (tmp_path / "s" / "trials" / "part-8.parquet").mkdir()
    if beside == "damaged":
        (tmp_path / "s" / "trials" / "part-8.parquet").write_bytes(b"PAR1 half copied")
    connection = analysis.open(tmp_path / "s")
    assert warehouse.rows(connection, "SELECT count(*) FROM trials") == [(3,)]
    part(tmp_path / "s", TABLE, 9)
    for merged in own:
        merged.unlink()
    assert warehouse.rows(connection, "SELECT count(*) FROM trials") == [(4,)]
    assert len(capfd.readouterr().err.splitlines()) == (beside != "of another kind")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [bytes(400), b"\xff" * 400])
def test_a_damaged_page_behind_a_sound_footer_is_left_aside_by_both(damage, tmp_path, capfd):
    """Whichever column it is in, and however late a query comes to it."""
    rows = [{**row, "trial_id": f"{n}", "device": f"cpu {n}"} for n, row in enumerate(ROWS * 50)]
    where = part(tmp_path / "s", pa.Table.from_pylist(rows, schema=SCHEMAS["trials"]))
    part(tmp_path / "s", TABLE, 2)
    chunk = next(
        chunk
        for chunk in map(pq.ParquetFile(where).metadata.row_group(0).column, range(len(SCHEMAS["trials"])))
        if chunk.path_in_schema == "device"
    )
    content = bytearray(where.read_bytes())
    start = chunk.dictionary_page_offset
    content[start : start + 400] = damage
    where.write_bytes(content)
    connection = analysis.open(tmp_path / "s")
    devices = "SELECT count(*), count(DISTINCT device) FROM trials"
    assert warehouse.rows(connection, devices) == [(4, 0)]
    [line] = capfd.readouterr().err.splitlines()
    assert str(where) in line and "left aside" in line
    assert len(results.finished(tmp_path / "s")) == 4


DEEP = "[" * 100_000
STRANGE = {
    "arm": ["x", "[1]", "null", "{}", "5", DEEP, '{"dataset":["x"],"model":{},"criterion":1}', '{"\x1b":1}'],
    "sparsity": [None, 1.0, -0.1, float("nan"), float("inf")],
    "seed": [None],
    "status": [None],
    "config": [None],
}


@pytest.mark.parametrize("column", STRANGE)
def test_rows_of_no_trial_are_counted_and_left_aside_by_both(column, tmp_path, capfd):
    strange = [{**ROWS[0], "trial_id": f"{n}", column: value} for n, value in enumerate(STRANGE[column])]
    results.write(tmp_path / "s", strange, [[]], [[]])
    # One that says that it is a trial which is there.
    results.write(tmp_path / "s", [ROWS[1], {**strange[0], "trial_id": ROWS[1]["trial_id"]}], [[]], [[]])
    assert set(results.finished(tmp_path / "s")) == {ROWS[1]["trial_id"]}
    connection = analysis.open(tmp_path / "s")
    assert warehouse.rows(connection, "SELECT trial_id FROM trials") == [(ROWS[1]["trial_id"],)]
    [line] = capfd.readouterr().err.splitlines()
    assert f"{len(strange) + 1} rows of no trial: left aside" in line


def test_an_arm_that_is_not_there_is_that_of_the_config(tmp_path):
    results.write(tmp_path / "s", [{**row, "arm": None} for row in ROWS], [[]], [[]])
    assert len(results.finished(tmp_path / "s")) == 4
    arms = warehouse.rows(analysis.open(tmp_path / "s"), "SELECT DISTINCT arm FROM trials")
    assert arms == [(ROWS[0]["arm"],)]
