"""Trials logged to a tracker after the fact. What is there already as it is stays: each trial is one run."""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import duckdb
import pyarrow.types as types
from rich.console import Console
from rich.progress import track

from analysis.warehouse import answer, rows
from analysis.warehouse.launches import tags
from sweep.errors import BadInput
from sweep.store.places import place
from sweep.store.schema import SCHEMAS
from sweep.trackers import Run, Service

# Trials that are read at a time, with their curves.
_AT_A_TIME = 2000


def export(
    connection: duckdb.DuckDBPyConnection, service: Service, results: Sequence[str], to: str | None
) -> str:
    """Log the trials of the views to a service; returns a sentence that says how many.

    Args:
        results: the folders or URIs that were opened; files go beside the first.
        to: where the service is; None: where its environment variables or its defaults say.

    Raises:
        BadInput: there are no trials, or the service does not take them.
    """
    folder = place(results[0]).resolve()
    service.check(folder, to)
    [(total,)] = rows(connection, "SELECT count(*) FROM trials")
    if not total:
        raise BadInput(f"{', '.join(results)}: no trials to export; see python -m sweep.launch")
    done = new = 0
    try:
        with closing(service.tracker(folder, to)) as tracker:
            runs = _runs(connection, total, tags(results))
            console, hidden = Console(stderr=True), not sys.stderr.isatty()
            for run in track(runs, str(service), total, console=console, transient=True, disable=hidden):
                new += tracker.log(run)
                done += 1
    except (BadInput, duckdb.Error):
        raise
    except Exception as error:
        why = (" ".join(str(error).split()) or type(error).__name__)[:300]
        raise BadInput(f"{service}: {why}: {done:,} of {total:,} trials are there; export again") from None
    trials = "1 trial" if total == 1 else f"{total:,} trials"
    return f"export: {trials} in {service}: {new:,} new or changed, {total - new:,} there already"


def _runs(
    connection: duckdb.DuckDBPyConnection, total: int, words: Mapping[str, Sequence[str]]
) -> Iterator[Run]:
    """The trials of the views, read in portions by the hash of the id, as a million would not fit in memory.

    Args:
        total: number of trials.
        words: study → its tags.
    """
    portions = -(-total // _AT_A_TIME)
    for portion in range(portions):
        some = f"WHERE hash(trial_id) % {portions} = {portion}"
        curves, metrics = (_by_trial(connection, table, some) for table in ("curves", "metrics"))
        for trial_id, [row] in _by_trial(connection, "trials", some).items():
            yield Run.of(row, curves[trial_id], metrics[trial_id], words.get(row["study"], ()))


def _by_trial(
    connection: duckdb.DuckDBPyConnection, table: str, some: str
) -> defaultdict[str, list[dict[str, Any]]]:
    """trial_id → rows of a table. An infinite time, which Python has not, is NULL."""
    columns = [
        f"if(isfinite({field.name}), {field.name}, NULL) AS {field.name}"
        if types.is_timestamp(field.type)
        else field.name
        for field in SCHEMAS[table]
    ]
    if table == "trials":
        columns.append("tags")
    names, found = answer(connection, f"SELECT {', '.join(columns)} FROM {table} {some}")
    by_trial = defaultdict(list)
    for row in found:
        by_trial[row[0]].append(dict(zip(names, row, strict=True)))
    return by_trial
