"""What differs between two trials, arms, studies or launches, and the accuracies that they can compare."""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from analysis import warehouse
from analysis.cells import rounded
from analysis.statistics.differences import Lost, Paired, certain, holm, paired
from analysis.statistics.estimates import number
from analysis.warehouse import Headline, curation, union
from analysis.warehouse.arms import label
from analysis.warehouse.definition import ARM, PRECEDENCE
from analysis.warehouse.launches import entries
from analysis.warehouse.sources import quoted
from analysis.warehouse.union import Member
from sweep.arms import is_among
from sweep.errors import BadInput

# The columns of the table.
COLUMNS = ("part", "field", "first", "second", "difference", "low", "high", "p_holm", "seeds")
# Numbers of a trial, which a single run has without an interval.
_NUMBERS = (
    "status", "test_accuracy", "val_accuracy", "test_loss", "pre_test_accuracy", "pre_test_loss", "density",
    "effective_density", "collapsed_layers", "trained_steps", "wall_seconds",
)  # fmt: skip
# Values of a field that are shown; of more the number is said.
_SHOWN = 4
_ABSENT = "–"

# Field → its values among the trials of one side.
Values = Mapping[str, set[str]]
# A cell: the config less the fields that tell the sides apart, and less the seed.
Cell = str


@dataclass(frozen=True)
class Side:
    """One side of the comparison.

    Attributes:
        kind: `trial`, `study`, `launch`, `arm`, or `place`, of a union.
        trials: the SQL of its trials.
    """

    name: str
    kind: str
    trials: str


@dataclass(frozen=True)
class Shared:
    """The accuracy of the first side minus that of the second in one cell that both have.

    Attributes:
        name: of the cell.
        paired: over seeds; its p-value is corrected for all cells of the answer.
    """

    name: str
    paired: Paired


@dataclass(frozen=True)
class Diff:
    """The answer.

    Attributes:
        fields: for each part, such as `config`, the fields that differ with the values of both sides.
        cells: the differences of accuracy in the shared cells.
        ambiguous: number of cells with several trials of one side and seed, which are compared with none.
        unfinished: lines about unfinished studies, of which nothing is tested.
    """

    first: Side
    second: Side
    fields: Mapping[str, Mapping[str, tuple[str, str]]]
    cells: Sequence[Shared]
    ambiguous: int
    unfinished: Sequence[str]
    headline: Headline


def diff(connection: duckdb.DuckDBPyConnection, first: str, second: str) -> Diff:
    """Compare two trials (ids, or beginnings of ids), arms (criteria), studies, launches (ids) or places.

    Raises:
        BadInput: a name is of nothing or of several trials, or the two are of different kinds.
    """
    sides = [_side(connection, name) for name in (first, second)]
    if sides[0].kind != sides[1].kind:
        raise BadInput(
            f"{first} is of kind {sides[0].kind} and {second} of kind {sides[1].kind}: name two of one"
        )
    fields = {part: _differing(*values) for part, values in _described(connection, sides).items()}
    measured = warehouse.headline(connection)
    unfinished = warehouse.provisional(connection)
    cells: list[Shared] = []
    ambiguous = 0
    if sides[0].kind != "trial":
        cells, ambiguous = _cells(connection, sides, measured)
        corrected = holm([math.nan if unfinished else cell.paired.p for cell in cells])
        cells = [
            replace(cell, paired=replace(cell.paired, p=p)) for cell, p in zip(cells, corrected, strict=True)
        ]
    return Diff(sides[0], sides[1], fields, cells, ambiguous, unfinished, measured)


def _side(connection: duckdb.DuckDBPyConnection, name: str) -> Side:
    """What a name means: a trial's id, a study, a launch, criterion or place, or how a trial's id begins."""
    text, places = quoted(name), union.of(connection)
    for kind, condition in (
        ("trial", f"trial_id = '{text}'"),
        ("study", f"study = '{text}'"),
        ("launch", f"launch = '{text}'"),
        ("arm", f"is_named('{text}', criterion, scope)"),
        ("place", f"{union.of_row(places)} = '{text}'"),
    ):
        trials = f"FROM trials WHERE {condition}"
        if kind in ("study", "launch", "place"):
            # A trial of two studies, launches or places is in the view of trials once.
            trials = _of_all_rows(condition, places)
        if warehouse.rows(connection, f"SELECT 1 FROM ({trials}) LIMIT 1"):
            return Side(name, kind, trials)
    begin = f"SELECT trial_id FROM trials WHERE starts_with(trial_id, '{text}') ORDER BY 1 LIMIT 2"
    ids = [trial for (trial,) in warehouse.rows(connection, begin)] if name else []
    if len(ids) != 1:
        raise BadInput(
            f"{name}: several trials begin with it: write more of the id"
            if ids
            else f"{name}: no trial, study, launch or criterion of this name here"
        )
    return Side(ids[0], "trial", f"FROM trials WHERE trial_id = '{quoted(ids[0])}'")


