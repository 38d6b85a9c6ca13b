"""What marks cost: questions to a million trials of which a thousand are marked, against the same without marks.

Seconds are of this process's processors, as medians of rounds in which every way has its turn. The row of marks
that were taken back, whose queries are those without marks, shows what the machine alone makes of the ratios.
"""

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa

import analysis
from analysis.warehouse import query
from benchmarks import synthetic
from sweep.store import marks
from sweep.store.results import write_part
from sweep.store.schema import MARKS

T = TypeVar("T")

_TRIALS, _MARKS = 1_000_000, 1_000
# Each way of marking: the tag, and whether the marks are taken back.
_WAYS = {"invalid": (marks.INVALID, False), "tagged": ("paper", False), "undone": (marks.INVALID, True)}
_ROUNDS = 11
_QUESTIONS = {
    "count": "SELECT count(*) FROM trials",
    "mean": "SELECT arm, sparsity, avg(test_accuracy) FROM trials GROUP BY ALL",
    "crossover": query("crossover"),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain"
        synthetic.write(plain, _TRIALS)
        places = {"plain": plain} | {way: _marked(plain, way) for way in _WAYS}
        os.sync()  # or the disk is still busy with it
        spent: dict[str, dict[str, list[float]]] = {way: {} for way in places}
        for _ in range(_ROUNDS):
            for way, place in places.items():
                opening, connection = _timed(partial(analysis.open, place))
                spent[way].setdefault("opening", []).append(opening)
                for name, sql in _QUESTIONS.items():
                    took, _ = _timed(partial(_ask, connection, sql))
                    spent[way].setdefault(name, []).append(took)
                connection.close()
        for way in _WAYS:
            ratios = ", ".join(
                f"{name} {statistics.median(times) / statistics.median(spent['plain'][name]) - 1:+.1%} "
                f"of {statistics.median(spent['plain'][name]):.3f} s"
                for name, times in spent[way].items()
            )
            print(f"curation, {_MARKS:,} of {_TRIALS:,} trials {way}: {ratios}", flush=True)


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> object:
    return connection.sql(sql).to_arrow_table()


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of processors that some work takes, and what it gives."""
    started = time.process_time()
    given = work()
    return time.process_time() - started, given


def _marked(plain: Path, way: str) -> Path:
    """The same results in another folder, with marks beside them."""
    tag, undone = _WAYS[way]
    place = plain.with_name(way)
    trials = place / "synthetic" / "trials"
    trials.mkdir(parents=True)
    for part in (plain / "synthetic" / "trials").iterdir():
        os.link(part, trials / part.name)
    with duckdb.connect() as connection:
        chosen = connection.sql(
            f"SELECT trial_id, max(finished_at) AS until FROM '{trials}/*.parquet' GROUP BY trial_id "
            f"ORDER BY hash(trial_id) LIMIT {_MARKS}"
        ).to_arrow_table()
    mark = {"mark": uuid.uuid4().hex[:8], "tag": tag, "source": "", "marked_at": datetime.now(UTC)}
    for taken_back in (False, True)[: 1 + undone]:
        rows = [mark | {"undone": taken_back} | trial for trial in chosen.to_pylist()]
        write_part(place / "synthetic", "marks", pa.Table.from_pylist(rows, schema=MARKS))
    return place


if __name__ == "__main__":
    main()
