"""The parameters of a part: read from its definition, which nothing runs, or from a loaded function."""

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from types import NoneType
from typing import Any, Literal, get_args, get_origin

# The types of values that a study file can give.
_PLAIN: dict[str, Any] = {"bool": bool, "int": int, "float": float, "str": str, "None": None}
# Parameters that a config gives a part: names and values. Whole real numbers are integers here.
Arguments = tuple[tuple[str, bool | int | float | str | None], ...]
# Of a parameter without an annotation and without a default that tells its type.
ANY = bool | int | float | str | None


@dataclass(frozen=True)
class Parameter:
    """A parameter of a part that a study can set.

    Attributes:
        annotation: its type, of bool, int, float, str, None and literals.
        default: of the function; Ellipsis: only the code knows it.
        required: whether it has no default.
    """

    name: str
    annotation: Any
    default: Any = ...
    required: bool = False

    def coerced(self, value: Any) -> Any:
        """A value as the function takes it: canonical configs write whole real numbers as integers."""
        real = type(value) is int and int not in _types(self.annotation) and float in _types(self.annotation)
        return float(value) if real else value


@dataclass(frozen=True)
class Signature:
    """What a part takes.

    Attributes:
        inputs: names of what the trial gives it, in their order; None: that cannot be read.
        parameters: what a study can set.
    """

    inputs: tuple[str, ...] | None
    parameters: tuple[Parameter, ...] = ()


def of_definition(definition: ast.stmt, constants: Mapping[str, Any]) -> Signature:
    """The signature of a function, or of the objects of a class, by its definition.

    Args:
        constants: name → value, of the plain values that its module defines.

    Raises:
        ValueError: a parameter that must be set has a type that a study file cannot write.
    """
    if isinstance(definition, ast.ClassDef):
        own = [each for each in definition.body if getattr(each, "name", "") == "__init__"]
        if not own or not isinstance(own[0], ast.FunctionDef):
            return Signature(None)
        arguments, bound = own[0].args, 1
    elif isinstance(definition, ast.FunctionDef):
        arguments, bound = definition.args, 0
    else:
        return Signature(None)
    positional = [*arguments.posonlyargs, *arguments.args][bound:]
    first = len(positional) - min(len(arguments.defaults), len(positional))
    optional = zip(positional[first:], arguments.defaults[-len(positional) :], strict=False)
    named = [*optional, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    parameters = [_parameter(argument, default, constants) for argument, default in named]
    return Signature(tuple(argument.arg for argument in positional[:first]), tuple(filter(None, parameters)))


def of_function(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The parameters of a function that is loaded, such as a built-in criterion's, each with its default."""
    bound = set(function.keywords) if isinstance(function, partial) else set()
    return tuple(
        Parameter(each.name, each.annotation, each.default)
        for each in inspect.signature(function).parameters.values()
        if each.default is not each.empty and each.name not in bound and _is_plain(each.annotation)
    )


def _parameter(argument: ast.arg, default: ast.expr | None, constants: Mapping[str, Any]) -> Parameter | None:
    """A parameter by its definition; None: a study cannot set it."""
    required = default is None
    value = ... if default is None else _value(default, constants)
    try:
        annotation = annotated(argument.annotation) if argument.annotation else _type_of(value)
    except ValueError:
        if required:
            raise ValueError(
                f"parameter {argument.arg} has no default, and its type is none of bool, int, float, str, "
                "Literal[...]: give it one of them, or a default"
            ) from None
        return None
    if value is not ... and not isinstance(value, bool | int | float | str | NoneType):
        return None
    return Parameter(argument.arg, annotation, value, required)


def _value(node: ast.expr, constants: Mapping[str, Any]) -> Any:
    """The value of a default; Ellipsis: only the code knows it."""
    if isinstance(node, ast.Name):
        return constants.get(node.id, ...)
    try:
        return ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ...


def _type_of(value: Any) -> Any:
    return type(value) if isinstance(value, bool | int | float | str) else ANY


def annotated(node: ast.expr) -> Any:
    """The type that an annotation names.

    Raises:
        ValueError: a study file cannot write values of it.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return annotated(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.Name) and node.id in _PLAIN:
        return _PLAIN[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _either(annotated(node.left), annotated(node.right))
    if isinstance(node, ast.Subscript):
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        kind = ast.unparse(node.value).rpartition(".")[2]
        if kind == "Literal":
            return Literal[tuple(ast.literal_eval(each) for each in inside)]
        if kind in ("Optional", "Union"):
            nothing = [None] if kind == "Optional" else []
            return reduce(_either, [*map(annotated, inside), *nothing])
    raise ValueError(f"{ast.unparse(node)} is no type of a study file")


def _either(one: Any, other: Any) -> Any:
    return or_(NoneType if one is None else one, other)


def _types(annotation: Any) -> frozenset[Any]:
    if get_origin(annotation) is Literal:
        return frozenset(map(type, get_args(annotation)))
    inside = get_args(annotation)
    return frozenset().union(*map(_types, inside)) if inside else frozenset({annotation})


def _is_plain(annotation: Any) -> bool:
    return _types(annotation) <= {bool, int, float, str, NoneType, None}
