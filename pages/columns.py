"""The page of the columns of results."""

from pages.markdown import code, page, table
from sweep.store.tables import MARKS, TABLES

_SAID = {
    "trials": "One row for each trial.",
    "curves": "One row for each epoch of a trial.",
    "layers": "One row for each prunable layer of a trial.",
    "metrics": "One row for each further [metric](../studies.md#tasks-losses-and-metrics) and split.",
    "masks": "One row for each layer, of studies with [`keep`](../studies.md#kept-networks).",
    "marks": "One row for each [mark](../analysis.md#invalid-trials-and-tags) of a person.",
}


def columns() -> str:
    """The page."""
    parts = [
        "Each table is a view in `python -m analysis sql`, and Parquet files in `results/STUDY`. A column "
        "that is newer than a row is NULL there. [Results](../results.md) explains some further."
    ]
    for name in _SAID:
        rows = {**TABLES, "marks": MARKS}[name].items()
        parts += [
            f"## {name.capitalize()}",
            _SAID[name],
            table(
                ("column", "type", "meaning", "unit"),
                ((code(each), str(one.type), one.meaning, one.unit) for each, one in rows),
            ),
        ]
    return page("Columns of results", *parts)
