"""Errors in the code of parts: where they are, in the file of whoever wrote it."""

import traceback
from collections.abc import Iterable

from sweep.errors import BadInput
from sweep.parts.kinds import KINDS
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


def line(error: BaseException | None, part: Part, problem: str = "") -> str:
    """One line about a part: its file and line, its name, and what is wrong.

    Args:
        error: that its code raised; None: the problem is not an error.
        problem: what is wrong; by default what the error says.
    """
    own = {module.path for module in part.source.modules} if part.source else set()
    frames = (
        [each for each in traceback.extract_tb(error.__traceback__) if each.filename in own] if error else []
    )
    at = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else part.at
    said = " ".join(str(error).split()) if error else ""
    if not problem and said.startswith(at):
        return said
    plain = isinstance(error, BadInput) or (isinstance(error, ValueError) and not frames)
    raised = said.removeprefix(f"{part.name}: ") if plain else f"{type(error).__name__}: {said}"
    if not frames and not isinstance(error, BadInput) and "expected" not in said:
        # The part returned something that fails outside of its own code.
        raised += f"; expected {KINDS[part.kind].form}"
    return f"{at}: {part.label.rpartition(':')[2]}: {problem or raised}"
