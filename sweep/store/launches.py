"""The launches of a study: entries of study.json beside its results."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from sweep.errors import BadInput
from sweep.parts import Part, recorded
from sweep.store import results
from sweep.store.places import Place, put, remedy, remove_all, small

Row = Mapping[str, Any]
# The file of the entry of one part of a launch, and what matches all of these.
_OF_PART, OF_PARTS = ".launch-{}.json", ".launch-*.json"


def note_launch(
    folder: Place, study: str, spec: str, launch: Row, about: Row | None = None, *, alone: bool = True
) -> None:
    """Write the study's text to study.json, and add an entry about this launch.

    Args:
        about: what the study says of itself: its description and tags.
        alone: nobody else writes. Otherwise the entry gets a file of its own until `gather` is called: a file
            that several change would lose what one of them adds.

    Raises:
        BadInput: study.json is damaged, or cannot be read or written.
    """
    path = folder / "study.json"
    content = {"study": study, **(about or {}), "spec": spec, "launches": [launch]}
    if not alone:
        _put(folder / _OF_PART.format(launch["launch"]), content, "launch")
        if path.exists():
            return
    else:
        gather(folder)
        content["launches"] = [*_whole(path, "launch").get("launches", ()), launch]
    _put(path, content, "launch")


def gather(folder: Place) -> None:
    """Put the entries of a launch's parts into study.json. Nobody else writes.

    Raises:
        BadInput: study.json is damaged, or cannot be read or written.
    """
    # Read before study.json: what another process has gathered meanwhile is in there.
    of_parts = _of_parts(folder)
    if of_parts:
        path = folder / "study.json"
        _put(path, joined([_whole(path, "launch"), *of_parts.values()]), "launch")
        remove_all(of_parts)


def joined(contents: Iterable[Row]) -> Row:
    """One content of that of study.json and those of a launch's parts: what the latest says, and every entry.

    Args:
        contents: that of study.json, if there is any, and then those of parts, in any order.
    """
    first, *others = filter(None, contents)
    others.sort(key=lambda content: _began(_last(content)))
    by_id = {_id(entry): entry for content in (first, *others) for entry in _entries(content)}
    latest = max((first, *others), key=lambda content: _began(_last(content)))
    return {**latest, "launches": [*by_id.values()]}


def _of_parts(folder: Place) -> dict[Place, Row]:
    """The files with the entries of a launch's parts that are not gathered yet, with their contents."""
    found: dict[Place, Row] = {}
    for path in folder.glob(OF_PARTS):
        with suppress(OSError, ValueError, RecursionError):
            content = json.loads(small(path) or "null")
            if _entries(content):
                found[path] = content
    return found


def _last(content: Row) -> Any:
    """The entry of the latest launch; None: there is none."""
    entries = _entries(content)
    return entries[-1] if entries else None


def _put(path: Place, content: Row, again: str) -> None:
    text = json.dumps(content, indent=2)
    try:
        put(path, lambda file: file.write(text.encode() + b"\n"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}: {remedy(path)} and {again} again") from None


def take_in(folder: Place, other: Place) -> None:
    """Add the launches of a study that another folder has, each once, and keep the texts of both.

    What the study says of itself in either file, its text above all, is a part of the entry of the last
    launch there. What the later of these two says stands beside the launches too.

    Raises:
        BadInput: a study.json is damaged, or cannot be read or written.
    """
    path = folder / "study.json"
    own, theirs = _whole(path, "merge"), _whole(other / "study.json", "merge")
    if of_parts := _of_parts(other):
        theirs = dict(joined([theirs, *of_parts.values()]))
    if not theirs:
        return
    by_id: dict[str, Row] = {}
    for content in (own, theirs):
        for entry in _with_what_it_says(content):
            by_id[_id(entry)] = {**by_id.get(_id(entry), {}), **entry}
    latest = max(filter(None, (own, theirs)), key=lambda content: _began(_last(content)))
    merged = {**latest, "launches": sorted(by_id.values(), key=_began)}
    if merged != own:
        _put(path, merged, "merge")


def _whole(path: Place, again: str) -> dict[str, Any]:
    """The content of a study.json; empty if there is none.

    Args:
        again: what to do again when the file is mended.

    Raises:
        BadInput: the file is damaged, or cannot be read.
    """
    try:
        content = json.loads(small(path) or "") if path.exists() else {}
        if isinstance(content, dict) and (not content or isinstance(content["launches"], list)):
            return content
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}: make it readable and {again} again") from None
    except (ValueError, LookupError, RecursionError):
        pass
    raise BadInput(f"{path}: damaged: move it away and {again} again")


def _with_what_it_says(content: Row) -> list[Row]:
    """The entries of a study.json, the last of them with what the study says of itself."""
    if not content:
        return []
    entries = _entries(content) or [{}]
    said = {name: value for name, value in content.items() if name not in ("study", "launches")}
    return [*entries[:-1], {**entries[-1], **said}]


def _id(entry: Row) -> str:
    """What tells an entry from others; early ones have no id of their own."""
    named = entry.get("launch")
    return named if isinstance(named, str) else json.dumps([entry.get("started_at"), entry.get("command")])


def _began(entry: Any) -> float:
    """When a launch began, in seconds since 1970; −∞: it does not say."""
    with suppress(AttributeError, LookupError, OverflowError, TypeError, ValueError):
        return datetime.fromisoformat(entry["started_at"]).timestamp()
    return -math.inf


def parts_of(folder: Place) -> list[Part]:
    """The parts of one's own that the launches of a study named, the latest last; they are without code.

    A study.json that is missing or damaged has none.
    """
    return [part for entry in _entries(_content(folder)) for part in _recorded(entry)]


def last(folder: Place) -> tuple[datetime, str] | None:
    """When a study was last launched, and its text then; None: study.json is missing or damaged."""
    content = _content(folder)
    try:
        return datetime.fromisoformat(content["launches"][-1]["started_at"]), str(content["spec"])
    except (LookupError, TypeError, ValueError):
        return None


def torch_version(folder: Place, launched_at: datetime | None) -> str | None:
    """The version of torch of the launch that started at a time; None: study.json does not say."""
    for entry in _entries(_content(folder)):
        versions = entry.get("versions")
        with suppress(TypeError, ValueError):
            if datetime.fromisoformat(entry.get("started_at", "")) == launched_at:
                return str(versions["torch"]) if isinstance(versions, dict) and "torch" in versions else None
    return None


def _content(folder: Place) -> Any:
    """The content of study.json, and the entries of parts; None: study.json is missing or damaged."""
    try:
        content = json.loads(small(folder / "study.json") or "{}")
        of_parts = [*_of_parts(folder).values()] if _entries(content) else []
    except (OSError, ValueError, RecursionError):
        return None
    return joined([content, *of_parts]) if of_parts else content


def _entries(content: Any) -> list[Row]:
    """The entries of a study.json; none where it is damaged."""
    launches = content.get("launches") if isinstance(content, dict) else None
    return [each for each in launches if isinstance(each, dict)] if isinstance(launches, list) else []


def _recorded(launch: Row) -> Iterator[Part]:
    entries = launch.get("parts")
    for entry in entries if isinstance(entries, list) else ():
        if part := recorded(entry):
            yield part


def of_other_code(folder: Place, part: Part) -> int:
    """How many results are of a part with this label and of other code."""
    configs = results.configs(folder)
    with_label = pc.match_substring(configs, json.dumps(f"{part.label}@")[:-1])
    with_code = pc.match_substring(configs, json.dumps(part.name))
    return int(pc.sum(pc.and_not(with_label, with_code)).as_py() or 0)
