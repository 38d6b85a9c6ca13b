"""The space that a search looks through: the `search:` block of a study file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field

from sweep.config import FIELDS, SEEDS, Config
from sweep.study.document import Document, line_of
from sweep.study.fields import Values, values

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

    def takes(self, value: Any) -> bool:
        """Whether a search may choose just this value; of a range without steps it chooses any."""
        stepped = self.values or self.step or isinstance(self.low, int)
        return bool(stepped) and self.holds(value) and self.written(value) == value

    def written(self, value: Any) -> Any:
        """A value as a study would write it.

        A step is the decimal that the file says. Sums of its binary fraction miss the decimals that it comes
        to: 0.5 and 7 steps of 0.05 are 0.8500000000000001, another trial than 0.85.
        """
        if self.values or self.step is None or isinstance(self.low, int):
            return value
        steps = round((value - self.low) / self.step)
        return float(Decimal(repr(self.low)) + steps * Decimal(repr(self.step)))

    def suggest(self, trial: "optuna.Trial") -> Any:
        """Let Optuna choose a value."""
        if self.values:
            return trial.suggest_categorical(self.name, self.values)
        if isinstance(self.low, int):
            step = int(self.step or 1)
            return trial.suggest_int(self.name, self.low, int(self.high), step=step, log=self.log)
        return self.written(trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log))

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
        sampler: one of `sweep.search.samplers.SAMPLERS`.
        objectives: of `OBJECTIVES`.
        min_accuracy: validation accuracy below which a schedule is no answer.
        no_collapse: nor is one that empties a layer.
        stop: how poor trials are stopped early, one of `sweep.search.stopping.PRUNERS`; None: they are not.
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

    def written(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Values of dimensions as a study would write them."""
        return {each.name: each.written(chosen[each.name]) for each in self.dimensions if each.name in chosen}

    def could_hold(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of `trials` can be of this space, by columns that always mean what the study says."""
        if any(row[name] != self.fixed[name] for name in _ALWAYS if name in self.fixed):
            return False
        always = (each for each in self.dimensions if each.name in _ALWAYS and not each.when)
        return all(dimension.holds(row[dimension.name]) for dimension in always)

    def distributions(self, chosen: Mapping[str, Any]) -> dict[str, "BaseDistribution"]:
        """The distributions of the dimensions that were chosen."""
        return {each.name: each.distribution for each in self.dimensions if each.name in chosen}


# How to search, beside where; the defaults are those of `Search`.
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
Make = Callable[[Mapping[str, Any], Mapping[str, int]], Config]


def read(document: Document, node: yaml.Node, base: Mapping[str, Any], make: Make) -> Search:
    """The search that a node of a study file describes.

    Args:
        base: fields that the study gives one value, with it.
        make: chosen values, and the lines of their dimensions, → config.
    """
    line, wrong = line_of(node), document.wrong
    fields = document.mapping(node, "a search", ("space", *_SETTINGS))
    if "space" not in fields:
        raise wrong(line, "a search needs a space: fields, each with its values or low and high")
    space = fields.pop("space")
    choosable = [name for name in FIELDS if name not in SEEDS]
    dimensions: dict[str, Dimension] = {}
    for name, value in document.mapping(space, "a space", choosable).items():
        if name in base:
            raise wrong(line_of(value), f"{name}: the study gives it a value already")
        dimensions[name] = _dimension(document, name, value, dimensions)
    if not dimensions:
        raise wrong(line_of(space), "a space needs fields to choose values of")
    for name, info in FIELDS.items():
        if info.is_required() and name not in dimensions and name not in base:
            raise wrong(line, f"{name} is missing: give it a value, or several in the space")
    lines = {name: dimension.line for name, dimension in dimensions.items()}
    settings = {name: _setting(document, name, value) for name, value in fields.items()}
    if reason := _unfit(settings.get("sampler"), dimensions.values(), settings.get("objectives", ())):
        raise wrong(line_of(fields["sampler"]), f"sampler {settings['sampler']}: {reason}")
    if "stop_after" in fields and not settings.get("stop"):
        at = line_of(fields["stop_after"])
        raise wrong(at, "stop_after: nothing is stopped without stop: median, asha or hyperband")
    if settings.get("stop") and settings.get("objectives", ("accuracy",)) != ("accuracy",):
        at = line_of(fields["stop"])
        raise wrong(at, "stop: it goes by accuracy alone; leave it out, or the other objectives")
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


def _setting(document: Document, name: str, node: yaml.Node) -> Any:
    if name == "objectives":
        return tuple(document.values(name, node, _SETTINGS[name]))
    return document.value(name, node, _SETTINGS[name])


def _dimension(document: Document, name: str, node: yaml.Node, before: Mapping[str, Dimension]) -> Dimension:
    line, taken, wrong = line_of(node), values(name), document.wrong
    if not isinstance(node, yaml.MappingNode):
        return Dimension(name, line, tuple(document.values(name, node, taken)))
    fields = document.mapping(node, name, _RANGE)
    when = _when(document, name, fields["when"], before) if "when" in fields else {}
    if "values" in fields:
        if fields.keys() - {"values", "when"}:
            raise wrong(line, f"{name}: values, or low and high, not both")
        return Dimension(name, line, tuple(document.values(name, fields["values"], taken)), when=when)
    if not {"low", "high"} <= fields.keys():
        raise wrong(line, f"{name}: give a list of values, or low and high")
    low, high = (document.value(name, fields[end], taken) for end in ("low", "high"))
    if not isinstance(low, int | float) or isinstance(low, bool) or high is None or not low < high:
        raise wrong(line, f"{name}: an empty range, from {low} to {high}")
    log = "log" in fields and document.value(f"{name}: log", fields["log"], _LOG)
    if log and low <= 0:
        raise wrong(line, f"{name}: log needs a low above 0")
    step = None
    if "step" in fields:
        step = document.value(f"{name}: step", fields["step"], taken)
        if not step or log:
            raise wrong(line_of(fields["step"]), f"{name}: step is a number above 0, without log")
        if Decimal(repr(step)) > Decimal(repr(high)) - Decimal(repr(low)):
            raise wrong(
                line_of(fields["step"]), f"{name}: step {step:g} is wider than the range, {low:g} to {high:g}"
            )
    return Dimension(name, line, (), low, high, step, log, when)


def _when(
    document: Document, name: str, node: yaml.Node, before: Mapping[str, Dimension]
) -> dict[str, frozenset[Any]]:
    """Other dimension → the values with which a dimension matters."""
    when: dict[str, frozenset[Any]] = {}
    for other, value in document.mapping(node, "when", list(FIELDS)).items():
        if other not in before:
            raise document.wrong(
                line_of(value), f"when {other}: {name} can only depend on a dimension before it"
            )
        when[other] = frozenset(document.values(f"when {other}", value, values(other)))
    # With what the others depend on themselves; a dimension depends on earlier ones only.
    needed = dict(when)
    for other in reversed([*before]):
        for deeper, taken in before[other].when.items() if other in needed else ():
            needed[deeper] = needed.get(deeper, taken) & taken
    for other, taken in needed.items():
        if not any(map(before[other].takes, taken)):
            raise document.wrong(
                line_of(node), f"when {other}: a value that {other} never has: {name} would never be chosen"
            )
    return when
