"""What a part says of itself in its source, which nothing runs: its kind, options and parameters."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sweep.errors import BadInput
from sweep.parts import decorators, source
from sweep.parts.kinds import BY_FIELD, KINDS, Kind
from sweep.parts.signature import Parameter, of_definition
from sweep.parts.source import Module, last_name

# How many imports are followed to the file that defines a name.
_MOST_IMPORTS = 8
_VERSION = re.compile(r"[\w.+!-]{1,60}")


@dataclass(frozen=True)
class Said:
    """What a part says of itself.

    Attributes:
        kind: what it is, of `KINDS`.
        inputs, parameters: as in `Part`.
        options: of its decorator, without the version.
        version: that takes the place of the fingerprint; empty: none does.
        at: file and line of its definition.
    """

    kind: str
    inputs: tuple[str, ...] | None
    parameters: tuple[Parameter, ...]
    options: tuple[tuple[str, Any], ...]
    version: str
    at: str


def read(field: str, root: Path, module: str, name: str) -> Said:
    """What an object says of itself.

    Args:
        field: that names it.
        root: the folder that has its module.

    Raises:
        BadInput: the file cannot be read, has no such object, or the object is no part for this field.
    """
    path, tree, definition = _definition(root, module, name, _MOST_IMPORTS)
    at = f"{path}:{definition.lineno}: {name}"
    kind, options = _said(field, definition, at)
    try:
        signature = of_definition(definition, _constants(tree))
    except ValueError as error:
        raise BadInput(f"{at}: {error}") from None
    if signature.inputs is not None and len(signature.inputs) not in map(len, kind.inputs):
        raise BadInput(
            f"{at}: a {kind.name} is {kind.form}, and this takes ({', '.join(signature.inputs)}): give each "
            "parameter a default, or put it behind a *"
        )
    if field == "metrics" and any(each.required for each in signature.parameters):
        [name, *_] = (each.name for each in signature.parameters if each.required)
        raise BadInput(f"{at}: no study sets parameters of a metric: give {name} a default")
    version = options.pop("version", None)
    if version is not None and not (
        type(version) in (int, str) and _VERSION.fullmatch(str(version)) and version != ""
    ):
        raise BadInput(f"{at}: version {version!r}: a number or a word of letters, digits, '.', '-' and '+'")
    return Said(
        kind.name,
        signature.inputs,
        signature.parameters,
        tuple(sorted(options.items())),
        "" if version is None else f"v{version}",
        f"{path}:{definition.lineno}",
    )


def _definition(root: Path, module: str, name: str, most: int) -> tuple[Path, ast.Module, ast.stmt]:
    """The statement that defines a name, and its file; imports of it are followed."""
    found = source.find(root, module)
    if not found:
        raise BadInput(f"{root}: there is no module {module}")
    path, package = found
    text = source.read(path)
    tree = source.parse(text, str(path))
    here = Module(module, str(path), text, package)
    definitions = {each: statement for statement in tree.body for each in _defines(statement)}
    for home in _all_of(tree, here) if most and name not in definitions else ():
        with suppress(BadInput):
            return _definition(root, home, name, most - 1)
    if name not in definitions:
        near = get_close_matches(name, definitions, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(definitions) or 'nothing'}"
        raise BadInput(f"{path}: there is no {name}; {hint}")
    definition = definitions[name]
    if isinstance(definition, ast.ImportFrom) and most:
        home = source.absolute(definition, here)
        [original] = (alias.name for alias in definition.names if name in (alias.asname, alias.name))
        if source.is_own(home) and source.find(root, home):
            return _definition(root, home, original, most - 1)
    return path, tree, definition


def _all_of(tree: ast.Module, module: Module) -> Iterator[str]:
    """The modules that a module imports everything from."""
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
            yield source.absolute(statement, module)


def _defines(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in statement.names if alias.name != "*")


def _constants(tree: ast.Module) -> dict[str, Any]:
    """The plain values that a module gives names to."""
    constants: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
            try:
                value = ast.literal_eval(statement.value)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            constants |= {target.id: value for target in targets if isinstance(target, ast.Name)}
    return constants


def _said(field: str, definition: ast.stmt, at: str) -> tuple[Kind, dict[str, Any]]:
    """The kind of an object, and the options that its decorator gives it."""
    decorators: Mapping[str, ast.expr] = {
        last_name(each): each
        for each in getattr(definition, "decorator_list", ())
        if last_name(each) in KINDS
    }
    here = [kind for kind in BY_FIELD[field] if kind.name in decorators]
    if decorators and not here:
        other = KINDS[next(iter(decorators))]
        raise BadInput(f"{at} is a {other.name}: it belongs in {other.field}, not in {field}")
    if not here:
        return BY_FIELD[field][0], {}
    decorator = decorators[here[0].name]
    options: dict[str, Any] = {}
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        try:
            value = ast.literal_eval(keyword.value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise BadInput(
                f"{at}: {keyword.arg} is read without running the file: write a plain value"
            ) from None
        options[keyword.arg or "**"] = tuple(value) if isinstance(value, list | set) else value
    _check_options(here[0].name, options, at)
    return here[0], options


def _check_options(kind: str, options: Mapping[str, Any], at: str) -> None:
    """Check that a decorator of `sweep.parts` takes the options; `pruners` has the one of criteria.

    Raises:
        BadInput: it does not.
    """
    if kind not in vars(decorators):
        return
    takes = get_type_hints(getattr(decorators, kind))
    del takes["return"]
    for name, value in options.items():
        if name not in takes:
            near = get_close_matches(name, takes, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(takes)}"
            raise BadInput(f"{at}: @{kind} takes no {name}; {hint}")
        if name != "version" and not _fits(value, takes[name]):
            expected = str(takes[name]).replace("typing.", "").replace("collections.abc.", "")
            expected = takes[name].__name__ if isinstance(takes[name], type) else expected
            raise BadInput(f"{at}: @{kind} has {name}={value!r}, expected {expected}")


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of a type that decorators take."""
    inside = get_args(annotation)
    if get_origin(annotation) is Literal:
        return value in inside
    if get_origin(annotation) is Sequence:
        return isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    if inside:
        return any(_fits(value, each) for each in inside)
    return type(value) is annotation
