"""Errors in the code of parts: where they are, in the file of whoever wrote it."""

import traceback
from collections.abc import Iterable

from sweep.parts.part import Part


def trace(error: BaseException, parts: Iterable[Part]) -> str | None:
    """The traceback of an error from the first line of a part's own file on; None: none is in it."""
    own = {module.path for part in parts if part.source for module in part.source.modules}
    frames = traceback.extract_tb(error.__traceback__)
    first = next((number for number, frame in enumerate(frames) if frame.filename in own), None)
    if first is None:
        return None
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames[first:])]
    return "".join([*lines, *traceback.format_exception_only(error)])


def line(error: BaseException, part: Part) -> str:
    """One line about an error in a part: its file and line, its name, and what is wrong."""
    own = {module.path for module in part.source.modules} if part.source else set()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
    at = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else part.at
    name = part.label.rpartition(":")[2]
    what = " ".join(str(error).split())
    said = what if isinstance(error, ValueError) and not frames else f"{type(error).__name__}: {what}"
    return f"{at}: {name}: {said}" if not what.startswith(at) else what