def _of_all_rows(condition: str, places: Sequence[Member]) -> str:
    """The SQL of the valid row of each trial that counts among the rows for which a condition holds."""
    return f"""
        SELECT each.* REPLACE (coalesce(arm, {ARM}) AS arm) FROM (FROM all_trials
            WHERE {condition} AND trial_id IN (SELECT trial_id FROM trials)) AS each
        LEFT JOIN invalid USING (trial_id)
        WHERE NOT ({curation.holds(places)})
        QUALIFY row_number() OVER (PARTITION BY trial_id ORDER BY {PRECEDENCE["trials"]}) = 1"""


def _described(connection: duckdb.DuckDBPyConnection, sides: Sequence[Side]) -> dict[str, list[Values]]:
    """For each part of a description, the values of its fields on both sides."""
    launches: dict[str, Any] = {}
    for each in union.of(connection):
        launches |= entries(each.folder)
    parts: dict[str, list[Values]] = defaultdict(list)
    for side in sides:
        parts["config"].append(_config_values(connection, side))
        ran = warehouse.rows(connection, f"SELECT DISTINCT code, launch, device, node FROM ({side.trials})")
        codes, ids, devices, nodes = (
            sorted({one for one in column if one}) for column in zip(*ran, strict=True)
        )
        parts["code"].append({"code": set(codes)})
        noted = [launches[one] for one in ids if one in launches]
        parts["versions"].append(_values(entry.get("versions") for entry in noted))
        hardware = _values(entry.get("hardware") for entry in noted)
        parts["hardware"].append({**hardware, "device": set(devices), "node": set(nodes)})
        if side.kind == "trial":
            [row] = warehouse.rows(connection, f"SELECT {', '.join(_NUMBERS)} FROM ({side.trials})")
            numbers = dict(zip(_NUMBERS, row, strict=True))
            parts["numbers"].append({k: {_text(v)} for k, v in numbers.items() if v is not None})
    return parts


def _config_values(connection: duckdb.DuckDBPyConnection, side: Side) -> Values:
    """Each field of the configs of a side with its values, also for configs that lack the field."""
    arms = [
        json.loads(arm) for (arm,) in warehouse.rows(connection, f"SELECT DISTINCT arm FROM ({side.trials})")
    ]
    values = _values(arms)
    for name, among in values.items():
        among |= {_ABSENT} if any(name not in arm for arm in arms) else set()
    own = warehouse.rows(connection, f"SELECT DISTINCT seed, sparsity FROM ({side.trials})")
    return {
        **values,
        "seed": {_text(seed) for seed, _ in own},
        "sparsity": {_text(sparsity) for _, sparsity in own},
    }


