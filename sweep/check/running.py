"""A part is run: its parameters checked before, its errors told in one line, with one thread."""

import hashlib
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

import pruners
from pruners.own import BadFunction, place
from sweep.errors import BadInput

# Folders of code that is not the part's: this project's, that of installed packages, and Python's own.
_OURS = tuple(
    Path(folder).resolve()
    for folder in (
        str(Path(pruners.__file__).parent),
        str(Path(__file__).parents[1]),
        *(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")),
    )
)


def fault(error: BaseException, at: str) -> str:
    """One line about an error of a part: the file and line of its own code that failed, and why.

    Args:
        at: what is named if no line of the part's own code was running, such as the `place` of the part.
    """
    if isinstance(error, BadFunction):
        return one_line(str(error))
    ours = isinstance(error, BadInput)
    why = one_line(str(error) if ours else f"{type(error).__name__}: {error}")
    each: BaseException | None = error
    while each:
        for frame in traceback.extract_tb(each.__traceback__):
            if _is_parts_own(frame.filename):
                at = f"{shown(frame.filename)}:{frame.lineno} {frame.name}"
                why = one_line(f"{type(each).__name__}: {each}")
        each = each.__cause__
    return f"{at}: {why}"


def _is_parts_own(file: str) -> bool:
    path = Path(file).resolve()
    return not file.startswith("<") and not any(path.is_relative_to(folder) for folder in _OURS)


def one_line(text: str) -> str:
    """The text on one line, cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:299] + "…"


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first names, and the number of the others."""
    others = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + others


def shown(file: str) -> str:
    """A file's path from the current folder, if it is below it."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def check_parameters(part: Callable[..., Any], inputs: int, given: Mapping[str, Any]) -> None:
    """Raise `BadInput` unless the part takes these parameters, and needs no others.

    Args:
        inputs: number of the first parameters, which are no options.
    """
    at = place(part)
    try:
        options = list(signature(part).parameters.values())[inputs:]
    except (ValueError, TypeError):
        raise BadInput(f"{at}: its parameters cannot be read") from None
    takes_any = any(each.kind == Parameter.VAR_KEYWORD for each in options)
    names = [each.name for each in options if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    for name in given if not takes_any else ():
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'none'}"
            raise BadInput(f"{at}: no parameter {name}; {hint}")
    for each in options:
        if each.name in names and each.default is each.empty and each.name not in given:
            raise BadInput(f"{at}: parameter {each.name} has no default: give --set {each.name}=VALUE")


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether all bits are equal."""
    return one.keys() == other.keys() and digest(one.values()) == digest(other.values())


def digest(values: Iterable[Tensor | NDArray[Any]]) -> str:
    """16 hex digits of the types, the shapes and all bytes of tensors and arrays."""
    total = hashlib.sha256()
    for each in values:
        total.update(f"{each.dtype}{tuple(each.shape)}".encode())
        if isinstance(each, Tensor):
            # NumPy has no bfloat16.
            each = each.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        total.update(each.tobytes())
    return total.hexdigest()[:16]


def shape_text(shape: Iterable[int]) -> str:
    """A shape as it is said: `3×32×32`."""
    return "×".join(map(str, shape)) or "one number"
