"""Effects of one field: arms that differ in it alone, paired by seed, each by itself and over all cells."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

from analysis.statistics.differences import (
    Lost,
    Paired,
    certain,
    certain_both_ways,
    difference,
    holm,
    paired,
)
from analysis.warehouse import Headline
from analysis.warehouse.arms import label
from sweep.arms import apart
from sweep.config import BESIDE, FIELDS
from sweep.means import Mean

# Fields by which a trial's protocol is told: arms that differ in them may differ in it.
_OF_PROTOCOL = ("structure", "model")
# The most arms without a partner whose nearest arms are looked for.
_LOOKED_AT = 50
# Two arms at one sparsity, as rows of queries/cells.sql.
Pair = tuple[Mapping[str, Any], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Two arms that differ in one field alone, at one sparsity.

    Attributes:
        setting, arm: what both have in common, in words.
        first, second: the two values of the field.
        runs: by seed, the test accuracy of the first and of the second; None for a lost run. Of a metric of
            which lower is better: its negative.
        guesses: what a lost run of the first and of the second is taken to have.
        paired: the second minus the first.
        p: of that difference, with Holm's correction over all cells of the answer; NaN: not tested.
    """

    setting: str
    arm: str
    first: str
    second: str
    sparsity: float
    runs: Mapping[int, Lost]
    guesses: tuple[float, float]
    paired: Paired
    p: float

    @property
    def verdict(self) -> str:
        """Of the second value: `better`, `worse`, `not told apart` or `not tested`."""
        if math.isnan(self.p):
            return "not tested"
        if not certain(self.p):
            return "not told apart"
        return "better" if self.paired.mean.value > 0 else "worse"


class Whole(NamedTuple):
    """Two values of the field over all cells that have both.

    Attributes:
        better: in how many of the pairs of runs the second is better.
        seeds: that all cells share.
        mean: of the second minus the first, over these seeds, each with the mean over the cells.
        p: with Holm's correction over the pairs of values; NaN: not tested.
    """

    first: str
    second: str
    cells: int
    better: int
    pairs: int
    seeds: int
    mean: Mean
    p: float


def value_of(config: Mapping[str, Any], field: str) -> str:
    """The value of a field in words, with what is given for it alone: `gmp drop=taylor`, `lora lora_rank=4`.

    A field that a config lacks has its default.
    """
    own = [
        f"{name.removeprefix(f'{field}.')}={_said(value)}"
        for name, value in sorted(config.items())
        if _belongs(name, field) and value != _default(name)
    ]
    return " ".join([_said(config.get(field, _default(field))), *own])


