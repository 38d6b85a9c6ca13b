"""A question that is asked: its planner, and which trials are of it. What study.json keeps of a question."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from sweep.questions.best import Best
from sweep.questions.correlation import Correlation
from sweep.questions.crossover import Crossover
from sweep.questions.difference import Difference
from sweep.questions.planner import Answer, Wanted

Kind = Literal["crossover", "best", "difference", "correlation"]
KINDS: tuple[str, ...] = get_args(Kind)
# The number by which trials decide: never one of test data, as the decision is a selection.
DECIDES = "val_accuracy"
# The column of test data that is reported beside each column that decides.
_OF_TEST = {DECIDES: "test_accuracy"}
# The columns of `trials` that say which trial a row is of, and how it ended.
TELLING = ("trial_id", "config", "status")
_NOT_OF_ARMS = ("seed", "sparsity")

Planned = Crossover | Best | Difference | Correlation
Row = Mapping[str, Any]
# Numbers by arm, place and seed, as planners take them.
_Results = dict[tuple[str, float], dict[int, Any]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with its arms.

    Attributes:
        kind: which question it is.
        planner: the question itself.
        arms: label → the fields of its canonical config that are the same for all its trials.
        chosen: names of the other fields: seed, sparsity, and what follows from the sparsity.
        seed: the first seed, which planners count as 0.
        columns: of `trials`, whose numbers decide: one, or the two of a correlation.
    """

    kind: Kind
    planner: Planned
    arms: Mapping[str, Mapping[str, Any]]
    chosen: tuple[str, ...] = _NOT_OF_ARMS
    seed: int = 0
    columns: tuple[str, ...] = (DECIDES,)

    @staticmethod
    def parse(content: object) -> "Asked | None":
        """A question from what study.json keeps of it, which others may have written; None: it is none."""
        try:
            asked = _ADAPTER.validate_python(content)
        except (ValidationError, RecursionError):
            return None
        return asked if type(asked.planner) is _PLANNERS[asked.kind] and asked.is_sound else None

    @property
    def is_sound(self) -> bool:
        """Whether the planner is about the arms, at sparsities, in finite numbers."""
        planner = self.planner
        places = [getattr(planner, name) for name in ("low", "high", "place") if hasattr(planner, name)]
        places += getattr(planner, "places", ())
        labels = [getattr(planner, name) for name in ("first", "second") if hasattr(planner, name)]
        labels += getattr(planner, "arms", ())
        within = planner.within.amount if isinstance(planner, Crossover) else planner.within
        return (
            all(0 < place < 1 for place in places)
            and {*labels} == {*self.arms}
            and len(labels) > 1
            and (not isinstance(planner, Crossover) or planner.low < planner.high)
            and (within is None or 0 < within < math.inf)
            and 4 <= planner.cap <= 10**6
        )

    @property
    def telling(self) -> list[str]:
        """The columns of `trials` that `measured` needs."""
        return [*TELLING, *self.columns]

    def written(self) -> dict[str, Any]:
        """The question for study.json."""
        content: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return content

    def wanted(self, row: Row) -> Wanted | None:
        """Which trial of the question a row of `trials` is of; None: of none."""
        try:
            config = json.loads(row["config"])
            seed, place = config["seed"] - self.seed, float(config["sparsity"])
        except (LookupError, TypeError, ValueError, RecursionError):
            return None
        label = self._labels.get(self._text(config))
        return Wanted(label, place, seed) if label is not None and seed >= 0 else None

    def number(self, row: Row) -> Any:
        """What a planner gets of a trial that has ended; None: it has no such number."""
        numbers = [row.get(column) for column in self.columns]
        known = row["status"] == "ok" and all(each is not None and math.isfinite(each) for each in numbers)
        return (tuple(numbers) if len(numbers) > 1 else numbers[0]) if known else None

    def measured(self, rows: Iterable[Row]) -> _Results:
        """The numbers of all rows that are of the question. A trial that was stopped early has no end."""
        results: _Results = {}
        for row in rows:
            if row["status"] != "stopped" and (wanted := self.wanted(row)):
                results.setdefault((wanted.arm, wanted.place), {})[wanted.seed] = self.number(row)
        return results

    def answer(self, rows: Iterable[Row]) -> Answer:
        """The answer that results give, however far the question is."""
        found = self.planner.plan(self.measured(rows), frozenset(), 1, 0).answer
        assert found is not None, "without a budget a question is over"
        return found

    @property
    def on_test_data(self) -> "Asked | None":
        """The same question by test data of the same trials, which chose none of them; None: none."""
        if any(column not in _OF_TEST for column in self.columns) or isinstance(self.planner, Correlation):
            return None
        measure = self.planner.measure
        name = measure.name.replace("validation", "test")
        planner = replace(self.planner, measure=replace(measure, name=name, grain=0.0))
        return replace(self, planner=planner, columns=tuple(_OF_TEST[column] for column in self.columns))

    @cached_property
    def _labels(self) -> dict[str, str]:
        """The text of an arm → its label."""
        return {self._text(fields): label for label, fields in self.arms.items()}

    def _text(self, config: Mapping[str, Any]) -> str:
        fields = {name: value for name, value in config.items() if name not in self.chosen}
        return json.dumps(fields, sort_keys=True)


_PLANNERS: dict[str, type] = {
    "crossover": Crossover,
    "best": Best,
    "difference": Difference,
    "correlation": Correlation,
}
_ADAPTER = TypeAdapter(Asked)
