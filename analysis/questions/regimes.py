"""How does accuracy depend on two fields together? One map for each arm less the two."""

import json
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

import duckdb

from analysis.warehouse import ask
from analysis.warehouse.arms import label
from sweep.means import mean_interval

Row = dict[str, Any]


def regimes(connection: duckdb.DuckDBPyConnection, x: str = "sparsity", y: str = "prune_epoch") -> list[Row]:
    """One row an arm and sparsity, map by map; sparsity is one of the two, or each has maps of its own.

    `setting` and `label` name the map: nothing differs within it but the two fields and the seeds, so that no
    mean is over more than the seeds of one arm (of x or y the seed: one trial). `half_width` is of the mean's
    95 % Student-t interval over the seeds, None for one seed.

    Args:
        x, y: fields of the config.
    """
    answers = ask(connection, "regimes", {"x": x, "y": y})
    beside = "sparsity" not in (x, y)

    @cache
    def panel(arm: str, sparsity: float | None) -> str:
        config = {name: value for name, value in json.loads(arm).items() if name not in (x, y)}
        return json.dumps(config if sparsity is None else config | {"sparsity": sparsity})

    panels = [panel(row["arm"], row["sparsity"] if beside else None) for row in answers]
    labels = label(panels)
    found = []
    for row, name in zip(answers, panels, strict=True):
        known = labels[name]
        half = mean_interval(row["test_accuracy"], row["deviation"], row["trials"]).half_width
        told = {key: value for key, value in row.items() if key not in ("arm", "sparsity")}
        found.append({"setting": known.setting, "label": known.name, **told, "half_width": half})
    return sorted(found, key=lambda row: (row["setting"], row["label"]))


def maps(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each map, by its name; without those that have one value of y: over it there is no map."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["x"] is not None and row["y"] is not None:  # a study in steps has no epochs
            found[f"{row['setting']}: {row['label']}"].append(row)
    return {name: points for name, points in found.items() if len({point["y"] for point in points}) > 1}
