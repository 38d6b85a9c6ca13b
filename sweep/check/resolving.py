"""The object that a reference names: `myscores.py:half_gradient`, or `package.module:name`."""

import importlib
from collections.abc import Callable
from difflib import get_close_matches
from inspect import isclass, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from sweep.check.running import fault, shown
from sweep.errors import BadInput
from sweep.parts import importing
from sweep.parts.source import collect

KINDS = ("criterion", "model", "dataset")
# First parameter → kind.
_BY_FIRST = {"probe": "criterion", "model": "criterion", "shape": "model", "root": "dataset", "": "dataset"}


def resolve(reference: str, kind: str | None = None) -> tuple[str, Callable[..., Any]]:
    """The kind of a part, one of `KINDS`, and the part itself. Its module is imported.

    Args:
        reference: a file or a module, a colon, and the name of an object in it.
        kind: of the part; None: its decorator or its first parameter tells.

    Raises:
        BadInput: there is no such object, its module cannot be imported, or nothing tells the kind.
    """
    home, colon, name = reference.rpartition(":")
    if not colon or not home or not name.isidentifier():
        raise BadInput(f"{reference}: no reference: write FILE.py:NAME or PACKAGE.MODULE:NAME")
    module = _from_file(Path(home), name) if home.endswith(".py") else _imported(home)
    found = getattr(module, name, None)
    if not callable(found):
        names = [each for each, value in vars(module).items() if callable(value) and each[0] != "_"]
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'nothing'}"
        raise BadInput(f"{home}: there is no function or class {name}; {hint}")
    return kind or _kind(reference, found), found


def _kind(reference: str, part: Callable[..., Any]) -> str:
    if hasattr(part, "__criterion__"):
        return "criterion"
    if isclass(part) and issubclass(part, nn.Module):
        return "model"
    try:
        first = next((n for n, each in signature(part).parameters.items() if each.default is each.empty), "")
    except (ValueError, TypeError):
        first = "?"
    if first not in _BY_FIRST:
        raise BadInput(f"{reference}: what is it? give --kind {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    return _BY_FIRST[first]


def _from_file(path: Path, name: str) -> ModuleType:
    """The module of a file, imported as a trial imports it."""
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file")
    modules: list[ModuleType] = []
    source = collect(path.parent, path.stem, name)
    _guarded(str(path), lambda: modules.append(importing.module(source)))
    return modules[0]


def _imported(name: str) -> ModuleType:
    modules: list[ModuleType] = []
    _guarded(name, lambda: modules.append(importlib.import_module(name)))
    return modules[0]


def _guarded(home: str, action: Callable[[], object]) -> None:
    """Run an import; an error in it becomes one line."""
    try:
        action()
    except SyntaxError as error:
        raise BadInput(f"{shown(error.filename or home)}:{error.lineno}: not Python: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise BadInput(f"cannot be imported: {fault(error, home)}") from None
