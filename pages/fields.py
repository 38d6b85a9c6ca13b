"""The page of the fields of a study: what each takes, its default, its role, and who reads it."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from pages.markdown import code, codes, page, table
from pruners.saliency import CRITERIA
from sweep.config import AFTER_DENSE, FIELDS, Config, about
from sweep.names import OneOf
from sweep.parts.kinds import BY_FIELD
from sweep.roles import Role
from sweep.rules import RULES, find

_ROLES = {
    Role.DATA: "the inputs, their targets, and which of them validate",
    Role.NETWORK: "the layers and their initial weights",
    Role.TRAINING: "the optimizer, the learning rate and the length",
    Role.TARGET: "which weights may be pruned, and when",
    Role.UNITS: "what is removed as a whole",
    Role.SCORING: "the criterion, and the batches that it looks at",
    Role.MASK: "how masks follow from scores",
    Role.RETRAINING: "what changes between the prune and the end",
    Role.RANDOMNESS: "the seeds of random draws",
}
# Values of fields that let a rule read further fields.
_OPENING: dict[str, tuple[Any, ...]] = {
    "second": (None, "ap"),
    "initial_sparsity": (0, 0.5),
    "structure": ("weight", "channel"),
    "rewind_epoch": (None, 1),
    "prune_when": (None, "stable"),
    "iterations": (1, 20),
}
_FEW = 6
# Bounds from here on only keep nonsense out, and no one asks for them.
_UNBOUNDED = 10**6


def fields() -> str:
    """The page."""
    parts = [
        "A study file gives each field one value or a list of values. [Study files](../studies.md) explains "
        "axes and blocks. The role of a field says what depends on it:",
        table(("role", "decides"), ((role.value, said) for role, said in _ROLES.items())),
        "*Read by* says which rules look at the field. A field that the rule of a trial does not read "
        "changes neither the trial nor its id. *Criteria* are all those of [parts](parts.md#criteria).",
    ]
    for role in Role:
        names = [name for name in FIELDS if about(name).role is role]
        parts += [f"## {role.value.capitalize()}", table(_HEAD, map(_row, names))]
    return page("Fields of a study", *parts)


_HEAD = ("field", "takes", "default", "meaning", "read by")


def _row(name: str) -> tuple[str, ...]:
    return code(name), _takes(name), _default(name), about(name).help, _readers(name)


def _default(name: str) -> str:
    default = FIELDS[name].default
    if default is PydanticUndefined:
        return "must be given"
    if default is None:
        return "none"
    return code(str(default).lower() if isinstance(default, bool) else default)


def _takes(name: str) -> str:
    field = FIELDS[name]
    said = list(dict.fromkeys(_values(Annotated[field.annotation, *field.metadata])))
    return " or ".join([*said, "a [part of your own](../own-parts.md)"] if name in BY_FIELD else said)


def _values(annotation: Any) -> Iterator[str]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        named = [each for each in inner[1:] if isinstance(each, OneOf)]
        bounds = [text for each in inner[1:] for text in _bounds(each)]
        for one in _plain(inner[0]):
            if get_origin(one) is Annotated:
                yield from _values(Annotated[get_args(one)[0], *get_args(one)[1:], *inner[1:]])
            elif named:
                yield _names(named[0])
            else:
                yield from (" ".join([said, *bounds]) for said in _values(one))
    elif origin is Literal:
        yield codes(inner)
    else:
        yield {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}[annotation]


def _plain(annotation: Any) -> list[Any]:
    """The alternatives of a union, without None."""
    if get_origin(annotation) in (Annotated, Literal) or not get_args(annotation):
        return [annotation]
    return [one for one in get_args(annotation) if one is not NoneType]


def _bounds(constraint: Any) -> Iterator[str]:
    for each in getattr(constraint, "metadata", ()) or (constraint,):
        for name, said in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            bound = getattr(each, name, None)
            if bound is not None and bound < _UNBOUNDED:
                yield f"{said} {bound:g}"


def _names(one: OneOf) -> str:
    if len(one.known) <= _FEW:
        return codes(one.known)
    return f"a name: {codes(one.known[:2])}, … ([all {len(one.known)}](parts.md))"


@cache
def _read() -> dict[str, frozenset[str]]:
    """Rule, or `criteria` → the fields after dense training that it reads for some values of other fields."""
    names = {name: (name,) for name in RULES} | {"criteria": tuple(CRITERIA)}
    found = {}
    for label, criteria in names.items():
        read: set[str] = set()
        for criterion in criteria:
            for values in product(*_OPENING.values()):
                given = dict(zip(_OPENING, values, strict=True))
                config = Config(
                    dataset="digits", model="conv-5", criterion=criterion, sparsity=0.5, epochs=4, **given
                )
                read |= find(criterion).reads(config)
        found[label] = frozenset(read)
    return found


def _readers(name: str) -> str:
    if name not in AFTER_DENSE or name in ("criterion", "sparsity"):
        return "all"
    readers = [label for label, read in _read().items() if name in read]
    others = [label for label in _read() if label not in readers]
    if not others:
        return "all"
    if len(others) < len(readers) / 2:
        return f"all but {codes(others)}"
    return ", ".join(label if label == "criteria" else code(label) for label in reversed(readers))
