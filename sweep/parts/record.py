"""A part as an entry of study.json: enough to tell its trials apart where its code is not."""

import ast
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args, get_origin

from sweep.parts.kinds import KINDS
from sweep.parts.part import Part, is_name
from sweep.parts.signature import Parameter, annotated


def record(part: Part) -> dict[str, Any]:
    """The entry of a part."""
    return {
        "kind": part.kind,
        "label": part.label,
        "code": part.code,
        "inputs": part.inputs,
        "parameters": [
            {
                "name": each.name,
                "type": _written(each.annotation),
                "required": each.required,
                **({} if each.default is ... else {"default": each.default}),
            }
            for each in part.parameters
        ],
        "options": dict(part.options),
    }


def recorded(entry: object) -> Part | None:
    """The part of an entry, whose code is not here; None: it is no sound entry."""
    if not isinstance(entry, Mapping):
        return None
    try:
        part = Part(
            entry["kind"],
            entry["label"],
            entry["code"],
            None if entry["inputs"] is None else tuple(map(str, entry["inputs"])),
            tuple(map(_parameter, entry["parameters"])),
            tuple(sorted((name, _plain(value)) for name, value in entry["options"].items())),
        )
        return part if part.kind in KINDS and is_name(part.name) else None
    except (LookupError, TypeError, ValueError, AttributeError, SyntaxError, RecursionError):
        return None


def _parameter(entry: Mapping[str, Any]) -> Parameter:
    default = entry.get("default", ...)
    if not entry["name"].isidentifier() or not isinstance(
        default, bool | int | float | str | NoneType | type(...)
    ):
        raise ValueError("no parameter")
    annotation = annotated(ast.parse(entry["type"], mode="eval").body)
    return Parameter(entry["name"], annotation, default, bool(entry["required"]))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _written(annotation: Any) -> str:
    if get_origin(annotation) is None:
        return "None" if annotation in (None, NoneType) else str(annotation.__name__)
    if "Literal" in str(get_origin(annotation)):
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    return " | ".join(map(_written, get_args(annotation)))
