"""The parts of one's own and the weights that a study names, and the parameters that parts take."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

import pruners
from sweep import parts, rules
from sweep.config import AFTER_DENSE, DENSITIES, FIELDS, Config
from sweep.data import catalog
from sweep.errors import BadInput
from sweep.models import pretrained
from sweep.names import TRANSFORMERS
from sweep.parts import Missing, Parameter, Part
from sweep.parts.kinds import BY_FIELD
from sweep.parts.signature import of_function
from sweep.store import weights
from sweep.study.fields import MODEL, WEIGHTS, Values

# The fields of a config that name parts.
PART_FIELDS = tuple(field for field in BY_FIELD if field in FIELDS)
# The fields behind which a study may write a dot and a name: of a parameter, or a pattern of layers.
DOTTED = (*PART_FIELDS, DENSITIES)
_DENSITY = Values(Annotated[float, Field(ge=0, le=1)])
# Field → name → the function of a built-in part whose parameters a study can set.
_BUILT_IN: Mapping[str, Callable[[str], Callable[..., Any] | None]] = {
    "criterion": lambda name: pruners.find(name).score if name in pruners.names() else _options(name),
    "dataset": lambda name: None if parts.is_name(name) else catalog.find(name).text,
}


def _options(name: str) -> Callable[..., Any] | None:
    return rules.RULES[name].options if name in rules.RULES else None


class Library:
    """The parts of one's own, and the files of trained weights, that one study names.

    Attributes:
        parts: name → part, in the order of the study.
        weights: name → file of weights.
    """

    def __init__(self, recorded: Callable[[], Iterable[Part]] = tuple) -> None:
        """A library without parts yet.

        Args:
            recorded: gives the parts as earlier launches of the study read them; used where code is missing.
        """
        self._recorded = recorded
        self.parts: dict[str, Part] = {}
        self.weights: dict[str, Path] = {}
        # A file of weights that several blocks name is read once.
        self._weights_at = cache(weights.name)

    def name(self, field: str, reference: str, folder: Path) -> str:
        """The name, in a config, of the part or the file of weights that the study names.

        Args:
            folder: from which the reference goes: that of the file that it stands in.

        Raises:
            BadInput: there is no such part or file.
        """
        if field == WEIGHTS:
            path = folder / reference
            name = self._weights_at(path)
            self.weights[name] = path
            return name
        if field == MODEL and reference.startswith(TRANSFORMERS):
            return pretrained.name(folder / reference.removeprefix(TRANSFORMERS))
        try:
            part = parts.declare(field, reference, folder)
        except Missing:
            label = parts.label(reference)
            earlier = [each for each in self._recorded() if each.label == label]
            if not earlier:
                raise
            part = earlier[-1]
            parts.register([part])
        _check_fields(part)
        self.parts[part.name] = part
        return part.name


def _check_fields(part: Part) -> None:
    """Check that the fields which a part's decorator says are fields; others would leave ids as they are.

    Raises:
        BadInput: there is no such field.
    """
    known, said = AFTER_DENSE if part.kind == "rule" else FIELDS, part.option("reads")
    for field in said if isinstance(said, tuple) else ():
        if field not in known:
            near = get_close_matches(str(field), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            name = part.label.rpartition(":")[2]
            raise BadInput(f"{part.at}: {name}: reads {field}: no such field; {hint}")


def parameters(field: str, name: str) -> Mapping[str, Parameter]:
    """The parameters that a study can set of the part that a field names."""
    part = parts.find(name)
    return {each.name: each for each in (part.parameters if part else _of_built_in(field, name))}


@cache
def _of_built_in(field: str, name: str) -> tuple[Parameter, ...]:
    function = _BUILT_IN[field](name) if field in _BUILT_IN else None
    return of_function(function) if function else ()


def values(name: str, named: Iterable[str]) -> Values:
    """The values that a parameter takes, such as `criterion.power`, or a pattern, such as `densities.conv*`.

    Args:
        named: the parts that the study gives its field.

    Raises:
        ValueError: none of these parts takes such a parameter.
    """
    field, _, own = name.partition(".")
    if field == DENSITIES:
        return _DENSITY
    takes = {each: parameters(field, each) for each in named}
    found = {each: known[own] for each, known in takes.items() if own in known}
    if not found:
        known = sorted({f"{field}.{each}" for known in takes.values() for each in known})
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        of = " and ".join(each.partition("@")[0] for each in takes) or f"no {field} here"
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
        raise ValueError(f"{of} takes no such parameter; {hint}")
    [*kinds] = {str(each.annotation): each.annotation for each in found.values()}.values()
    annotation = kinds[0]
    for other in kinds[1:]:
        annotation = annotation | other
    return Values(annotation)


def value(config: Config, name: str) -> Any:
    """The value of a field, of a parameter or of a pattern, as `Config.value`.

    A config leaves out the parameters of built-in parts that have their default: these have it here.
    """
    given, (field, dot, own) = config.value(name), name.partition(".")
    if given is not None or not dot or field == DENSITIES:
        return given
    parameter = parameters(field, getattr(config, field)).get(own)
    return None if parameter is None or parameter.required else parameter.default


def takes(parameter: Parameter, value: Any) -> bool:
    """Whether a parameter takes a value."""
    try:
        Values(parameter.annotation).check(value, str(value))
    except ValueError:
        return False
    return True


def canonical(value: Any) -> Any:
    """A value as configs hold it: whole real numbers are integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
