"""What completion needs to know of commands and fields, in a file: to import them takes seconds."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from sweep import version
from sweep.shell.commands import COMMANDS

_HERE = Path(__file__).parents[2]  # the folder of the packages
_PACKAGES = ("pruners", "sweep", "analysis")
# What a parameter takes, by its metavar or else its name.
_KINDS = {
    "study": "study",
    "FIELD=VALUES": "setting",
    "field=values": "setting",
    "first": "criterion",
    "second": "criterion",
    "baseline": "criterion",
    "metric": "metric",
    "x": "field",
    "y": "field",
}

# Name → JSON: `state` of the code, `commands` by name, `fields` with the values that are known by name.
Notes = dict[str, Any]


def read() -> Notes:
    """The notes of the code as it is now. They are made anew if it has changed."""
    path, state = _file(), _state()
    with suppress(OSError, ValueError):
        noted: Notes = json.loads(path.read_bytes())
        if noted["state"] == state:
            return noted
    noted = {"state": state, "commands": _commands(), "fields": _fields()}
    with suppress(OSError):  # they are made again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(noted), encoding="utf-8")
        part.replace(path)
    return noted


def _file() -> Path:
    """Where the notes are: one file for each place from which this is imported."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "secateur" / f"completion-{hashlib.sha256(bytes(_HERE)).hexdigest()[:12]}.json"


def _state() -> str:
    """A text that is another one after each change of a module."""
    sources = (path for name in _PACKAGES for path in (_HERE / name).rglob("*.py"))
    latest = sorted((path.stat().st_mtime_ns, str(path)) for path in sources)
    return f"{version.line()} {hashlib.sha256(repr(latest).encode()).hexdigest()}"


def _commands() -> dict[str, Any]:
    from typer.main import get_command

    return {name: _command(get_command(import_module(one.module).app)) for name, one in COMMANDS.items()}


def _command(command: Any) -> dict[str, Any]:
    """A command of Typer: its help, and its commands or its parameters."""
    noted: dict[str, Any] = {"help": command.get_short_help_str(80)}
    if hasattr(command, "commands"):
        return noted | {"commands": {name: _command(each) for name, each in command.commands.items()}}
    parameters = [_parameter(each) for each in command.params if not getattr(each, "hidden", False)]
    return noted | {"parameters": parameters}


def _parameter(parameter: Any) -> dict[str, Any]:
    takes = getattr(parameter, "type_descriptor", None) or parameter.type  # by versions of Typer
    return {
        "name": parameter.name,
        "words": [] if parameter.param_type_name == "argument" else parameter.opts,
        "help": getattr(parameter, "help", None) or "",
        "flag": getattr(parameter, "is_flag", False),
        "many": parameter.nargs == -1 or getattr(parameter, "multiple", False),
        "kind": _KINDS.get(parameter.metavar or parameter.name),
        "choices": [str(each) for each in getattr(takes, "choices", None) or ()],
    }


def _fields() -> dict[str, list[str]]:
    """Each key that gives values in a study, with the values that are known by name, or else its default."""
    from sweep.config import FIELDS
    from sweep.models.metrics import METRICS
    from sweep.study.recipes import RECIPES

    fields: dict[str, list[str]] = {"recipe": list(RECIPES), "metrics": list(METRICS)}
    for name, field in FIELDS.items():
        known = [*_values(Annotated[field.annotation, *field.metadata])] if field.metadata else []
        default = [] if field.is_required() or field.default is None else [json.dumps(field.default)]
        fields[name] = known or [text.strip('"') for text in default]
    return fields


def _values(annotation: Any) -> Iterator[str]:
    """The values of a type that are known by name."""
    if annotation is bool:
        yield from ("true", "false")
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from map(str, inner)
    elif origin is Annotated:
        yield from _values(inner[0])
        for each in inner[1:]:
            yield from getattr(each, "known", ())
    elif origin in (Union, UnionType):
        for each in inner:
            yield from _values(each)
