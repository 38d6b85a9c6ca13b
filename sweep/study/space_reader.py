"""Reads the `search:` mapping of a study file: the space, and how to search it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from sweep.config import DENSITIES, FIELDS, SEEDS
from sweep.study import library
from sweep.study.document import Document, Item, origin_of
from sweep.study.fields import Values, values
from sweep.study.space import Dimension, Search

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
# The keys of a search, and the fields whose values a search can choose.
KEYS = ("space", *_SETTINGS)
CHOOSABLE = tuple(name for name in FIELDS if name not in SEEDS)
_RANGE = ("low", "high", "step", "log", "values", "when")
_LOG = Values(bool)


def read(document: Document, node: yaml.Node, given: Mapping[str, Item]) -> Search:
    """The search that a node of a study file describes.

    Args:
        given: the fields whose value the study gives.

    Raises:
        BadInput: the node is no search.
    """
    origin, error = origin_of(node), document.error
    nodes = document.mapping(node, "a search", KEYS)
    if "space" not in nodes:
        raise error(origin, "a search needs a space: fields, each with its values or low and high")
    dimensions = _dimensions(document, nodes.pop("space"), given)
    for name, info in FIELDS.items():
        if info.is_required() and name not in dimensions and name not in given:
            raise error(origin, f"{name} is missing: give it a value, or several in the space")
    settings = {name: _setting(document, name, each) for name, each in nodes.items()}
    if reason := _unfit(settings.get("sampler"), dimensions.values(), settings.get("objectives", ())):
        raise error(origin_of(nodes["sampler"]), f"sampler {settings['sampler']}: {reason}")
    if "stop_after" in nodes and not settings.get("stop"):
        at = origin_of(nodes["stop_after"])
        raise error(at, "stop_after: nothing is stopped without stop: median, asha or hyperband")
    if settings.get("stop") and settings.get("objectives", ("accuracy",)) != ("accuracy",):
        at = origin_of(nodes["stop"])
        raise error(at, "stop: it goes by accuracy alone; leave it out, or the other objectives")
    return Search(document, tuple(dimensions.values()), given, **settings)


def _dimensions(document: Document, node: yaml.Node, given: Mapping[str, Item]) -> dict[str, Dimension]:
    dimensions: dict[str, Dimension] = {}
    for name, value in document.mapping(node, "a space", CHOOSABLE, library.DOTTED).items():
        if name in given:
            raise document.error(origin_of(value), f"{name}: the study gives it a value already")
        if DENSITIES in ({*given, *dimensions} if name.startswith(f"{DENSITIES}.") else ()):
            raise document.error(origin_of(value), f"{name}: the study has {DENSITIES} as a whole: give one")
        of_field, when = _values(document, name, value, given, dimensions)
        dimension = _dimension(document, name, value, of_field, dimensions)
        dimensions[name] = replace(dimension, when={**when, **dimension.when}) if when else dimension
    if not dimensions:
        raise document.error(origin_of(node), "a space needs fields to choose values of")
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


def _values(
    document: Document,
    name: str,
    node: yaml.Node,
    given: Mapping[str, Item],
    before: Mapping[str, Dimension],
) -> tuple[Values, dict[str, frozenset[Any]]]:
    """The values that a field takes, and when it matters; a parameter does where the part takes it."""
    field, dot, own = name.partition(".")
    if not dot:
        return values(name), {}
    if field == DENSITIES:
        return library.values(name, ()), {}
    named = before[field].values if field in before else [given[field].value] if field in given else []
    try:
        takes = library.values(name, named)
    except ValueError as error:
        where = "" if named else f" (put {field} before it)"
        raise document.error(origin_of(node), f"{name}: {error}{where}") from None
    taking = frozenset(each for each in named if own in library.parameters(field, each))
    return takes, {field: taking} if field in before and taking != set(named) else {}


def _dimension(
    document: Document, name: str, node: yaml.Node, of_field: Values, before: Mapping[str, Dimension]
) -> Dimension:
    """A dimension of a space.

    Args:
        of_field: the values that its field takes.
        before: the dimensions before it in the file, by name.
    """
    origin, error = origin_of(node), document.error
    if not isinstance(node, yaml.MappingNode):
        return Dimension(name, origin, tuple(document.values(name, node, of_field)))
    nodes = document.mapping(node, name, _RANGE)
    when = _when(document, name, nodes["when"], before) if "when" in nodes else {}
    if "values" in nodes:
        if nodes.keys() - {"values", "when"}:
            raise error(origin, f"{name}: values, or low and high, not both")
        return Dimension(name, origin, tuple(document.values(name, nodes["values"], of_field)), when=when)
    if not {"low", "high"} <= nodes.keys():
        raise error(origin, f"{name}: give a list of values, or low and high")
    low, high = (document.value(name, nodes[end], of_field) for end in ("low", "high"))
    if not isinstance(low, int | float) or isinstance(low, bool) or high is None or not low < high:
        raise error(origin, f"{name}: an empty range, from {low} to {high}")
    log = "log" in nodes and document.value(f"{name}: log", nodes["log"], _LOG)
    if log and low <= 0:
        raise error(origin, f"{name}: log needs a low above 0")
    step = None
    if "step" in nodes:
        step, at = document.value(f"{name}: step", nodes["step"], of_field), origin_of(nodes["step"])
        if not step or log:
            raise error(at, f"{name}: step is a number above 0, without log")
        if Decimal(repr(step)) > Decimal(repr(high)) - Decimal(repr(low)):
            raise error(at, f"{name}: step {step:g} is wider than the range, {low:g} to {high:g}")
    return Dimension(name, origin, (), low, high, step, log, when)


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
                origin_of(value), f"when {other}: {name} can only depend on a dimension before it"
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
                origin_of(node), f"when {other}: a value that {other} never has: {name} would never be chosen"
            )
    return when
