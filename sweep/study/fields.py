"""The fields that a study file may give, and the values that each field takes."""

import re
from collections.abc import Callable
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from sweep.config import DENSITIES, FIELDS
from sweep.errors import BadInput
from sweep.names import TRANSFORMERS, one_of
from sweep.parts import is_reference
from sweep.parts.kinds import BY_FIELD
from sweep.parts.signature import ANY

# A study file may also name a recipe: it gives values to the fields that the study leaves out.
RECIPE = "recipe"
# The field that may name a file of trained weights.
WEIGHTS = "weights"
# The field that may name a folder of a saved model.
MODEL = "model"
# Every key with which a study file gives values.
NAMES = (*FIELDS, RECIPE)
# Field, reference → name of the part or of the file of weights in a config, or the fields of a recipe.
Resolve = Callable[[str, str], Any]
# What a study writes to name a recipe of its own: a YAML file, and the recipe's name in it.
_OWN_RECIPE = re.compile(r".+\.ya?ml:.*")


class Values:
    """The values that a type annotation takes, as a study file writes them.

    Attributes:
        types: the plain Python types of these values; None apart.
        pairs: whether a value may be written as a mapping, which stands for the text `key=value key=value`.
    """

    def __init__(self, annotation: Any, pairs: bool = False) -> None:
        self.pairs = pairs
        self.types = _plain_types(annotation)
        self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    def check(self, value: object, written: str, resolve: Resolve | None = None) -> Any:
        """Convert a value to the annotated type.

        Args:
            value: as YAML reads it.
            written: its text in the file.
            resolve: gives what a field names by a reference.

        Raises:
            ValueError: the annotation does not take the value; the message says what it takes.
        """
        if isinstance(value, bool) != (bool in self.types):
            belongs = "true or false belongs here" + (", not text" if isinstance(value, str) else "")
            raise ValueError(belongs if bool in self.types else "no place for true or false")
        if int in self.types and str not in self.types and isinstance(value, str):
            raise ValueError("text, where a whole number belongs")
        if str in self.types and int not in self.types and isinstance(value, int | float):
            value = written  # YAML reads a list of one number, as in lr_drops, as a number
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            message = " or ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
            raise ValueError(f"{message[0].lower()}{message[1:]}") from None


class Named(Values):
    """The values of a field that names a part: a built-in one, or one's own by a reference."""

    def __init__(self, annotation: Any, field: str) -> None:
        super().__init__(annotation)
        self._field = field

    def check(self, value: object, written: str, resolve: Resolve | None = None) -> Any:
        """The name of the part in a config."""
        try:
            return super().check(value, written)
        except ValueError:
            text = isinstance(value, str) and (is_reference(self._field, value) or ".py" in value)
            saved = self._field == MODEL and isinstance(value, str) and value.startswith(TRANSFORMERS)
            if not (text or saved) or not resolve:
                raise
        try:
            return resolve(self._field, str(value))
        except BadInput as error:
            raise ValueError(str(error)) from None


class Recipes(Values):
    """The values of the field that names a recipe: a built-in one, or one's own in a YAML file."""

    def check(self, value: object, written: str, resolve: Resolve | None = None) -> Any:
        """The name of a built-in recipe; of one's own its fields.

        Raises:
            ValueError: there is no such recipe.
            BadInput: the recipe's file is to correct.
        """
        try:
            return super().check(value, written)
        except ValueError:
            if not isinstance(value, str) or not resolve or not _OWN_RECIPE.fullmatch(value):
                raise
        return resolve(RECIPE, value)


class Weights(Values):
    """The values of the field of trained weights, which may name a file by its path."""

    def check(self, value: object, written: str, resolve: Resolve | None = None) -> Any:
        """The name of the weights in a config."""
        try:
            return super().check(value, written)
        except ValueError:
            if not isinstance(value, str) or not resolve:
                raise
        try:
            return resolve(WEIGHTS, value)
        except BadInput as error:
            raise ValueError(str(error)) from None


@cache
def values(name: str) -> Values:
    """The values that a field of the config, or the recipe, takes; for a parameter of a part any value."""
    if "." in name:
        return Values(ANY)
    if name == RECIPE:
        return Recipes(Annotated[str, one_of("recipe", "sweep.study.recipes:RECIPES")])
    annotation: Any = FIELDS[name].annotation
    constraints = FIELDS[name].metadata
    annotation = Annotated[annotation, *constraints] if constraints else annotation
    if name == WEIGHTS:
        return Weights(annotation)
    return Named(annotation, name) if name in BY_FIELD else Values(annotation, pairs=name == DENSITIES)


def _plain_types(annotation: Any) -> frozenset[object]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain_types(inner[0])
    if origin is Literal:
        return frozenset(map(type, inner))
    if inner:
        return frozenset().union(*map(_plain_types, inner)) - {NoneType}
    return frozenset({annotation})
