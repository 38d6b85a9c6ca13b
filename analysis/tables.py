"""Tables that fit the terminal: what is the same in every row is said once, long values are headings."""

import shutil
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import starmap
from typing import Any

from rich.cells import cell_len, chop_cells

from analysis import cells
from analysis.cells import Column

# The most characters in a line of a sentence, and of a table that goes to no terminal.
WIDEST = 100
# Columns with long text that are headings.
_HEADINGS = ("setting", "view")
_GAP, _NARROW_GAP = "  ", " "
# The fewest characters to which a column of text is narrowed.
_NARROWEST = 16


def width() -> int:
    """Characters in a line of the terminal, or of what stands in its place."""
    return shutil.get_terminal_size((WIDEST, 0)).columns


def fold(text: str, indent: str = "  ") -> str:
    """A sentence for the terminal, wrapped between words, with all lines but the first indented."""
    return textwrap.fill(
        text, min(WIDEST, width()), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def table(rows: Sequence[Mapping[str, Any]], names: Sequence[str], files_only: Collection[str] = ()) -> str:
    """An answer as a table. A table that is too wide has its next column as a heading too.

    Args:
        files_only: names of columns that are left out.
    """
    columns = cells.columns(rows, [name for name in names if name not in files_only])
    heads = [column for column in columns if column.name in _HEADINGS]
    columns = [column for column in columns if column not in heads]
    said: list[str] = []
    if rows:
        columns = [column for column in columns if any(column.cells)]
    if len(rows) > 1:
        said = [f"{column.name} {column.cells[0]}" for column in columns if column.constant]
        columns = [column for column in columns if not column.constant]
    while len(columns) > 1 and _too_wide(columns) and _repeats(heads + columns[:1], len(rows)):
        heads, columns = [*heads, columns[0]], columns[1:]
    above = [f"in every row: {', '.join(said)}"] if said else []
    above += [f"in files alone: {', '.join(files_only)}"] if files_only and rows else []
    head = "".join(f"{fold(line)}\n" for line in above)
    return "\n".join([*([head] if head else []), *starmap(_group, _groups(heads, columns, len(rows)))])


def as_asked(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """An answer as a table with every column that it has, and every digit."""
    return draw(cells.exact(rows, names))


def draw(columns: Sequence[Column]) -> str:
    """Columns as lines of text. Columns that do not fit side by side stand below, behind the first one."""
    gap = _NARROW_GAP if _too_wide(columns) else _GAP
    columns = _narrowed(columns, gap)
    if not _too_wide(columns, gap) or len(columns) < 3:
        return _lines(columns, gap)
    first, *rest = columns
    blocks: list[list[Column]] = [[]]
    for column in rest:
        if blocks[-1] and _too_wide([first, *blocks[-1], column]):
            blocks.append([])
        blocks[-1].append(column)
    return "\n".join(_lines([first, *block], _GAP) for block in blocks)


def _repeats(heads: Sequence[Column], count: int) -> bool:
    """Whether headings have two rows each or more, on average."""
    return 2 * len(set(zip(*(head.cells for head in heads), strict=True))) <= count


def _groups(
    heads: Sequence[Column], columns: Sequence[Column], count: int
) -> list[tuple[list[str], list[Column]]]:
    """The heading and the columns of each group of rows with equal headings."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row in range(count):
        groups.setdefault(tuple(head.cells[row] for head in heads), []).append(row)
    if not heads or not groups:
        return [([], list(columns))]
    parts = {
        key: [replace(column, cells=[column.cells[row] for row in chosen]) for column in columns]
        for key, chosen in groups.items()
    }
    # What is the same in each row of each group goes into the headings.
    same = [
        all(part[index].constant for part in parts.values()) and len(groups) < count
        for index in range(len(columns))
    ]
    found = []
    for key, part in parts.items():
        pairs = [(head.name, cell) for head, cell in zip(heads, key, strict=True)]
        pairs += [(each.name, each.cells[0]) for each, fixed in zip(part, same, strict=True) if fixed]
        words = [cell if name in _HEADINGS else f"{name} {cell}" for name, cell in pairs if cell]
        rest = [each for each, fixed in zip(part, same, strict=True) if not fixed and any(each.cells)]
        found.append((words, rest))
    return found


def _group(heading: Sequence[str], columns: Sequence[Column]) -> str:
    return (f"{fold(', '.join(heading))}\n" if heading else "") + draw(columns)


def _too_wide(columns: Sequence[Column], gap: str = _GAP) -> bool:
    return _excess(columns, gap) > 0


def _excess(columns: Sequence[Column], gap: str) -> int:
    """Characters by which columns are wider than the terminal; below 0: room that is left."""
    return sum(map(_width, columns)) + len(gap) * (len(columns) - 1) - width()


def _width(column: Column) -> int:
    """The width of a column: that of its widest line, or of the longest word of its name."""
    lines = [*column.name.split(), *(line for cell in column.cells for line in cell.split("\n"))]
    return max(map(cell_len, lines), default=0)


def _narrowed(columns: Sequence[Column], gap: str) -> list[Column]:
    """Columns whose text is wrapped as far as the width asks for, the widest first."""
    narrowed = list(columns)
    for index in sorted(range(len(columns)), key=lambda index: -_width(columns[index])):
        excess, column = _excess(narrowed, gap), narrowed[index]
        if excess > 0 and not column.right:
            room = max(_NARROWEST, _width(column) - excess)
            narrowed[index] = replace(
                column, cells=["\n".join(_wrapped(cell, room)) for cell in column.cells]
            )
    return narrowed


def _wrapped(text: str, room: int) -> list[str]:
    """The lines of a text that is cut between words where that is possible."""
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [part for line in lines for part in (chop_cells(line, room) if cell_len(line) > room else [line])]


def _lines(columns: Sequence[Column], gap: str) -> str:
    """Columns side by side, below their names, which are wrapped to the width of their cells."""
    room = [_width(column) for column in columns]
    names = [_wrapped(column.name, size) for column, size in zip(columns, room, strict=True)]
    tall = max(map(len, names), default=0)
    rows = [[[""] * (tall - len(name)) + name for name in names]]
    rows += [
        [cell.split("\n") for cell in row] for row in zip(*(column.cells for column in columns), strict=True)
    ]
    text = ""
    for row in rows:
        for line in range(max(map(len, row), default=0)):
            parts = [cell[line] if line < len(cell) else "" for cell in row]
            placed = (
                " " * (size - cell_len(part)) + part if column.right else part + " " * (size - cell_len(part))
                for part, size, column in zip(parts, room, columns, strict=True)
            )
            text += f"{gap.join(placed).rstrip()}\n"
    return text
