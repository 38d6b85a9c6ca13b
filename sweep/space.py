"""The space that a search looks through: the `search:` block of a study file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import yaml
from pydantic import BaseModel, Field, ValidationError

from sweep.config import FIELDS, SEEDS, Config
from sweep.errors import BadInput

if TYPE_CHECKING:  # takes half a second to import, which a sweep need not wait for
    import optuna
    from optuna.distributions import BaseDistribution

OBJECTIVES = {
    # name: what is measured, and whether more of it is better
    "accuracy": ("val_accuracy", True),
    "density": ("density", False),
    "cost": ("macs_masked", False),
}


# Columns of results that are never set to a default because something else makes them moot.
_ALWAYS = ("dataset", "model", "epochs", "steps", "sparsity")


@dataclass(frozen=True)
class Dimension:
    """A field that the search chooses.

    Attributes:
        line: of the study file.
        values: to choose from; empty: from low to high.
        step: between the values from low to high; None: any.
        log: as many small values as large ones.
        when: other dimension → the values with which this one matters.
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
        """Whether it is to be chosen at all, after the dimensions before it."""
        return all(chosen.get(other) in values for other, values in self.when.items())

    def holds(self, value: Any) -> bool:
        """Whether a value is one that can be chosen."""
        if self.values:
            return value in self.values
        if isinstance(value, bool | str) or value is None or not self.low <= value <= self.high:
            return False
        steps = float(value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-9

    def suggest(self, trial: "optuna.Trial") -> Any:
        """Let Optuna choose a value."""
        if self.values:
            return trial.suggest_categorical(self.name, self.values)
        if isinstance(self.low, int):
            step = int(self.step or 1)
            return trial.suggest_int(self.name, self.low, int(self.high), step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    @property
    def distribution(self) -> "BaseDistribution":
        """As Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.values:
            return CategoricalDistribution(self.values)
        if isinstance(self.low, int):
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Search:
    """What to search for, where and how long.

    Attributes:
        trials: to run at most, those of further seeds among them.
        seeds: that a schedule which looks best must be measured with before it is believed.
        sampler: one of `sweep.samplers.SAMPLERS`.
        objectives: of `OBJECTIVES`.
        min_accuracy: validation accuracy below which a schedule is no answer.
        no_collapse: nor is one that empties a layer.
        stop: how poor trials are stopped early, one of `sweep.stopping.PRUNERS`; None: they are not.
        stop_after: epochs of retraining that each trial has before it can be stopped.
        fixed: fields that the study gives one value.
        make: the config of chosen values; raises `BadInput` for values that do not go together.
    """

    dimensions: tuple[Dimension, ...]
    make: Callable[[Mapping[str, Any]], Config]
    trials: int = 100
    seeds: int = 3
    sampler: str = "tpe"
    objectives: tuple[str, ...] = ("accuracy",)
    min_accuracy: float = 0.0
    no_collapse: bool = False
    stop: str | None = None
    stop_after: int = 1
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def suggest(self, trial: "optuna.Trial") -> dict[str, Any]:
        """Let Optuna choose a value of each dimension that matters."""
        chosen: dict[str, Any] = {}
        for dimension in self.dimensions:
            if dimension.matters(chosen):
                chosen[dimension.name] = dimension.suggest(trial)
        return chosen

    def chosen(self, config: Config) -> dict[str, Any] | None:
        """The choice of values that this config comes of; None: it is not in the space."""
        chosen: dict[str, Any] = {}
        for dimension in self.dimensions:
            if not dimension.matters(chosen):
                continue
            value = getattr(config, dimension.name)
            if not dimension.holds(value):
                return None
            chosen[dimension.name] = value
        return chosen

    def could_hold(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of `trials` can be of this space, by columns that always mean what the study says."""
        if any(row[name] != self.fixed[name] for name in _ALWAYS if name in self.fixed):
            return False
        always = (each for each in self.dimensions if each.name in _ALWAYS and not each.when)
        return all(dimension.holds(row[dimension.name]) for dimension in always)

    def distributions(self, chosen: Mapping[str, Any]) -> dict[str, "BaseDistribution"]:
        """The distributions of the dimensions that were chosen."""
        return {each.name: each.distribution for each in self.dimensions if each.name in chosen}


class Reader(Protocol):
    """What of the reader of study files is needed here."""

    def wrong(self, line: int, message: str) -> BadInput:
        """The error of a line."""

    def mapping(self, node: yaml.Node, what: str, known: Sequence[str]) -> dict[str, yaml.Node]:
        """Key → node."""

    def value(self, name: str, node: yaml.Node) -> Any:
        """A value of a field of the config."""

    def values(self, name: str, node: yaml.Node) -> list[Any]:
        """One or several."""


class _Settings(BaseModel):
    """How to search, beside where."""

    trials: Annotated[int, Field(ge=1, le=10**6)] = 100
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    sampler: Literal["tpe", "nsga2", "gp", "cma-es", "random", "grid"] = "tpe"
    objectives: tuple[Literal["accuracy", "density", "cost"], ...] = ("accuracy",)
    min_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.0
    no_collapse: bool = False
    stop: Literal["median", "asha", "hyperband"] | None = None
    stop_after: Annotated[int, Field(ge=1, le=10**6)] = 1


_RANGE = ("low", "high", "step", "log", "values", "when")
Make = Callable[[Mapping[str, Any], Mapping[str, int]], Config]


def read(reader: Reader, node: yaml.Node, base: Mapping[str, Any], make: Make) -> Search:
    """The search that a node of a study file describes.

    Args:
        base: fields that the study gives one value, with it.
        make: chosen values, and the lines of their dimensions, → config.
    """
    line = node.start_mark.line + 1
    fields = reader.mapping(node, "a search", ("space", *_Settings.model_fields))
    if "space" not in fields:
        raise reader.wrong(line, "a search needs a space: fields, each with its values or low and high")
    space = fields.pop("space")
    choosable = [name for name in FIELDS if name not in SEEDS]
    dimensions: dict[str, Dimension] = {}
    for name, value in reader.mapping(space, "a space", choosable).items():
        if name in base:
            raise reader.wrong(value.start_mark.line + 1, f"{name}: the study gives it a value already")
        dimensions[name] = _dimension(reader, name, value, dimensions)
    if not dimensions:
        raise reader.wrong(space.start_mark.line + 1, "a space needs fields to choose values of")
    for name, info in FIELDS.items():
        if info.is_required() and name not in dimensions and name not in base:
            raise reader.wrong(line, f"{name} is missing: give it a value, or several in the space")
    lines = {name: dimension.line for name, dimension in dimensions.items()}
    settings = {name: _setting(reader, name, value) for name, value in fields.items()}
    if reason := _unfit(settings.get("sampler"), dimensions.values(), settings.get("objectives", ())):
        raise reader.wrong(fields["sampler"].start_mark.line + 1, f"sampler {settings['sampler']}: {reason}")
    if "stop_after" in fields and not settings.get("stop"):
        at = fields["stop_after"].start_mark.line + 1
        raise reader.wrong(at, "stop_after: nothing is stopped without stop: median, asha or hyperband")
    if settings.get("stop") and settings.get("objectives", ("accuracy",)) != ("accuracy",):
        at = fields["stop"].start_mark.line + 1
        raise reader.wrong(at, "stop: it goes by accuracy alone; leave it out, or the other objectives")
    return Search(tuple(dimensions.values()), lambda chosen: make(chosen, lines), fixed=base, **settings)


def _unfit(sampler: str | None, dimensions: Iterable[Dimension], objectives: Sequence[str]) -> str:
    """Why a sampler cannot search such a space, if it cannot."""
    if sampler == "grid" and any(not dimension.values for dimension in dimensions):
        return "every dimension needs a list of values"
    if sampler == "cma-es" and sum(not each.values and not each.when for each in dimensions) < 2:
        return "it needs two dimensions from low to high that always matter; take tpe"
    if sampler == "cma-es" and len(objectives) > 1:
        return "it has one objective; take tpe or nsga2"
    return ""


def _setting(reader: Reader, name: str, node: yaml.Node) -> Any:
    value = yaml.SafeLoader("").construct_object(node, deep=True)
    if name == "objectives" and isinstance(value, str):
        value = [value]
    try:
        return getattr(_Settings.model_validate({name: value}), name)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise reader.wrong(node.start_mark.line + 1, f"{name}: {message[0].lower()}{message[1:]}") from None


def _dimension(reader: Reader, name: str, node: yaml.Node, before: Mapping[str, Dimension]) -> Dimension:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        return Dimension(name, line, tuple(reader.values(name, node)))
    fields = reader.mapping(node, name, _RANGE)
    when = {}
    if "when" in fields:
        for other, value in reader.mapping(fields["when"], "when", list(FIELDS)).items():
            if other not in before:
                at = value.start_mark.line + 1
                raise reader.wrong(at, f"when {other}: {name} can only depend on a dimension before it")
            when[other] = frozenset(reader.values(other, value))
    if "values" in fields:
        if fields.keys() - {"values", "when"}:
            raise reader.wrong(line, f"{name}: values, or low and high, not both")
        return Dimension(name, line, tuple(reader.values(name, fields["values"])), when=when)
    if not {"low", "high"} <= fields.keys():
        raise reader.wrong(line, f"{name}: give a list of values, or low and high")
    low, high = (reader.value(name, fields[end]) for end in ("low", "high"))
    if isinstance(low, str | bool) or low is None or not low < high:
        raise reader.wrong(line, f"{name}: an empty range, from {low} to {high}")
    log = bool(_plain(fields.get("log")))
    if log and low <= 0:
        raise reader.wrong(line, f"{name}: log needs a low above 0")
    step = _plain(fields.get("step"))
    if step is not None and (isinstance(step, bool | str) or step <= 0 or log):
        raise reader.wrong(line, f"{name}: step is a number above 0, without log")
    return Dimension(name, line, (), low, high, step, log, when)


def _plain(node: yaml.Node | None) -> Any:
    return None if node is None else yaml.SafeLoader("").construct_object(node)
