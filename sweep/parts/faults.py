"""Errors in the code of parts: where they are, in the file of whoever wrote it."""

import re
import traceback
from collections import deque
from collections.abc import Collection, Iterable
from itertools import dropwhile, islice

from sweep.errors import BadInput
from sweep.parts.bad_part import BadPart
from sweep.parts.kinds import KINDS
from sweep.parts.part import Part, find

# Characters of an error's message that are said, and frames at each end of a traceback.
_LONGEST, _FRAMES = 1000, 20
# The place at which a message of `pruners` begins.
_PLACE = re.compile(r"\S[^:]*:\d+ \w+: ")


def explain(error: BaseException, canonical: str, known: Iterable[Part]) -> str | None:
    """What the row of a failed trial says: the traceback of the part's own code, or one line.

    Args:
        canonical: the config of the trial.
        known: the parts that the trial may name.

    Returns:
        None: the error is in no part, and the trial names none.
    """
    known = list(known)
    told = trace(error, known)
    if told or not (isinstance(error, BadPart) or any(f'"{part.name}"' in canonical for part in known)):
        return told
    said = line(error, guilty(error, canonical, known))
    frames = traceback.extract_tb(error.__traceback__)
    return (
        said
        if isinstance(error, BadInput)
        else f"{said} (raised in {frames[-1].filename}:{frames[-1].lineno})"
    )


def trace(error: BaseException, parts: Iterable[Part]) -> str | None:
    """The traceback of an error from the first line of a part's own file on; None: none is in it."""
    error, frames = _own_frames(error, {file for part in parts for file in _files(part)})
    if not frames:
        return None
    listed = traceback.format_list(frames[:_FRAMES]) + traceback.format_list(frames[_FRAMES:])
    ends = _cut("".join(traceback.format_exception_only(error)))
    return "".join(["Traceback (most recent call last):\n", *listed, ends])


def guilty(error: BaseException | None, canonical: str, known: Iterable[Part]) -> Part:
    """The part that an error is about: it says so, or is in the part's files; else the first in the trial."""
    known = list(known)
    if isinstance(error, BadPart) and (part := find(error.name)):
        return part
    named = [part for part in known if f'"{part.name}"' in canonical]
    if error:
        said = _said(error)
        for part in (*named, *known):
            if said.startswith(part.name) or trace(error, [part]):
                return part
    return [*named, *known][0]


def line(error: BaseException | None, part: Part, problem: str = "") -> str:
    """One line about a part: its file and line, its name, and what is wrong.

    Args:
        error: that its code raised; None: the problem is not an error.
        problem: what is wrong; by default what the error says.
    """
    at, own = part.at, _files(part)
    if error:
        error, frames = _own_frames(error, own)
        last = next((frame for frame in reversed(frames) if frame.filename in own), None)
        at = f"{last.filename}:{last.lineno}" if last else at
    if error and not problem:
        said = _said(error)
        if isinstance(error, BadPart):
            problem = error.problem
        elif isinstance(error, BadInput | ValueError) and not frames:
            problem = _PLACE.sub("", said.removeprefix(f"{part.name}: "), count=1)
        else:
            problem = f"{type(error).__name__}: {said}".removesuffix(": ")
        if not frames and not isinstance(error, BadInput | BadPart) and "expected" not in problem:
            # The part gave something that fails outside of its own code.
            problem += f"; expected {KINDS[part.kind].form}"
    return f"{at}: {part.short}: {problem}"


def _own_frames(error: BaseException, own: Collection[str]) -> tuple[BaseException, traceback.StackSummary]:
    """An error, or the one that it was raised from or after, and its frames from the first own one on.

    Args:
        own: files.

    Returns:
        Of many frames the first and the last ones, as an endless recursion has millions. The error itself and
        no frames, if none of the errors passed through these files.
    """
    each: BaseException | None = error
    while each:
        frames = dropwhile(
            lambda frame: frame[0].f_code.co_filename not in own, traceback.walk_tb(each.__traceback__)
        )
        shown = [*islice(frames, _FRAMES), *deque(frames, _FRAMES)]
        if shown:
            return each, traceback.StackSummary.extract(iter(shown))
        each = each.__cause__ or each.__context__
    return error, traceback.StackSummary()


def _files(part: Part) -> set[str]:
    """The files of a part, as tracebacks name them."""
    modules = part.source.modules if part.source else ()
    return {module.path for module in modules} | {part.at.rpartition(":")[0]} - {""}


def _said(error: BaseException) -> str:
    try:
        return _cut(" ".join(str(error).split()))
    except Exception:  # it is code of the part too
        return "its message cannot be read"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
