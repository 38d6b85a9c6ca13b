"""The launches of studies, as the file study.json beside the results of each study has them."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import takewhile
from typing import Any

from analysis.warehouse.union import Places, members
from sweep.store.launches import OF_PARTS, joined
from sweep.store.places import Place, is_small, read_all

# Study, trials of the study, trials to run, starts of the launch and of its parts in seconds since 1970.
Launch = tuple[str, int, int, list[float]]


def launches(folder: Place) -> tuple[list[Launch], dict[str, str]]:
    """The latest launch of each study whose study.json has one, and what studies ask, by name, as JSON."""
    latest: dict[str, Launch] = {}
    questions: dict[str, str] = {}
    for contents in _by_study(folder).values():
        if launch := _launch(contents):
            # Two folders may hold the same study, as after a copy: the later launch counts.
            latest[launch[0]] = max(launch, latest.get(launch[0], launch), key=lambda each: max(each[3]))
        questions |= _question(contents)
    return list(latest.values()), questions


def entries(folder: Place) -> dict[str, dict[str, Any]]:
    """The entry of each launch, by its id, from every study.json that is sound."""
    by_id: dict[str, dict[str, Any]] = {}
    for content in (each for contents in _by_study(folder).values() for each in contents):
        try:
            by_id |= {one["launch"]: one for one in content["launches"] if isinstance(one.get("launch"), str)}
        except (AttributeError, LookupError, TypeError):
            continue
    return by_id


def _by_study(folder: Place) -> dict[str, list[Any]]:
    """The folder of each study → what its study.json holds, and the files of a launch's parts beside it."""
    found: dict[str, list[Any]] = {}
    paths = [path for name in ("study.json", OF_PARTS) for path in _files(folder, name) if is_small(path)]
    for path, content in zip(paths, read_all(paths), strict=True):
        with suppress(RecursionError, ValueError):
            if isinstance(content, bytes):
                found.setdefault(str(path.parent), []).append(json.loads(content))
    return found


def tags(results: Places) -> dict[str, list[str]]:
    """The tags of each study, from every study.json that is sound."""
    by_study: dict[str, list[str]] = {}
    for content in read_all(path for path in files(results, "study.json") if is_small(path)):
        try:
            known = json.loads(content) if isinstance(content, bytes) else {}
            by_study[known["study"]] = [tag for tag in known["tags"] if isinstance(tag, str)]
        except (LookupError, RecursionError, TypeError, ValueError):
            continue
    return by_study


def _launch(contents: Sequence[Any]) -> Launch | None:
    """The latest launch of a study; None if a field is missing or has an impossible value.

    Parts of a launch are that launch together: what had no result when the first of them began is to run.
    """
    try:
        known = joined(each for each in contents if isinstance(each, dict))
        last, *earlier = reversed(known["launches"])
        division = last.get("division")
        beside = takewhile(lambda entry: division and entry.get("division") == division, earlier)
        parts = [last, *beside]
        study, trials, to_run = known["study"], last["trials"], parts[-1]["to_run"]
        study.encode()
        began = [datetime.fromisoformat(each["started_at"]) for each in parts]
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None
    sound = type(trials) is type(to_run) is int and 0 <= to_run <= trials < 2**63
    if not sound or not all(each.tzinfo for each in began):
        return None
    return study, trials, to_run, [each.timestamp() for each in began]


def _question(contents: Sequence[Any]) -> dict[str, str]:
    """What a study asks, by its name; empty: nothing, or a file has an impossible value."""
    asked: dict[str, str] = {}
    for known in contents:
        with suppress(AttributeError, LookupError, RecursionError, TypeError, ValueError):
            known["study"].encode()
            asked[known["study"]] = json.dumps(known["question"])
    return asked


def files(results: Places, name: str) -> list[Place]:
    """The files with this name beside the results, of the one study or of each study, of all places."""
    return [path for each in members(results) for path in _files(each.folder, name)]


def _files(folder: Place, name: str) -> list[Place]:
    found: list[Place] = [*folder.glob(name)] or [*folder.glob(f"*/{name}")]
    return sorted(found, key=str)
