"""Trials that are running, as their workers leave their curves beside the results; no results, in no view."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analysis.warehouse.launches import files
from analysis.warehouse.union import Places
from sweep.store import parts
from sweep.store.places import Place, is_small, read_all
from sweep.store.running import FOLDER

_ID = re.compile(r"[0-9a-f]{16}")
# The most bytes of a file, and characters of the name of a metric.
_MOST, _NAME = 2**20, 40
# A trial is silent if it says nothing for this many of its epochs and these seconds.
_EPOCHS, _SECONDS = 3, 60


@dataclass(frozen=True)
class Live:
    """A running trial, as of its last epoch's end, or of some seconds before.

    Attributes:
        study: name of the folder that it is in.
        config: fields of its config.
        done: epochs of training until now.
        epochs: of the whole training.
        headline: the metric in `curve`.
        curve: its value on validation data after each epoch; NaN where it is none.
        age: seconds since this was written, by the clock of this machine.
        silent: it should have said something by now; its worker may have died.
    """

    trial_id: str
    study: str
    config: Mapping[str, Any]
    done: float
    epochs: float
    headline: str
    curve: tuple[float, ...]
    age: float
    silent: bool


def live(results: Places) -> list[Live]:
    """The trials that have left their curves, by study and config; files with other content are left out."""
    places = [place for place in files(results, f"{FOLDER}/*.json") if _is_small(place)]
    now = datetime.now(UTC)
    found = (
        _live(place, content, now)
        for place, content in zip(places, read_all(places), strict=True)
        if isinstance(content, bytes)
    )
    return sorted(filter(None, found), key=lambda each: (each.study, str(each.config), each.trial_id))


def _is_small(place: Place) -> bool:
    try:
        return is_small(place, _MOST)
    except OSError:  # removed meanwhile
        return False


def _live(place: Place, content: bytes, now: datetime) -> Live | None:
    """What a file says; None: it is not as a worker writes it."""
    try:
        said = json.loads(content)
        trial_id, config, headline = said["trial_id"], parts.config(said["config"]), said["headline"]
        done, epochs, seconds = (_number(said[name]) for name in ("done", "epochs", "seconds"))
        curve = tuple(math.nan if value is None else _number(value) for _, _, value in said["curves"])
        age = (now - datetime.fromisoformat(said["at"])).total_seconds()
        named = bool(_ID.fullmatch(trial_id)) and place.name == f"{trial_id}.json"
        named = named and isinstance(headline, str) and len(headline) <= _NAME and _can_be_named(config or {})
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError):
        return None
    if not config or not named or done <= 0 or epochs <= 0 or seconds < 0:
        return None
    silent = age > _EPOCHS * seconds / done + _SECONDS
    study = place.resolve().parent.parent.name
    return Live(trial_id, study, config, done, epochs, headline, curve, max(0.0, age), silent)


def _can_be_named(config: Mapping[str, Any]) -> bool:
    """Whether the fields that a name is made of have their types."""
    scope, iterations = config.get("scope"), config.get("iterations")
    return isinstance(scope, str | None) and isinstance(iterations, int | float | None)


def _number(value: object) -> float:
    """A finite number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)
