"""The launches of a study: entries of study.json beside its results."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from sweep.errors import BadInput
from sweep.parts import Part, recorded
from sweep.store import results
from sweep.store.places import Place, put, remedy, small

Row = Mapping[str, Any]


def note_launch(folder: Place, study: str, spec: str, launch: Row, about: Row | None = None) -> None:
    """Write the study's text to study.json, and add an entry about this launch.

    Args:
        about: what the study says of itself: its description and tags.

    Raises:
        BadInput: study.json is damaged, or cannot be read or written.
    """
    path = folder / "study.json"
    try:
        earlier = list(json.loads(small(path) or "")["launches"]) if path.exists() else []
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}: make it readable and launch again") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise BadInput(f"{path}: damaged: move it away and launch again") from None
    content = {"study": study, **(about or {}), "spec": spec, "launches": [*earlier, launch]}
    text = json.dumps(content, indent=2)
    try:
        put(path, lambda file: file.write(text.encode() + b"\n"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}: {remedy(path)} and launch again") from None


def parts_of(folder: Place) -> list[Part]:
    """The parts of one's own that the launches of a study named, the latest last; they are without code.

    A study.json that is missing or damaged has none.
    """
    return [part for entry in _entries(folder) for part in _recorded(entry)]


def last(folder: Place) -> tuple[datetime, str] | None:
    """When a study was last launched, and its text then; None: study.json is missing or damaged."""
    content = _content(folder)
    try:
        return datetime.fromisoformat(content["launches"][-1]["started_at"]), str(content["spec"])
    except (LookupError, TypeError, ValueError):
        return None


def torch_version(folder: Place, launched_at: datetime | None) -> str | None:
    """The version of torch of the launch that started at a time; None: study.json does not say."""
    for entry in _entries(folder):
        versions = entry.get("versions")
        with suppress(TypeError, ValueError):
            if datetime.fromisoformat(entry.get("started_at", "")) == launched_at:
                return str(versions["torch"]) if isinstance(versions, dict) and "torch" in versions else None
    return None


def _content(folder: Place) -> Any:
    """The content of study.json; None: it is missing or damaged."""
    try:
        return json.loads(small(folder / "study.json") or "{}")
    except (OSError, ValueError, RecursionError):
        return None


def _entries(folder: Place) -> list[Row]:
    """The entries of study.json; none where it is missing or damaged."""
    content = _content(folder)
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
