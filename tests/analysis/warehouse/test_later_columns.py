"""Columns that results did not always have."""

import pyarrow.parquet as pq
import pytest

import analysis
from analysis.warehouse import rows
from sweep.store import results
from tests.analysis.conftest import trial

LATER = {
    "trials": ["explored", "pq_index", "dead_units", "zero_outputs"],
    "curves": ["pq_index"],
    "layers": ["ramanujan_gap"],
}
CURVE = {"phase": "retrain", "epoch": 1.0, "kept": 1, "pq_index": 0.5}
LAYER = {"layer": 0, "name": "a", "shape": [1], "params": 1, "kept": 1, "ramanujan_gap": 0.5}


def written(folder, name):
    key = {"trial_id": name}
    given = trial(name, **dict.fromkeys(LATER["trials"], 0.5))
    results.write(folder, [given], [[key | CURVE]], [[key | LAYER]])


@pytest.mark.parametrize("newer", [0, 1])
def test_older_parts_are_read_and_have_null_there_beside_newer_ones(newer, tmp_path):
    folder = tmp_path / "results" / "made"
    written(folder, "older")
    for table, columns in LATER.items():
        for part in folder.rglob(f"{table}/*.parquet"):
            pq.write_table(pq.ParquetFile(part).read().drop_columns(columns), part)
    if newer:
        written(folder, "newer")
    connection = analysis.open(folder)
    for table, columns in LATER.items():
        counts = ", ".join(f"count({column})" for column in columns)
        [(every, *known)] = rows(connection, f"SELECT count(*), {counts} FROM {table}")
        assert every == 1 + newer and set(known) == {newer}
