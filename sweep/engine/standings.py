"""Means of validation accuracy in a running study, over the cells that all compared arms have results of."""

import heapq
import json
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sweep.arms import is_among, names, place
from sweep.config import CHOICE, DENSE

# Sparsity and seed.
Cell = tuple[float, int]


@dataclass(frozen=True)
class Standing:
    """The arms of one setting so far, by mean validation accuracy over the cells that all of them have.

    Attributes:
        means: name of an arm → mean, the highest first; of some arms or all.
        cells: number of cells (sparsity, seed) that each mean is over.
        arms: number of arms in the setting.
    """

    setting: str
    means: dict[str, float]
    cells: int
    arms: int


class Standings:
    """Takes results one by one. The work for a result does not grow with the number of earlier results."""

    def __init__(self) -> None:
        # Hash of an arm's text, which is long → its setting, and its number in the setting.
        self._places: dict[int, tuple[_Setting, int]] = {}
        self._settings: dict[int, _Setting] = {}
        self._latest: _Setting | None = None
        self._lock = Lock()  # a live view reads from a thread of its own

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of `trials`. Rows of dense networks and rows without an accuracy are not compared."""
        accuracy = row.get("val_accuracy")
        if accuracy is None or row["criterion"] == DENSE:
            return
        with self._lock:
            key = hash(row["arm"])
            if key not in self._places:
                self._places[key] = self._place(json.loads(row["arm"]))
            self._latest, arm = self._places[key]
            self._latest.add(arm, (row["sparsity"], row["seed"]), accuracy)

    def _place(self, config: dict[str, Any]) -> tuple["_Setting", int]:
        """The setting of a new arm, and the arm's number in it."""
        rest = {name: value for name, value in config.items() if not is_among(name, CHOICE)}
        key = hash(json.dumps(rest, sort_keys=True))
        setting = self._settings.setdefault(key, _Setting(place(rest)))
        own = [(name, value) for name, value in config.items() if "." in name and is_among(name, CHOICE)]
        setting.choices.append((*(config.get(name) for name in CHOICE), *own))
        return setting, len(setting.choices) - 1

    def latest(self, most: int) -> Standing | None:
        """The `most` best arms in the setting of the latest result; None if its arms share no cell."""
        with self._lock:
            setting = self._latest
            if setting is None or not setting.shared:
                return None
            best = heapq.nlargest(most, enumerate(setting.sums), key=lambda arm: arm[1])
            configs = {arm: _chosen(setting.choices[arm]) for arm, _ in best}
            named = names(configs, dict.fromkeys(configs))
            means = {named[arm]: total / setting.shared for arm, total in best}
            return Standing(setting.name, means, setting.shared, len(setting.sums))


def _chosen(values: tuple[Any, ...]) -> dict[str, Any]:
    """The fields that choose a mask, from their values in order and the parameters of the criterion.

    A field that is newer than the arm, or at its default since, has no value.
    """
    named = [(name, value) for name, value in zip(CHOICE, values, strict=False) if value is not None]
    return dict([*named, *values[len(CHOICE) :]])


class _Setting:
    """Arms that are compared with each other.

    Attributes:
        choices: fields that choose the mask, by arm.
        shared: number of cells that all arms have.
        sums: sum of accuracies over the shared cells, by arm.
    """

    __slots__ = ("_cells", "choices", "name", "shared", "sums")

    def __init__(self, name: str) -> None:
        self.name, self.shared = name, 0
        self.choices: list[tuple[Any, ...]] = []
        self.sums: list[float] = []
        self._cells: dict[Cell, dict[int, float]] = {}

    def add(self, arm: int, cell: Cell, accuracy: float) -> None:
        """Take one accuracy; new arms come in the order of their numbers."""
        accuracies = self._cells.setdefault(cell, {})
        new = arm == len(self.sums)
        if arm in accuracies:
            return
        accuracies[arm] = accuracy
        complete = len(accuracies) == len(self.sums) + new
        if not new and complete:
            self.shared += 1
            for other, value in accuracies.items():
                self.sums[other] += value
        elif new and complete and self.shared == 1:
            # This is the one cell that the other arms share: their sums stay.
            self.sums.append(accuracy)
        elif new:
            # The new arm has this cell alone: no other cell is shared any more.
            if self.shared or complete:
                self.sums = [accuracies[other] if complete else 0.0 for other in range(len(self.sums))]
            self.sums.append(accuracy if complete else 0.0)
            self.shared = int(complete)
