"""What the cells of a table say: each number with as many digits as it means."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.means import ROUNDING, decimals

# Values that a study or a person gave, which have all their digits.
_GIVEN = {"sparsity", "threshold", "margin", "difference", "prune_epoch", "safe_from"}
# Numbers whose spread stands in a column of its own.
_SPREAD = {"mean": "deviation", "median": "deviation"}
_COEFFICIENTS = {"r", "tau", "rho"}
# Numbers that are known to two digits: spreads, and what is divided by a time.
_ROUGH = re.compile(r"deviation.*|.*_per_hour")
_P = re.compile(r"(.*_)?p(_holm)?")
_HOURS = re.compile(r"(.*_)?hours")
_ENDS = re.compile(r"(?:(.*)_)?(low|high|half_width)")
# The smallest p-value that is written out.
_LEAST_P = 0.001
# A number of hours, minutes or seconds has a digit behind the point below this.
_TEN = 10


@dataclass(frozen=True)
class Column:
    """A column as text.

    Attributes:
        name: in words.
        cells: one for each row.
        right: the cells are numbers, set to the right.
        constant: all cells are equal.
    """

    name: str
    cells: Sequence[str]
    right: bool

    @property
    def constant(self) -> bool:
        """Whether all cells are equal."""
        return len(set(self.cells)) == 1


def columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Column]:
    """The columns of an answer: a number and the ends of its interval, or its half width, in one of them."""
    real = {name for name in names if any(isinstance(row[name], float) for row in rows)}
    ends = {name: _owner(name, names, real) for name in names if _ENDS.fullmatch(name)}
    shown: dict[str, Column] = {}
    for name in names:
        owner = ends.get(name, name)
        if owner in shown:
            continue
        of = {_ENDS.fullmatch(end)[2]: end for end, whose in ends.items() if whose == owner}  # type: ignore[index]
        plain = [row.get(owner) for row in rows]
        cells = [
            _interval(value, *(row.get(of.get(end, "")) for end in ("low", "high", "half_width")))
            if of
            else _text(owner, value, row)
            for value, row in zip(plain, rows, strict=True)
        ]
        numeric = bool(rows) and all(isinstance(value, int | float | None) for value in plain)
        shown[owner] = Column(_words(owner), cells, numeric)
    return list(shown.values())


def exact(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Column]:
    """The columns of an answer as they were asked for, with their own names and all digits."""
    return [
        Column(
            name,
            [_plain(row[name]) for row in rows],
            bool(rows) and all(isinstance(row[name], int | float | None) for row in rows),
        )
        for name in names
    ]


def _owner(end: str, names: Sequence[str], real: set[str]) -> str:
    """The column of the number whose interval ends there; of ends without a number their common name."""
    match = _ENDS.fullmatch(end)
    stem = (match and match[1]) or ""
    for name in _before(end, names):
        whose = name.startswith(stem) if stem else name in real and name not in _SPREAD.values()
        if whose and not _ENDS.fullmatch(name):
            return name
    return stem or end


def _before(name: str, names: Sequence[str]) -> Iterator[str]:
    """The names before a name, the nearest first."""
    return reversed(names[: names.index(name)])


def _words(name: str) -> str:
    """A column's name in words; hours are shown as whatever time it is."""
    hours = _HOURS.fullmatch(name)
    return (f"{hours[1] or ''}time" if hours else name).replace("_", " ")


def _text(name: str, value: Any, row: Mapping[str, Any]) -> str:
    if value is None or isinstance(value, bool | str):
        return _plain(value)
    if _HOURS.fullmatch(name):
        return span(3600 * value)
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else _plain(value)
    if _P.fullmatch(name):
        return f"<{_LEAST_P:g}" if value < _LEAST_P else f"{value:#.2g}"
    if name in _COEFFICIENTS:
        return f"{value:.2f}"
    if name in _GIVEN:
        return f"{value:g}"
    if spread := row.get(_SPREAD.get(name, "")):
        return f"{value:.{decimals(spread)}f}"
    return significant(value, 2 if _ROUGH.fullmatch(name) else 3)


def _interval(value: float | None, low: float | None, high: float | None, half: float | None) -> str:
    """A number with its interval, by two digits of half its width; the ends alone without a number."""
    if half is None and low is not None and high is not None:
        half, between = (high - low) / 2, True
    else:
        between = False
    if half is None:
        return "" if value is None else significant(value)
    if half <= ROUNDING:
        return "" if value is None else f"{significant(value)} (equal)"
    digits = decimals(half)
    number = "" if value is None else f"{value:.{digits}f}"
    if not between:
        return f"{number}±{half:.{digits}f}"
    return f"{number} [{low:.{digits}f}, {high:.{digits}f}]".strip()


def significant(value: float, digits: int = 3) -> str:
    """A number with some significant digits, and with commas between thousands."""
    text = f"{value:#.{digits}g}"
    if not value:
        return "0"
    return f"{float(text):,.0f}" if "e+" in text else text.rstrip(".")


def rounded(text: str) -> str:
    """A text that is a decimal number, with three significant digits; any other text as it is."""
    return significant(float(text)) if re.fullmatch(r"-?\d+\.\d+", text) else text


def span(seconds: float) -> str:
    """A time with two digits, in the unit of its size: 0.72 s, 9.4 s, 3.1 min, 27 h."""
    size, unit = next(
        ((size, unit) for size, unit in ((3600, "h"), (60, "min")) if seconds >= size), (1, "s")
    )
    value = seconds / size
    if value < 1:
        return f"{value:.2g} {unit}"
    return f"{value:.1f} {unit}" if value < _TEN else f"{value:,.0f} {unit}"


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split("\n"))
