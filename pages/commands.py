"""The page of the commands and their options."""

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin

import typer
from typer.models import ArgumentInfo

from pages.markdown import code, codes, page, table
from sweep.shell.commands import COMMANDS


class Word(NamedTuple):
    """An argument or an option of a command.

    Attributes:
        names: `--format`, or the metavariable of an argument.
        takes: what follows an option; empty for a flag.
    """

    names: tuple[str, ...]
    takes: str
    default: str
    help: str


def commands() -> str:
    """The page."""
    parts = [
        "`secateur NAME` and `python -m MODULE` are the same command. `--help` explains each where you are."
    ]
    for name, one in COMMANDS.items():
        module = one.module.removesuffix(".__main__")
        parts += [f"## {name.capitalize()}", f"`secateur {name}`, `python -m {module}`. {one.help}"]
        for command, said, function in found(name):
            parts += [f"### {command}", said] if command != name else []
            rows = [(f"{codes(w.names)} {code(w.takes)}", w.default, w.help) for w in words(function)]
            parts += [table(("argument or option", "default", "meaning"), rows)] if rows else []
    return page("Commands and options", *parts)


def found(name: str) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """The commands behind a command of `secateur`: name, help and function of each."""
    app: typer.Typer = import_module(COMMANDS[name].module).app
    for one in app.registered_commands:
        assert one.callback
        own = one.name or one.callback.__name__.replace("differences", "diff")
        said = " ".join((one.help or one.callback.__doc__ or "").split())
        yield name if len(app.registered_commands) == 1 else f"{name} {own}", said, one.callback


def words(function: Callable[..., Any]) -> Iterator[Word]:
    """The arguments and options of a command's function, without those that are hidden."""
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        kind, *said = get_args(parameter.annotation)
        [info] = [each for each in said if hasattr(each, "param_decls")]
        if not info.hidden:
            yield _word(parameter, kind, info)


def _word(parameter: inspect.Parameter, kind: Any, info: Any) -> Word:
    named = parameter.name.replace("_", "-")
    if isinstance(info, ArgumentInfo):
        names: tuple[str, ...] = (info.metavar or named.upper(),)
        return Word(names, "", _default(parameter.default), info.help or "")
    # Beside an annotation, Typer keeps the first name as the default.
    given = (info.default, *(info.param_decls or ()))
    names = tuple(name for name in given if isinstance(name, str)) or (f"--{named}",)
    return Word(names, info.metavar or _takes(kind), _default(parameter.default), info.help or "")


def _takes(kind: Any) -> str:
    kinds = [one for one in get_args(kind) if one is not NoneType]
    if get_origin(kind) is Literal:
        return "|".join(map(str, kinds))
    if kinds:
        return _takes(kinds[0])
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(each.value) for each in kind)
    return {bool: "", int: "N", float: "NUMBER"}.get(kind, "FILE" if kind is Path else "TEXT")


def _default(default: Any) -> str:
    if default in (None, False, inspect.Parameter.empty, ""):
        return ""
    if default == float("inf"):
        return "no limit"
    if isinstance(default, list | tuple):
        return codes(default)
    return code(default.value if isinstance(default, Enum) else default)


def without_help() -> list[str]:
    """Commands, arguments and options that say nothing of themselves, such as `launch --workers`."""
    silent = []
    for name in COMMANDS:
        for command, said, function in found(name):
            silent += [] if said else [command]
            silent += [f"{command} {word.names[0]}" for word in words(function) if not word.help]
    return silent
