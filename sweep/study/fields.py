"""The fields that a study file may give values, and what values they take."""

from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from sweep.config import FIELDS, one_of

# A study file may also name a recipe: fields of the config under one name, for those not given otherwise.
RECIPE = "recipe"


class Values:
    """The values that an annotation takes, as a study file writes them.

    Attributes:
        kinds: the plain types they can have.
    """

    def __init__(self, annotation: Any) -> None:
        self.kinds = _plain(annotation)
        self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    def check(self, value: object, written: str) -> Any:
        """The value as the annotation has it.

        Args:
            value: as YAML reads it.
            written: as it stands in the file.

        Raises:
            ValueError: what belongs there instead.
        """
        if isinstance(value, bool) != (bool in self.kinds):
            belongs = "true or false belongs here" + (", not text" if isinstance(value, str) else "")
            raise ValueError(belongs if bool in self.kinds else "no place for true or false")
        if int in self.kinds and str not in self.kinds and isinstance(value, str):
            raise ValueError("text, where a whole number belongs")
        if str in self.kinds and int not in self.kinds and isinstance(value, int | float):
            value = written  # one number where several may stand, as in lr_drops
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            message = " or ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
            raise ValueError(f"{message[0].lower()}{message[1:]}") from None


@cache
def values(field: str) -> Values:
    """The values of a field of the config, or of the recipe."""
    if field == RECIPE:
        return Values(Annotated[str, one_of("recipe", "sweep.study.recipes:RECIPES")])
    annotation: Any = FIELDS[field].annotation
    rules = FIELDS[field].metadata
    return Values(Annotated[annotation, *rules] if rules else annotation)


def _plain(annotation: Any) -> frozenset[object]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain(inner[0])
    if origin is Literal:
        return frozenset(map(type, inner))
    if inner:
        return frozenset().union(*map(_plain, inner)) - {NoneType}
    return frozenset({annotation})
