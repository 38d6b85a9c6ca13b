"""A trial looked up among results, in one study's folder or in the folder of all studies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from sweep.store import results
from sweep.store.places import Place
from sweep.store.results import Row
from sweep.store.schema import SCHEMAS


@dataclass(frozen=True)
class Recorded:
    """The row of a trial that counts, and the folder of the study that it is in."""

    row: Row
    folder: Place


def of_all_studies(root: Place) -> Place:
    """The folder of all studies, of which `root` may be the folder of one."""
    return root.parent if (root / "trials").is_dir() else root


def beginning_with(root: Place, prefix: str) -> dict[str, Recorded]:
    """trial_id → row, of every trial whose id begins with a prefix, whatever its status.

    Args:
        root: the folder of one study, or of all studies.
        prefix: of ids; an empty text begins every id.
    """
    rows = sorted(_rows(root, prefix), key=lambda each: results.precedence(each.row))
    return {each.row["trial_id"]: each for each in rows}


def _rows(root: Place, prefix: str) -> Iterator[Recorded]:
    if not root.is_dir():
        return
    folders: list[Any] = [root] if (root / "trials").is_dir() else sorted(root.iterdir(), key=str)
    for folder in folders:
        rows = results.described(folder, SCHEMAS["trials"].names)
        # Rows become Python objects last: there may be millions.
        for row in rows.filter(pc.starts_with(rows["trial_id"], prefix)).to_pylist():
            yield Recorded(row, folder)
