"""What a trial is to a tracker: one run. Others may have written its row, so all of it is made safe here."""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow.types as types

from sweep import arms, foreign
from sweep.config import FIELDS
from sweep.store.parts import config as parsed
from sweep.store.schema import SCHEMAS, in_training

Row = Mapping[str, Any]
Value = str | int | float | bool

# The columns of numbers that say how a trial ended: neither what it was asked for nor where it ran.
NUMBERS = tuple(
    field.name
    for field in SCHEMAS["trials"]
    if (types.is_floating(field.type) or types.is_integer(field.type))
    and field.name not in (*FIELDS, "protocol", "pack")
)
_CURVES = tuple(field.name for field in SCHEMAS["curves"] if field.name not in ("trial_id", "phase"))
# The columns of text that become tags as they are.
_TAGS = ("status", "headline", "source", "code", "launch", "device", "node", "error")
# Every service takes texts of this length, and names of this many bytes.
_LONGEST, _LONGEST_NAME = 1000, 120


@dataclass(frozen=True)
class Point:
    """One epoch of a trial's curves.

    Attributes:
        step: its place among the trial's epochs, from 1 on. Epochs themselves begin again after a rewind.
        time: when it ended, in seconds since 1970.
        values: name → finite number.
    """

    step: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """A trial as trackers show it. Names have letters, digits, `_`, `-`, `.` and after `curve` one `/` only.

    Attributes:
        trial_id: a name.
        study: any text on one line.
        name: for people: criterion, sparsity, seed.
        group: for people: the arm. Trials of one arm have the same group, and others have another one.
        cell: group and sparsity: its trials differ in their seeds alone.
        params: field of the config → value.
        numbers: column, or metric and split → finite number.
        points: of the curves, in the order of the training.
        tags: name → text.
        words: tags that people gave to the study or to the trial.
        began: seconds since 1970.
        ended: seconds since 1970.
    """

    trial_id: str
    study: str
    name: str
    group: str
    cell: str
    params: Mapping[str, Value]
    numbers: Mapping[str, float]
    points: tuple[Point, ...]
    tags: Mapping[str, str]
    words: tuple[str, ...]
    began: float
    ended: float

    @property
    def status(self) -> str:
        """The trial's status, such as `ok`."""
        return self.tags.get("status", "")

    @property
    def version(self) -> str:
        """8 hex digits that change when the trial is run again, or tagged."""
        return hashlib.sha256(repr(sorted(self.tags.items())).encode()).hexdigest()[:8]

    @staticmethod
    def of(
        row: Row, curves: Iterable[Row] = (), metrics: Iterable[Row] = (), words: Iterable[str] = ()
    ) -> "Run":
        """The run of a trial.

        Args:
            row: of `trials`; times have a zone.
            curves: its rows of `curves`, in any order.
            metrics: its rows of `metrics`.
            words: tags of its study. Those of the trial itself are in the row, if it has any.
        """
        config = parsed(row.get("config")) or {}
        how, group = _labels(config, str(row.get("arm")))
        sparsity = f"sparsity {row['sparsity']:g}"
        every = tuple(sorted({_text(word) for word in (*words, *(row.get("tags") or ()))}))
        ended = _seconds(row.get("finished_at"))
        began = _seconds(row.get("started_at")) or ended
        named = {
            "trial_id": name(str(row["trial_id"])),
            "study": _text(str(row.get("study"))),
            "group": group,
            "cell": f"{group}, {sparsity}",
            "tags": ", ".join(every)[:_LONGEST],
            "finished_at": str(ended or ""),
            **{key: _text(str(row[key])) for key in _TAGS if row.get(key) is not None},
        }
        return Run(
            trial_id=named["trial_id"],
            study=named["study"],
            name=f"{how} {sparsity} seed {row['seed']}",
            group=group,
            cell=named["cell"],
            params=_params(config),
            numbers=dict(_numbers(row, metrics)),
            points=tuple(_points(curves, began)),
            tags={key: text for key, text in named.items() if text},
            words=every,
            began=began,
            ended=ended,
        )


def name(text: str) -> str:
    """A text as a name that every service takes, and that is one plain part of a path."""
    safe = re.sub(r"[^\w.-]", "_", text).strip(".")
    return safe.encode()[:_LONGEST_NAME].decode(errors="ignore") or "_"


def _text(text: str) -> str:
    """A text on one line that is not too long."""
    return foreign.terminal(" ".join(text.split()))[:_LONGEST].encode(errors="replace").decode()


def _labels(config: Row, arm: str) -> tuple[str, str]:
    """A short name for how the mask is chosen, and one for the arm; the latter depends on the arm alone."""
    try:
        how, where = arms.short(config), arms.place(config)
    except TypeError:  # a field of a type that no study gives it
        how = where = "unknown"
    digest = hashlib.sha256(arm.encode(errors="replace")).hexdigest()[:6]
    return _text(how)[:80], f"{_text(f'{how}, {where}')[:100]} #{digest}"


def _params(config: Row) -> dict[str, Value]:
    """The fields that have a value."""
    params: dict[str, Value] = {}
    for key, value in config.items():
        if key == "protocol" or value is None or (isinstance(value, float) and not math.isfinite(value)):
            continue
        fits = not isinstance(value, int) or abs(value) < 2**63
        params[name(key)] = _text(str(value)) if isinstance(value, str) or not fits else value
    return params


def _numbers(row: Row, metrics: Iterable[Row]) -> Iterator[tuple[str, float]]:
    for key in NUMBERS:
        if _finite(row.get(key)):
            yield key, float(row[key])
    for each in metrics:
        if _finite(each["value"]):
            yield name(f"{each['name']}_{each['split']}"), float(each["value"])


def _points(curves: Iterable[Row], began: float) -> Iterator[Point]:
    """The epochs in the order of the training. A number that is not finite is left out: a gap says it."""
    time = began
    for step, row in enumerate(sorted(curves, key=in_training), 1):
        values = {f"curve/{key}": float(row[key]) for key in _CURVES if _finite(row.get(key))}
        time += max(0.0, values.get("curve/seconds", 0.0))
        yield Point(step, time, values)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _seconds(when: datetime | None) -> float:
    """Seconds since 1970, at least 0; 0 without a time."""
    return max(0.0, when.timestamp()) if when else 0.0
