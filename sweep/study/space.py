"""The space that a search chooses from: the `search:` mapping of a study file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field

from sweep.config import FIELDS, SEEDS, Config
from sweep.study import axes
from sweep.study.document import Document, Item, line_of
from sweep.study.fields import Values, values
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
        line: of the study file.
        values: to choose from; empty: the values are those from `low` to `high`.
        step: distance between the values from `low` to `high`; None: any value between them.
        log: whether each order of magnitude is chosen equally often.
        when: another dimension → its values with which this dimension matters.
    """

    name: str
    line: int
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
        lines = {dimension.name: dimension.line for dimension in self.dimensions}
        items = {**self.given, **{name: Item(value, lines[name]) for name, value in chosen.items()}}
        [config] = axes.configs(self.document, {name: [item] for name, item in items.items()}, 1)
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
            value = getattr(config, dimension.name)
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


# The settings of a search beside its space; `Search` has their defaults.
_SETTINGS = {
    "trials": Values(Annotated[int, Field(ge=1, le=10**6)]),
    "seeds": Values(Annotated[int, Field(ge=1, le=1000)]),
    "sampler": Values(Literal["tpe", "nsga2", "gp", "cma-es", "random", "grid"]),
    "objectives": Values(Literal["accuracy", "density", "cost"]),
    "min_accuracy": Values(Annotated[float, Field(ge=0, le=1)]),
    "no_collapse": Values(bool),
    "stop": Values(Literal["median", "asha", "hyperband"] | None),
    "stop_after": Values(Annotated[int, Field(ge=1, le=10**6)]),
}
_RANGE = ("low", "high", "step", "log", "values", "when")
_LOG = Values(bool)


def read(document: Document, node: yaml.Node, given: Mapping[str, Item]) -> Search:
    """The search that a node of a study file describes.

    Args:
        given: the fields whose value the study gives.

    Raises:
        BadInput: the node is no search.
    """
    line, error = line_of(node), document.error
    nodes = document.mapping(node, "a search", ("space", *_SETTINGS))
    if "space" not in nodes:
        raise error(line, "a search needs a space: fields, each with its values or low and high")
    dimensions = _dimensions(document, nodes.pop("space"), given)
    for name, info in FIELDS.items():
        if info.is_required() and name not in dimensions and name not in given:
            raise error(line, f"{name} is missing: give it a value, or several in the space")
    settings = {name: _setting(document, name, each) for name, each in nodes.items()}
    if reason := _unfit(settings.get("sampler"), dimensions.values(), settings.get("objectives", ())):
        raise error(line_of(nodes["sampler"]), f"sampler {settings['sampler']}: {reason}")
    if "stop_after" in nodes and not settings.get("stop"):
        at = line_of(nodes["stop_after"])
        raise error(at, "stop_after: nothing is stopped without stop: median, asha or hyperband")
    if settings.get("stop") and settings.get("objectives", ("accuracy",)) != ("accuracy",):
        at = line_of(nodes["stop"])
        raise error(at, "stop: it goes by accuracy alone; leave it out, or the other objectives")
    return Search(document, tuple(dimensions.values()), given, **settings)


def _dimensions(document: Document, node: yaml.Node, given: Mapping[str, Item]) -> dict[str, Dimension]:
    choosable = [name for name in FIELDS if name not in SEEDS]
    dimensions: dict[str, Dimension] = {}
    for name, value in document.mapping(node, "a space", choosable).items():
        if name in given:
            raise document.error(line_of(value), f"{name}: the study gives it a value already")
        dimensions[name] = _dimension(document, name, value, dimensions)
    if not dimensions:
        raise document.error(line_of(node), "a space needs fields to choose values of")
    return dimensions


def _unfit(sampler: str | None, dimensions: Iterable[Dimension], objectives: Sequence[str]) -> str:
    """Why a sampler cannot search these dimensions; empty: it can."""
    if sampler == "grid" and any(not dimension.values for dimension in dimensions):
        return "every dimension needs a list of values"
    if sampler == "cma-es" and sum(not each.values and not each.when for each in dimensions) < 2:
        return "it needs two dimensions from low to high that always matter; take tpe"
    if sampler == "cma-es" and len(objectives) > 1:
        return "it has one objective; take tpe or nsga2"
    return ""


def _setting(document: Document, name: str, node: yaml.Node) -> Any:
    if name == "objectives":
        return tuple(document.values(name, node, _SETTINGS[name]))
    return document.value(name, node, _SETTINGS[name])


def _dimension(document: Document, name: str, node: yaml.Node, before: Mapping[str, Dimension]) -> Dimension:
    """A dimension of a space.

    Args:
        before: the dimensions before it in the file, by name.
    """
    line, of_field, error = line_of(node), values(name), document.error
    if not isinstance(node, yaml.MappingNode):
        return Dimension(name, line, tuple(document.values(name, node, of_field)))
    nodes = document.mapping(node, name, _RANGE)
    when = _when(document, name, nodes["when"], before) if "when" in nodes else {}
    if "values" in nodes:
        if nodes.keys() - {"values", "when"}:
            raise error(line, f"{name}: values, or low and high, not both")
        return Dimension(name, line, tuple(document.values(name, nodes["values"], of_field)), when=when)
    if not {"low", "high"} <= nodes.keys():
        raise error(line, f"{name}: give a list of values, or low and high")
    low, high = (document.value(name, nodes[end], of_field) for end in ("low", "high"))
    if not isinstance(low, int | float) or isinstance(low, bool) or high is None or not low < high:
        raise error(line, f"{name}: an empty range, from {low} to {high}")
    log = "log" in nodes and document.value(f"{name}: log", nodes["log"], _LOG)
    if log and low <= 0:
        raise error(line, f"{name}: log needs a low above 0")
    step = None
    if "step" in nodes:
        step, at = document.value(f"{name}: step", nodes["step"], of_field), line_of(nodes["step"])
        if not step or log:
            raise error(at, f"{name}: step is a number above 0, without log")
        if Decimal(repr(step)) > Decimal(repr(high)) - Decimal(repr(low)):
            raise error(at, f"{name}: step {step:g} is wider than the range, {low:g} to {high:g}")
    return Dimension(name, line, (), low, high, step, log, when)


def _when(
    document: Document, name: str, node: yaml.Node, before: Mapping[str, Dimension]
) -> dict[str, frozenset[Any]]:
    """Another dimension → its values with which a dimension matters.

    Args:
        name: of the dimension.
        before: the dimensions before it in the file, by name.
    """
    when: dict[str, frozenset[Any]] = {}
    for other, value in document.mapping(node, "when", list(FIELDS)).items():
        if other not in before:
            raise document.error(
                line_of(value), f"when {other}: {name} can only depend on a dimension before it"
            )
        when[other] = frozenset(document.values(f"when {other}", value, values(other)))
    # The other dimensions have conditions too. Each depends on earlier ones only, so the last comes first.
    needed = dict(when)
    for other in reversed([*before]):
        for deeper, allowed in before[other].when.items() if other in needed else ():
            needed[deeper] = needed.get(deeper, allowed) & allowed
    for other, allowed in needed.items():
        if not any(map(before[other].takes, allowed)):
            raise document.error(
                line_of(node), f"when {other}: a value that {other} never has: {name} would never be chosen"
            )
    return when
