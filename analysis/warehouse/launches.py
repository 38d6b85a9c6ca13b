"""The launches of studies, as the file study.json beside the results of each study has them."""

import json
from datetime import datetime
from operator import itemgetter
from typing import Any

from analysis.warehouse.union import Places, members
from sweep.store.places import Place, is_small, read_all

# Study, trials of the study, trials to run, start in seconds since 1970.
Launch = tuple[str, int, int, float]


def launches(folder: Place) -> tuple[list[Launch], dict[str, str]]:
    """The latest launch of each study whose study.json has one, and what studies ask, by name, as JSON."""
    latest: dict[str, Launch] = {}
    questions: dict[str, str] = {}
    for content in read_all(path for path in _files(folder, "study.json") if is_small(path)):
        if not isinstance(content, bytes):
            continue
        if launch := _launch(content):
            # Two folders may hold the same study, as after a copy: the later launch counts.
            latest[launch[0]] = max(launch, latest.get(launch[0], launch), key=itemgetter(3))
        questions |= _question(content)
    return list(latest.values()), questions


def entries(folder: Place) -> dict[str, dict[str, Any]]:
    """The entry of each launch, by its id, from every study.json that is sound."""
    by_id: dict[str, dict[str, Any]] = {}
    for content in read_all(path for path in _files(folder, "study.json") if is_small(path)):
        try:
            launches = json.loads(content)["launches"] if isinstance(content, bytes) else []
            by_id |= {one["launch"]: one for one in launches if isinstance(one.get("launch"), str)}
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
            continue
    return by_id


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


def _launch(content: bytes) -> Launch | None:
    """The latest launch of a study.json; None if a field is missing or has an impossible value."""
    try:
        known = json.loads(content)
        launch = known["launches"][-1]
        study, trials, to_run = known["study"], launch["trials"], launch["to_run"]
        study.encode()
        began = datetime.fromisoformat(launch["started_at"])
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None
    if not type(trials) is type(to_run) is int or not 0 <= to_run <= trials < 2**63 or not began.tzinfo:
        return None
    return study, trials, to_run, began.timestamp()


def _question(content: bytes) -> dict[str, str]:
    """What the study of a study.json asks; empty: nothing."""
    try:
        known = json.loads(content)
        return {str(known["study"]): json.dumps(known["question"])}
    except (LookupError, RecursionError, TypeError, ValueError):
        return {}


def files(results: Places, name: str) -> list[Place]:
    """The files with this name beside the results, of the one study or of each study, of all places."""
    return [path for each in members(results) for path in _files(each.folder, name)]


def _files(folder: Place, name: str) -> list[Place]:
    found: list[Place] = [*folder.glob(name)] or [*folder.glob(f"*/{name}")]
    return sorted(found, key=str)
