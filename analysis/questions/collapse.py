"""Where do criteria remove whole layers, and from which prune epoch on is it safe?"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import duckdb

from analysis.questions.question import Question, Row, Section, Summary
from analysis.warehouse import ask
from analysis.warehouse.arms import label, without
from sweep.config import CHOICE, WHEN
from sweep.means import wilson


def collapse(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """One row for each setting, criterion, sparsity and prune epoch, with the share of collapsed trials.

    A trial has collapsed if a layer keeps no weight, or if no kept weight lies on a path from input to
    output. `low` and `high` are the ends of the share's 95 % Wilson interval. `safe_from` is the earliest
    prune epoch from which on no trial collapsed; None if there is none.
    """
    answers = ask(connection, "collapse")
    # Arms that differ in their prune epoch alone are one way to prune.
    ways = {row["arm"]: without(row["arm"], ("prune_epoch",)) for row in answers}
    labels = label(ways.values(), (*CHOICE, *WHEN))
    groups: dict[tuple[str, str, float, str], list[dict[str, Any]]] = defaultdict(list)
    for row in answers:
        way = ways[row["arm"]]
        groups[labels[way].setting, labels[way].name, row["sparsity"], way].append(row)
    shares = []
    for (setting, name, sparsity, _), rows in sorted(groups.items()):
        ordered = sorted(rows, key=lambda row: row["prune_epoch"] or 0)
        safe = None
        for row in reversed(ordered):
            if row["failing"]:
                break
            safe = row["prune_epoch"]
        columns: Row = {"setting": setting, "criterion": name, "sparsity": sparsity}
        shares += [columns | _shares(row) | {"safe_from": safe} for row in ordered]
    return shares


def _shares(row: Row) -> Row:
    """The shares of collapsed trials at one prune epoch, from a row of queries/collapse.sql."""
    low, high = wilson(row["failing"], row["trials"])
    return {
        "prune_epoch": row["prune_epoch"],
        "trials": row["trials"],
        "collapsed": row["failing"] / row["trials"],
        "low": low,
        "high": high,
        "emptied_layers_in": row["collapsed"] / row["trials"],
        "no_path_in": row["disconnected"] / row["trials"],
        "most_often": row["layer"],
        "min_layer_density": row["min_layer_density"],
        "density": row["density"],
        "effective_density": row["effective_density"],
    }


def sentences(shares: Sequence[Row]) -> list[str]:
    """A sentence for each criterion and sparsity with collapsed trials, or one that there are none."""
    worst: dict[tuple[str, str, float], list[Row]] = defaultdict(list)
    for row in shares:
        worst[row["setting"], row["criterion"], row["sparsity"]].append(row)
    said = []
    for (setting, name, sparsity), rows in worst.items():
        hit = [row for row in rows if row["collapsed"]]
        if not hit:
            continue
        first = max(hit, key=lambda row: row["collapsed"])
        where = f", most often {first['most_often']}" if first["most_often"] else ", without a path left"
        safe = rows[0]["safe_from"]
        after = [row["trials"] for row in rows if safe is not None and (row["prune_epoch"] or 0) >= safe]
        ends = (
            f"none of {sum(after)} pruned from epoch {safe:g} on ({_none_of(min(after))} at one epoch)"
            if safe is not None
            else "not safe at the last epoch tested"
        )
        said.append(
            f"{setting}: {name} at {sparsity:g} collapses in {first['collapsed']:.0%} of trials "
            f"[{first['low']:.0%}, {first['high']:.0%}] pruned at epoch {first['prune_epoch']:g}"
            f"{where}; {ends}"
        )
    trials = sum(row["trials"] for row in shares)
    few = min((row["trials"] for row in shares), default=0)
    nothing = f"No trial of {trials} collapsed ({_none_of(few)} of one way at one sparsity and prune epoch)."
    return said or ([nothing] if shares else [])


def _none_of(trials: int) -> str:
    """A share of none with its interval, which must be over trials that are alike."""
    return f"of {trials} [0%, {wilson(0, trials)[1]:.0%}]"


QUESTION = Question(
    name="collapse",
    help="Where are whole layers removed, and from which prune epoch on is it safe?",
    answer=collapse,
    rows=list,
    sentences=sentences,
    section=Section(find=collapse, summary=Summary(place=40, title="Collapsed layers", sentences=sentences)),
)
