"""Columns that results did not always have."""

import pyarrow.parquet as pq

import analysis
from analysis.warehouse import rows

LATER = {
    "trials": ["explored", "pq_index", "dead_units", "zero_outputs"],
    "curves": ["pq_index"],
    "layers": ["ramanujan_gap"],
}


def test_older_parts_are_read_and_have_null_there(made):
    for table, columns in LATER.items():
        for part in made.rglob(f"{table}/*.parquet"):
            pq.write_table(pq.ParquetFile(part).read().drop_columns(columns), part)
    connection = analysis.open(made)
    for table, columns in LATER.items():
        counts = ", ".join(f"count({column})" for column in columns)
        [(every, *known)] = rows(connection, f"SELECT count(*), {counts} FROM {table}")
        assert every and not any(known)
