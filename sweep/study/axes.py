"""The axes of a study: fields with their values, and the config of each combination of values."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import yaml

from sweep import data, models, parts, rules
from sweep.config import DENSE, DENSITIES, FIELDS, Config
from sweep.errors import BadInput
from sweep.parts import Arguments
from sweep.study import library
from sweep.study.consistency import Inconsistent, check
from sweep.study.document import Document, Item, origin_of
from sweep.study.fields import RECIPE, values
from sweep.study.recipes import RECIPES

# The most trials that a study may ask for, all its blocks together.
MOST_TRIALS = 1_000_000
# Field → its values.
Axes = Mapping[str, Sequence[Item]]
# Both are the length of training: where one is given, the other that a default has does not count.
LENGTHS = ("epochs", "steps")
T = TypeVar("T")


def read(document: Document, nodes: Mapping[str, yaml.Node]) -> dict[str, list[Item]]:
    """The values of fields.

    Raises:
        BadInput: a field does not take one of its values.
    """
    items = {
        name: document.axis(name, node, values(name), MOST_TRIALS)
        for name, node in nodes.items()
        if "." not in name
    }
    for name, node in nodes.items():
        if "." in name:
            named = [item.value for item in items.get(name.partition(".")[0], ())]
            try:
                takes = library.values(name, named)
            except ValueError as error:
                raise document.error(origin_of(node), f"{name}: {error}") from None
            items[name] = document.axis(name, node, takes, MOST_TRIALS)
    return {name: items[name] for name in nodes}


def configs(document: Document, axes: Axes, origin: str) -> Iterator[Config]:
    """The config of each combination of values, in the order of the file.

    Args:
        document: the study file, for errors.
        origin: that an error names if no field is to correct.

    Raises:
        BadInput: a required field is missing, or the fields of a config do not go together.
    """
    for name, field in FIELDS.items():
        if field.is_required() and name not in axes and not (name == "criterion" and _all_dense(axes)):
            raise document.error(origin, f"{name} is missing: give it a value or a list of values")
    for combination in itertools.product(*axes.values()):
        yield _config(document, dict(zip(axes, combination, strict=True)), origin)


def _all_dense(axes: Axes) -> bool:
    return "sparsity" in axes and all(item.value == 0 for item in axes["sparsity"])


def _config(document: Document, items: Mapping[str, Item], origin: str) -> Config:
    """The config of one value for each field; by default with the criterion's own number of iterations."""
    recipe = items[RECIPE].value if RECIPE in items else None
    if isinstance(recipe, Mapping):  # one's own, from a file
        items = _added(recipe, items)
    fields = {"criterion": DENSE} | {name: item.value for name, item in items.items() if "." not in name}
    fields.pop(RECIPE, None)
    if of_layers := [
        f"{name.partition('.')[2]}={item.value}" for name, item in items.items() if _is_density(name)
    ]:
        if DENSITIES in fields:
            raise document.error(
                items[DENSITIES].origin, "densities are given whole and by pattern: give one"
            )
        fields[DENSITIES] = " ".join(of_layers)
    if isinstance(recipe, str):
        fields = _added(RECIPES[recipe](fields["dataset"], fields["model"]), fields)
    config = Config(**fields, parameters=_parameters(document, fields, items, origin))
    _check(document, config, items, origin)
    if "iterations" in items:
        return config
    iterations = rules.find(config.criterion).iterations(config)
    return config if iterations == config.iterations else replace(config, iterations=iterations)


def _is_density(name: str) -> bool:
    return name.startswith(f"{DENSITIES}.")


def single(document: Document, nodes: Mapping[str, yaml.Node], several: str) -> dict[str, Item]:
    """The values of fields that have one value each.

    Args:
        several: what an error says of a field with several values.

    Raises:
        BadInput: a field has several values, or does not take its value.
    """
    for name, node in nodes.items():
        if document.count(name, node, values(name)) > 1:
            raise document.error(origin_of(node), f"{name}: {several}")
    return {name: items[0] for name, items in read(document, nodes).items()}


def _added(recipe: Mapping[str, T], given: Mapping[str, T]) -> dict[str, T]:
    """The fields that a study gives, and those of a recipe for which the study gives nothing."""
    without = LENGTHS if given.keys() & {*LENGTHS} else ()
    return {name: value for name, value in recipe.items() if name not in without} | dict(given)


def _parameters(
    document: Document, fields: Mapping[str, Any], items: Mapping[str, Item], origin: str
) -> Arguments:
    """The parameters of a config's parts: all of one's own parts, of built-in ones those not at a default."""
    named = {field: fields[field] for field in library.PART_FIELDS if isinstance(fields.get(field), str)}
    if not (any(map(parts.is_name, named.values())) or any("." in name for name in items)):
        return ()
    chosen = {}
    for field, part in named.items():
        for parameter in library.parameters(field, part).values():
            name = f"{field}.{parameter.name}"
            value = items[name].value if name in items else parameter.default
            label = part.partition("@")[0]
            if name in items and not library.takes(parameter, value):
                raise document.error(items[name].origin, f"{name} {value}: {label} takes no such value")
            if parameter.required and name not in items:
                raise document.error(origin, f"{name} is missing: {label} has no default for it")
            if value is ... or (not parts.is_name(part) and value == parameter.default):
                continue
            chosen[name] = library.canonical(value)
    return tuple(sorted(chosen.items()))


def _check(document: Document, config: Config, items: Mapping[str, Item], origin: str) -> None:
    shape = data.SHAPES.get(config.dataset)
    try:
        if shape:
            models.check(config.model, shape)
        check(config)
    except BadInput as error:
        # An error without a field is about the model: it does not exist, or does not take these images.
        field = error.field if isinstance(error, Inconsistent) else "model"
        named = [item.origin for name, item in items.items() if name.partition(".")[0] == field]
        at = items[field].origin if field in items else [*named, origin][0]
        raise document.error(at, str(error)) from None
