"""The fields that a study file may give values, and what values they take."""

from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import TypeAdapter

from sweep.config import FIELDS, one_of
from sweep.recipes import RECIPES

# A study file may also name a recipe: fields of the config under one name, for those not given otherwise.
RECIPE = "recipe"


@cache
def validator(field: str) -> TypeAdapter[Any]:
    """Checks a value of one field on its own, so that an error can be told with its line."""
    if field == RECIPE:
        return TypeAdapter(Annotated[str, one_of("recipe", list(RECIPES))])
    annotation: Any = FIELDS[field].annotation
    rules = FIELDS[field].metadata
    return TypeAdapter(Annotated[annotation, *rules] if rules else annotation)


@cache
def kinds(field: str) -> frozenset[object]:
    """The plain types a field can hold."""
    return _plain(str if field == RECIPE else FIELDS[field].annotation)


def _plain(annotation: Any) -> frozenset[object]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain(inner[0])
    if origin is Literal:
        return frozenset(map(type, inner))
    if inner:
        return frozenset().union(*map(_plain, inner)) - {NoneType}
    return frozenset({annotation})