def _said(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _default(field: str) -> Any:
    """The default of a field; of a parameter of a part, which the part knows, the word."""
    if field not in FIELDS:
        return "default"
    return None if FIELDS[field].is_required() else FIELDS[field].default


def _belongs(name: str, field: str) -> bool:
    """Whether a key of a config is a parameter of the field's part, or is for one of its values alone."""
    return name.startswith(f"{field}.") or BESIDE.get(name, ("", ""))[0] == field


def in_order(field: str, values: Iterable[str]) -> list[str]:
    """Distinct values: the default first, numbers by size."""

    def place(value: str) -> tuple[bool, float, str]:
        size = _number(value)
        return value != value_of({}, field), math.inf if size is None else size, value

    return sorted(set(values), key=place)


def called(text: str, values: Iterable[str]) -> list[str]:
    """The values that a text names: as a word, as a number however it is written, or without parameters."""
    size = _number(text)
    return [
        value
        for value in values
        if value == text or value.startswith(f"{text} ") or (size is not None and _number(value) == size)
    ]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def groups_of(
    cells: Sequence[Mapping[str, Any]], configs: Mapping[str, Mapping[str, Any]], field: str
) -> list[dict[str, Mapping[str, Any]]]:
    """Cells that differ in the field alone, by its value. Of several protocols of a value the last counts."""
    alike: dict[tuple[str, float], dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for row in sorted(cells, key=lambda row: str(configs[row["arm"]].get("protocol", "")), reverse=True):
        config = configs[row["arm"]]
        alike[_rest(config, field), row["sparsity"]].setdefault(value_of(config, field), row)
    return [group for group in alike.values() if len(group) > 1]


def pairs_of(
    groups: Iterable[Mapping[str, Mapping[str, Any]]], field: str, bases: Sequence[str]
) -> Iterator[Pair]:
    """The pairs of cells of each group; the first has one of the bases, the earlier one."""
    for group in groups:
        first = [value for value in bases if value in group]
        others = [value for value in in_order(field, group) if value not in first]
        for one, other in combinations([*first, *others], 2):
            if one in first:
                yield group[one], group[other]


def without_partner(
    groups: Iterable[Mapping[str, Mapping[str, Any]]], configs: Mapping[str, Mapping[str, Any]], field: str
) -> tuple[int, list[str]]:
    """How many arms are in no group, and the fields in which the arms nearest to these differ as well."""
    partners = {row["arm"] for group in groups for row in group.values()}
    alone = [config for arm, config in configs.items() if arm not in partners]
    beside: set[str] = set()
    for config in alone[:_LOOKED_AT]:
        others = [other for other in configs.values() if value_of(other, field) != value_of(config, field)]
        found = [[name for name in apart(config, other) if not _is_of(name, field)] for other in others]
        fewest = min((len(names) for names in found if names), default=0)
        beside.update(*(names for names in found if len(names) == fewest))
    return len(alone), sorted(beside)


def _is_of(name: str, field: str) -> bool:
    """Whether a key of a config goes with a field: arms that differ in it alone may differ in the key."""
    return name == field or _belongs(name, field) or (name == "protocol" and field in _OF_PROTOCOL)


def _rest(config: Mapping[str, Any], field: str) -> str:
    """A config without a field and without what goes with it."""
    kept = {name: value for name, value in config.items() if not _is_of(name, field)}
    return json.dumps(kept, sort_keys=True)


def effects_of(
    pairs: Sequence[Pair],
    configs: Mapping[str, Mapping[str, Any]],
    field: str,
    headline: Headline,
    unfinished: Mapping[str, str],
) -> list[Effect]:
    """The differences of all pairs, corrected together. What belongs to an unfinished study is not tested."""
    labels = label(_rest(configs[one["arm"]], field) for one, _ in pairs)
    effects = []
    for one, other in pairs:
        known = labels[_rest(configs[one["arm"]], field)]
        runs = {seed: (_runs(one)[seed], _runs(other)[seed]) for seed in _runs(one) if seed in _runs(other)}
        differences, lost = _parted(runs)
        guesses = [headline.of_lost(row["arm"]) if lost else 0.0 for row in (other, one)]
        found = paired(differences, lost, *guesses)
        tested = not (unfinished.keys() & {one["arm"], other["arm"]})
        effects.append(
            Effect(
                setting=known.setting,
                arm=known.name,
                first=value_of(configs[one["arm"]], field),
                second=value_of(configs[other["arm"]], field),
                sparsity=one["sparsity"],
                runs=runs,
                guesses=(guesses[1], guesses[0]),
                paired=found,
                p=found.p if tested else math.nan,
            )
        )
    corrected = holm([effect.p for effect in effects])
    effects = [replace(effect, p=p) for effect, p in zip(effects, corrected, strict=True)]
    return sorted(effects, key=lambda one: (one.setting, one.first, one.second, one.arm, one.sparsity))


def _runs(row: Mapping[str, Any]) -> dict[int, float | None]:
    """The accuracy of each seed of a cell."""
    lost = dict.fromkeys(row["lost_seeds"] or ())
    return {**lost, **dict(zip(row["seeds"], row["accuracies"], strict=True))}


def _parted(runs: Mapping[int, Lost]) -> tuple[list[float], list[Lost]]:
    """The differences of seeds that finished in both; of the others the second's accuracy and the first's."""
    differences = [b - a for a, b in runs.values() if a is not None and b is not None]
    return differences, [(b, a) for a, b in runs.values() if a is None or b is None]


def over_cells(effects: Sequence[Effect], headline: Headline) -> list[Whole]:
    """Each pair of values over its cells, where it has several. A lost run must leave the sign as it is."""
    by_values: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for effect in effects:
        by_values[effect.first, effect.second].append(effect)
    found = []
    for (first, second), among in by_values.items():
        if len(among) < 2:
            continue
        seeds = sorted(set.intersection(*(set(one.runs) for one in among)))
        whole = [seed for seed in seeds if all(None not in one.runs[seed] for one in among)]
        mean, p = difference([_mean_over_cells(among, seed) for seed in whole])
        if whole != seeds:
            guessed, q = difference([_mean_over_cells(among, seed) for seed in seeds])
            p = certain_both_ways(mean.value, p, guessed.value, q)
        if any(math.isnan(one.p) for one in among):
            p = math.nan
        pairs = [value for one in among for value in _parted(one.runs)[0]]
        better = sum(value > 0 for value in pairs)
        found.append(
            Whole(first, second, len(among), better, len(pairs), len(whole), in_own_unit(mean, headline), p)
        )
    corrected = holm([one.p for one in found])
    return [one._replace(p=p) for one, p in zip(found, corrected, strict=True)]


def _mean_over_cells(effects: Sequence[Effect], seed: int) -> float:
    """The mean difference of one seed over cells, with a guess for each lost run."""
    differences = []
    for one in effects:
        runs = zip(one.runs[seed], one.guesses, strict=True)
        first, second = (guess if value is None else value for value, guess in runs)
        differences.append(second - first)
    return math.fsum(differences) / len(differences)


def in_own_unit(mean: Mean, headline: Headline) -> Mean:
    """A mean difference in the metric's own unit."""
    return headline.unit(replace(mean, value=headline.own(mean.value)))