def _values(entries: Iterable[Any]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        for name, value in entry.items() if isinstance(entry, dict) else ():
            values[str(name)].add(_text(value))
    return dict(values)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _differing(one: Values, other: Values) -> dict[str, tuple[str, str]]:
    """The fields whose values differ, with the values of both sides as text."""
    names = sorted({*one, *other})
    pairs = {name: (one.get(name, set()), other.get(name, set())) for name in names}
    return {name: (_few(a), _few(b)) for name, (a, b) in pairs.items() if a != b}


def _few(values: Collection[str]) -> str:
    shown = sorted(values, key=lambda text: (len(text), text))
    more = f" … ({len(shown)} values)" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more or _ABSENT


def _cells(
    connection: duckdb.DuckDBPyConnection, sides: Sequence[Side], measured: Headline
) -> tuple[list[Shared], int]:
    """The differences in the cells that both sides have, and the number of cells that are ambiguous.

    Fields of which the sides have no value in common tell the sides apart: they are no part of a cell.
    """
    values = [_config_values(connection, side) for side in sides]
    apart = {
        name.partition(".")[0]
        for name in {*values[0], *values[1]}
        if not values[0].get(name, {_ABSENT}) & values[1].get(name, {_ABSENT})
    } - {"seed", "sparsity"}
    by_side = [_accuracies(connection, side, apart) for side in sides]
    labels = label(arm for cells in by_side for arm, _ in cells.values())
    shared, ambiguous = [], 0
    for cell in sorted(by_side[0].keys() & by_side[1].keys()):
        (arm, one), (theirs, other) = by_side[0][cell], by_side[1][cell]
        if any(len(runs) > 1 for side in (one, other) for runs in side.values()):
            ambiguous += 1
            continue
        pairs = [(one[seed][0], other[seed][0]) for seed in sorted(one.keys() & other.keys())]
        finished = [a - b for a, b in pairs if a is not None and b is not None]
        lost: list[Lost] = [pair for pair in pairs if None in pair]
        guess = measured.of_lost(arm) if lost else 0.0
        names = dict.fromkeys(labels[of].name for of in (arm, theirs))
        named = f"{labels[arm].setting}, {' against '.join(names)}"
        if pairs:
            at = f"{named}, sparsity {json.loads(cell)['sparsity']:g}"
            difference = paired(finished, lost, guess)
            shared.append(Shared(at, replace(difference, mean=measured.unit(difference.mean))))
    return shared, ambiguous


def _accuracies(
    connection: duckdb.DuckDBPyConnection, side: Side, apart: Collection[str]
) -> dict[Cell, tuple[str, dict[int, list[float | None]]]]:
    """For each cell an arm, and the test accuracies by seed; None for a lost run."""
    cells: dict[Cell, tuple[str, dict[int, list[float | None]]]] = {}
    rows = warehouse.rows(
        connection,
        "SELECT arm, sparsity, seed, "
        "CASE WHEN status = 'ok' AND isfinite(test_accuracy) THEN test_accuracy END "
        f"FROM ({side.trials}) WHERE status <> 'stopped' AND NOT is_drawn(criterion)",
    )
    rests: dict[str, dict[str, Any]] = {}
    for arm, sparsity, seed, accuracy in rows:
        if arm not in rests:
            rests[arm] = {k: v for k, v in json.loads(arm).items() if not is_among(k, apart)}
        cell = json.dumps(rests[arm] | {"sparsity": sparsity}, sort_keys=True)
        cells.setdefault(cell, (arm, defaultdict(list)))[1][seed].append(accuracy)
    return cells


def rows(answer: Diff, *, short: bool = False) -> list[dict[str, Any]]:
    """One row for each field that differs, then one for each shared cell; numbers of a trial may be short."""
    table: list[dict[str, Any]] = [
        {"part": part, "field": name, "first": text(one), "second": text(other)}
        for part, fields in answer.fields.items()
        for text in [rounded if short and part == "numbers" else str]
        for name, (one, other) in fields.items()
    ]
    table += [
        {
            "part": f"test {answer.headline.name}",
            "field": cell.name,
            "difference": number(cell.paired.mean.value),
            "low": cell.paired.mean.low,
            "high": cell.paired.mean.high,
            "p_holm": number(cell.paired.p),
            "seeds": cell.paired.seeds,
        }
        for cell in answer.cells
    ]
    return [{column: row.get(column) for column in COLUMNS} for row in table]


def sentences(answer: Diff) -> list[str]:
    """What the differences of accuracy show, and no more than was tested."""
    first, second = answer.first, answer.second
    if first.kind == "trial":
        return ["One run each: a difference of numbers has no interval here."]
    several = f"{answer.ambiguous} cells have several trials of one seed and are compared with none."
    if not answer.cells:
        none = f"{first.name} and {second.name} have no cell in common: no accuracy can be compared."
        return [none, *([several] if answer.ambiguous else [])]
    sure = [cell.paired.mean.value for cell in answer.cells if certain(cell.paired.p)]
    tests = sum(not math.isnan(cell.paired.p) for cell in answer.cells)
    said = f"test {answer.headline.name} of {first.name} less that of {second.name}, paired by seed"
    cells = "1 cell" if len(answer.cells) == 1 else f"{len(answer.cells)} cells"
    above, below = sum(value > 0 for value in sure), sum(value < 0 for value in sure)
    lines = [
        f"{said}: {cells} in common, certainly above in {above}, certainly below in {below}, "
        f"not told apart in {len(answer.cells) - above - below}. Certain at 5 % after Holm's correction for "
        f"{tests} test{'s' * (tests != 1)}; intervals are Student's at 95 %, pointwise."
    ]
    if lost := sum(sum(cell.paired.lost) for cell in answer.cells):
        lines.append(
            f"{lost} lost runs: certain is what is so without them and with them {answer.headline.guess}."
        )
    if answer.ambiguous:
        lines.append(several)
    return lines
