"""Questions to a million results against the same in pandas, and ten million, and 10,000 small parts."""

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import analysis
from analysis.statistics.coefficients import rank_correlations
from analysis.warehouse import query
from benchmarks import synthetic
from benchmarks.timing import seconds
from sweep.store.results import encode
from sweep.store.schema import SCHEMAS

_QUESTIONS = ("crossover", "correlation", "best")
_CHOICE = r'"(?:criterion|scope|iterations|schedule)":[^,}]*,?'


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for trials in (1_000_000, 10_000_000):
            place = folder / str(trials)
            synthetic.write(place, trials)
            os.sync()  # or the disk is still busy with it
            connection = analysis.open(place)
            for name in _QUESTIONS:
                ours = min(seconds(partial(_ask, connection, name)) for _ in range(3))
                line = f"analysis, {name} of {trials:,} trials with deduplication: {ours:.2f} s"
                if trials == 1_000_000:
                    theirs = seconds(partial(_PANDAS[name], place))
                    line += f", pandas {theirs:.2f} s: {theirs / ours:.1f} times faster"
                print(line, flush=True)
            if trials == 1_000_000:
                _taus(connection)
        _small_parts(folder / "parts")


def _ask(connection: duckdb.DuckDBPyConnection, name: str) -> object:
    return connection.sql(query(name)).to_arrow_table()


def _taus(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.sql(query("correlation")).fetchall()
    # befores, afters, arms, seeds
    groups = [[np.array(values) for values in (*row[-2:], *row[-4:-2])] for row in rows]
    spent = seconds(lambda: [rank_correlations(*group) for group in groups])
    middle = statistics.median(len(befores) for befores, *_ in groups)
    print(
        f"analysis, Kendall's tau and Spearman's rho with jackknife intervals of {len(groups):,} groups of {middle:g}: {spent:.2f} s"
    )


def _small_parts(folder: Path) -> None:
    """10,000 parts of one trial each, as a running study may have them between two launches."""
    synthetic.write(folder, 10_000)
    target = folder / "synthetic" / "trials"
    parts = sorted(target.glob("part-*"), key=lambda part: part.stat().st_size)
    rows = pq.read_table(parts[-1], schema=SCHEMAS["trials"])
    for part in parts:
        part.unlink()
    for index in range(10_000):
        encode(rows.slice(index, 1), target / f"part-{index:020d}-small.parquet", "trials")
    started = time.perf_counter()
    connection = analysis.open(folder)
    [(count,)] = connection.execute("SELECT count(DISTINCT trial_id) FROM trials").fetchall()
    assert count == 10_000
    print(f"analysis, 10,000 small parts opened and counted: {time.perf_counter() - started:.2f} s")


def _read(place: Path, columns: list[str]) -> pd.DataFrame:
    """Each trial once, with its arm, as the views and queries have it."""
    frame = pd.read_parquet(
        place / "synthetic" / "trials",
        columns=["trial_id", "status", "finished_at", "config", "seed", "sparsity", *columns],
    )
    frame["ok"] = frame.status == "ok"
    frame = frame.sort_values(["ok", "finished_at"]).drop_duplicates("trial_id", keep="last")
    frame = frame[frame.ok]
    frame["arm"] = frame.config.str.replace(r'"seed":[0-9]+,"sparsity":[-+.0-9e]+,', "", n=1, regex=True)
    arms = pd.Series(frame.arm.unique())
    settings = dict(zip(arms, arms.str.replace(_CHOICE, "", regex=True), strict=True))
    frame["setting"] = frame.arm.map(settings)
    return frame


def _crossover(place: Path) -> object:
    frame = _read(place, ["criterion", "test_accuracy"])
    one, other = frame[frame.criterion == "snip"], frame[frame.criterion == "random"]
    pairs = one.merge(other, on=["setting", "sparsity", "seed"])
    pairs["difference"] = pairs.test_accuracy_x - pairs.test_accuracy_y
    return pairs.groupby(["arm_x", "arm_y", "sparsity"]).difference.agg(["count", "mean", "std"])


def _correlation(place: Path) -> object:
    frame = _read(place, ["pre_train_loss", "test_accuracy"])
    groups = frame.groupby(["setting", "sparsity"])
    for column in ("pre_train_loss", "test_accuracy"):
        frame[f"{column}_rank"] = groups[column].rank()

    def coefficients(group: pd.DataFrame) -> tuple[float, float, float]:
        picked = group.test_accuracy.to_numpy()[group.pre_train_loss.to_numpy().argmin()]
        return (
            np.corrcoef(group.pre_train_loss, group.test_accuracy)[0, 1],
            np.corrcoef(group.pre_train_loss_rank, group.test_accuracy_rank)[0, 1],
            (group.test_accuracy > picked).mean(),
        )

    columns = ["pre_train_loss", "test_accuracy", "pre_train_loss_rank", "test_accuracy_rank"]
    return frame.groupby(["setting", "sparsity"])[columns].apply(coefficients)


def _best(place: Path) -> object:
    frame = _read(place, ["val_accuracy", "test_accuracy", "density", "wall_seconds"])
    return frame.groupby(["arm", "sparsity"])[
        ["val_accuracy", "test_accuracy", "density", "wall_seconds"]
    ].agg(["count", "mean", "std"])


_PANDAS = {"crossover": _crossover, "correlation": _correlation, "best": _best}

if __name__ == "__main__":
    main()
