"""Validation accuracies of a running study that can be compared: over what all ways to choose a mask have."""

import heapq
import json
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sweep.arms import names, place
from sweep.config import CHOICE, DENSE

# A sparsity and a seed.
Cell = tuple[float, int]


@dataclass(frozen=True)
class Standing:
    """The arms of one setting so far, by mean validation accuracy over the cells that all of them have.

    Attributes:
        means: name → mean, the highest first; maybe not of all arms.
        cells: sparsities and seeds that the means are over, the same for each.
        arms: how many the setting has.
    """

    setting: str
    means: dict[str, float]
    cells: int
    arms: int


class Standings:
    """Takes results one by one; nothing that is done for one grows with the number of those before."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[_Setting, int]] = {}  # by the arm's hash: arms are long
        self._settings: dict[int, _Setting] = {}
        self._latest: _Setting | None = None
        self._lock = Lock()  # a live view asks from a thread of its own

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of `trials`; a dense network, or one without an accuracy, has nothing to compare."""
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
        rest = {name: value for name, value in config.items() if name not in CHOICE}
        key = hash(json.dumps(rest, sort_keys=True))
        setting = self._settings.setdefault(key, _Setting(place(rest)))
        setting.choices.append(tuple(config.get(name) for name in CHOICE))
        return setting, len(setting.choices) - 1

    def latest(self, most: int) -> Standing | None:
        """Of the setting of the latest result the `most` best; None if its arms share no cell."""
        with self._lock:
            setting = self._latest
            if setting is None or not setting.shared:
                return None
            best = heapq.nlargest(most, enumerate(setting.sums), key=lambda arm: arm[1])
            configs = {arm: dict(zip(CHOICE, setting.choices[arm], strict=True)) for arm, _ in best}
            named = names(configs, dict.fromkeys(configs))
            means = {named[arm]: total / setting.shared for arm, total in best}
            return Standing(setting.name, means, setting.shared, len(setting.sums))


class _Setting:
    """Arms that are compared.

    Attributes:
        choices: of each arm, how its mask is chosen.
        shared: number of cells that all arms have.
        sums: of each arm, its accuracies in them.
    """

    __slots__ = ("_cells", "choices", "name", "shared", "sums")

    def __init__(self, name: str) -> None:
        self.name, self.shared = name, 0
        self.choices: list[tuple[Any, ...]] = []
        self.sums: list[float] = []
        self._cells: dict[Cell, dict[int, float]] = {}

    def add(self, arm: int, cell: Cell, accuracy: float) -> None:
        """Take one accuracy; arms come in the order of their numbers."""
        here = self._cells.setdefault(cell, {})
        new = arm == len(self.sums)
        if arm in here:
            return
        here[arm] = accuracy
        everyone = len(here) == len(self.sums) + new
        if not new and everyone:
            self.shared += 1
            for other, value in here.items():
                self.sums[other] += value
        elif new and everyone and self.shared == 1:
            # It is the cell that the others share: what all have of it stays.
            self.sums.append(accuracy)
        elif new:
            # Of the cells that the others share it has this one at most.
            if self.shared or everyone:
                self.sums = [here[other] if everyone else 0.0 for other in range(len(self.sums))]
            self.sums.append(accuracy if everyone else 0.0)
            self.shared = int(everyone)
