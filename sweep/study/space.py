"""The space that a search chooses from: the `search:` mapping of a study file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sweep.config import SEEDS, Config
from sweep.study import axes, library
from sweep.study.document import Document, Item
from sweep.study.identity import UNCHANGED_COLUMNS

if TYPE_CHECKING:  # the import takes half a second, and a study without a search needs none of it
    import optuna
    from optuna.distributions import BaseDistribution

OBJECTIVES = {
    # name: the column of results, and whether larger is better
    "accuracy": ("val_accuracy", True),
    "density": ("density", False),
    "cost": ("macs_masked", False),
}
# The columns of a row that show whether its trial is in a space. Seeds do not: a search runs more of them.
_TELLING_COLUMNS = tuple(name for name in UNCHANGED_COLUMNS if name not in SEEDS)


@dataclass(frozen=True)
class Dimension:
    """A field whose value the search chooses.

    Attributes:
        origin: where the study gives it: `FILE:LINE`, or an argument.
        values: to choose from; empty: the values are those from `low` to `high`.
        step: distance between the values from `low` to `high`; None: any value between them.
        log: whether each order of magnitude is chosen equally often.
        when: another dimension → its values with which this dimension matters.
    """

    name: str
    origin: str
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    when: Mapping[str, frozenset[Any]] = field(default_factory=dict)

    def matters(self, chosen: Mapping[str, Any]) -> bool:
        """Whether the dimension needs a value, given the values of the dimensions before it."""
        return all(chosen.get(other) in values for other, values in self.when.items())

    def holds(self, value: Any) -> bool:
        """Whether the dimension has a value."""
        if self.values:
            return value in self.values
        if isinstance(value, bool | str) or value is None or not self.low <= value <= self.high:
            return False
        steps = float(value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-9

    def takes(self, value: Any) -> bool:
        """Whether a search can be expected to choose exactly this value; never in a range without steps."""
        stepped = self.values or self.step or isinstance(self.low, int)
        return bool(stepped) and self.holds(value) and self.written(value) == value

    def written(self, value: Any) -> Any:
        """A value as a study would write it.

        The step is the decimal number that the file says. Sums of its binary fraction differ in the last
        digits: 0.5 and 7 steps of 0.05 are 0.8500000000000001, another trial than 0.85.
        """
        if self.values or self.step is None or isinstance(self.low, int):
            return value
        steps = round((value - self.low) / self.step)
        return float(Decimal(repr(self.low)) + steps * Decimal(repr(self.step)))

    def suggest(self, trial: "optuna.Trial") -> Any:
        """The value that Optuna chooses for one of its trials."""
        if self.values:
            return trial.suggest_categorical(self.name, self.values)
        if isinstance(self.low, int):
            step = int(self.step or 1)
            return trial.suggest_int(self.name, self.low, int(self.high), step=step, log=self.log)
        return self.written(trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log))

    @property
    def distribution(self) -> "BaseDistribution":
        """The dimension as a distribution of Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.values:
            return CategoricalDistribution(self.values)
        if isinstance(self.low, int):
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Search:
    """A space, and how to search it.

    Attributes:
        document: the study file, for errors.
        dimensions: the fields whose values the search chooses, in the order of the file.
        given: the fields whose value the study gives.
        trials: the most trials to run, those of further seeds among them.
        seeds: how many seeds a schedule needs before it can be the best.
        sampler: one of `sweep.search.samplers.SAMPLERS`.
        objectives: of `OBJECTIVES`.
        min_accuracy: the least validation accuracy of an answer.
        no_collapse: whether an answer must keep a weight in every layer.
        stop: one of `sweep.search.stopping.PRUNERS`, which stops poor trials early; None: all run to the end.
        stop_after: epochs of retraining before a trial can be stopped.
    """

    document: Document
    dimensions: tuple[Dimension, ...]
    given: Mapping[str, Item]
    trials: int = 100
    seeds: int = 3
    sampler: str = "tpe"
    objectives: tuple[str, ...] = ("accuracy",)
    min_accuracy: float = 0.0
    no_collapse: bool = False
    stop: str | None = None
    stop_after: int = 1

    @property
    def fixed(self) -> dict[str, Any]:
        """The fields whose value the study gives, with this value."""
        return {name: item.value for name, item in self.given.items()}

    def make(self, chosen: Mapping[str, Any]) -> Config:
        """The config of chosen values.

        Raises:
            BadInput: the values do not go together.
        """
        origins = {dimension.name: dimension.origin for dimension in self.dimensions}
        items = {**self.given, **{name: Item(value, origins[name]) for name, value in chosen.items()}}
        [config] = axes.configs(
            self.document, {name: [item] for name, item in items.items()}, self.document.at()
        )
        return config

    def suggest(self, trial: "optuna.Trial") -> dict[str, Any]:
        """The values that Optuna chooses for one of its trials, of each dimension that matters."""
        chosen: dict[str, Any] = {}
        for dimension in self.dimensions:
            if dimension.matters(chosen):
                chosen[dimension.name] = dimension.suggest(trial)
        return chosen

    def chosen(self, config: Config) -> dict[str, Any] | None:
        """The chosen values that make a config; None: the config is not in the space."""
        chosen: dict[str, Any] = {}
        for dimension in self.dimensions:
            if not dimension.matters(chosen):
                continue
            value = library.value(config, dimension.name)
            if not dimension.holds(value):
                return None
            chosen[dimension.name] = value
        return chosen

    def written(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Chosen values as a study would write them."""
        return {each.name: each.written(chosen[each.name]) for each in self.dimensions if each.name in chosen}

    def could_hold(self, row: Mapping[str, Any]) -> bool:
        """Whether the trial of a row of `trials` can be in this space, by columns that are never replaced."""
        fixed = self.fixed
        if any(row[name] != fixed[name] for name in _TELLING_COLUMNS if name in fixed):
            return False
        telling = (each for each in self.dimensions if each.name in _TELLING_COLUMNS and not each.when)
        return all(dimension.holds(row[dimension.name]) for dimension in telling)

    def distributions(self, chosen: Mapping[str, Any]) -> dict[str, "BaseDistribution"]:
        """The dimensions of chosen values as distributions of Optuna."""
        return {each.name: each.distribution for each in self.dimensions if each.name in chosen}
